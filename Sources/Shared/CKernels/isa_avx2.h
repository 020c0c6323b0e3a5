// Opens the avx2 target: include after every system header and before vector_ops.h and the bodies; close with isa_end.h.
#define NAME(x) x##_avx2
#define MR_ISA_IS_AVX2 1
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define MR_ISA_PUSHED 1
#define MR_ISA_HAS_DOT 0
#include "vector_ops.h"
