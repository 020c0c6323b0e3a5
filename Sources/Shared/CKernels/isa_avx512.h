// Opens the avx512 target: include after every system header and before vector_ops.h and the bodies; close with isa_end.h.
#define NAME(x) x##_avx512
#define MR_ISA_IS_AVX512 1
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#define MR_ISA_PUSHED 1
#define MR_ISA_HAS_DOT 0
#include "vector_ops.h"
