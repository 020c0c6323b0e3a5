// Between the portable half of the matrix product (gemm.c: blocks of k, panels, tasks) and its bodies, compiled once for
// each instruction set.
#ifndef MILLRACE_GEMM_H
#define MILLRACE_GEMM_H

#include "workspace.h"

/// One block of k against one panel of B.
typedef struct {
    mr_context *context;
    bool transpose_a, transpose_b, add;  // add: C += the block's sum; else it replaces C
    int64_t m, n, kc;                    // n: columns of this panel
    const float *a, *b;                  // at this block's first k (and, for b, the panel's first column)
    int64_t lda, ldb;
    float *c;  // at the panel's first column
    int64_t ldc;
    float *panel;                  // packed B: strips of NR columns, each (kc, NR)
    int64_t block_m, block_n;      // rows and columns a task takes
    int64_t blocks_m;              // tasks along m
} mr_gemm_block;

typedef struct {
    int64_t tile_m, tile_n;  // the register tile
    void (*pack_b)(void *block, int64_t strip, int worker);
    void (*multiply)(void *block, int64_t task, int worker);
} mr_gemm_kernels;

extern const mr_gemm_kernels mr_gemm_kernels_scalar, mr_gemm_kernels_avx2, mr_gemm_kernels_avx512,
    mr_gemm_kernels_neon;

#endif
