// Kernels are compiled once for each instruction set, into one table of functions a set; this picks the context's.
#ifndef MILLRACE_DISPATCH_H
#define MILLRACE_DISPATCH_H

#include "include/CKernels.h"

/// The address of TABLE_avx512, TABLE_avx2, TABLE_neon or TABLE_scalar.
#if defined(__x86_64__)
#define MR_KERNELS(TABLE, CONTEXT)                                                                                      \
    (mr_context_isa(CONTEXT) == MR_ISA_AVX512 || mr_context_isa(CONTEXT) == MR_ISA_AVX512_BF16 ? &TABLE##_avx512        \
     : mr_context_isa(CONTEXT) == MR_ISA_AVX2                                                  ? &TABLE##_avx2          \
                                                                                               : &TABLE##_scalar)
#elif defined(__aarch64__)
#define MR_KERNELS(TABLE, CONTEXT) (mr_context_isa(CONTEXT) == MR_ISA_NEON ? &TABLE##_neon : &TABLE##_scalar)
#else
#define MR_KERNELS(TABLE, CONTEXT) (&TABLE##_scalar)
#endif

#endif
