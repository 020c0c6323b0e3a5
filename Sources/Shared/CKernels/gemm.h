// Between the portable half of the matrix product (gemm.c: blocks of k, panels, tasks) and its bodies, compiled once for
// each instruction set.
#ifndef MILLRACE_GEMM_H
#define MILLRACE_GEMM_H

#include "workspace.h"

/// Strips of the shared operand that one task packs.
enum { MR_GEMM_PACK_STRIPS = 4 };

/// A product, and which part of it is under way. One operand, the smaller, is packed once for all workers ("shared"); the
/// other is packed by each task for itself, while it is in that core's cache ("own").
typedef struct {
    mr_context *context;
    bool transpose_a, transpose_b, accumulate;
    int64_t m, n, k, period;
    const float *a, *b;
    int64_t lda, ldb;
    float *c;
    int64_t ldc;

    bool share_a;                                // whether A is the shared operand, else B
    float *shared;                               // its packed strips, block of k after block of k
    int64_t shared_begin, shared_end, strips;    // the rows of A or columns of B it holds, and their strips
    int64_t first_block, last_block, first_k;    // the blocks of k it holds
    int64_t own_size, own_tasks;                 // rows or columns of the other operand a task takes; how many tasks
    int64_t part_size;                           // rows or columns of the shared operand a task takes
} mr_gemm_product;

typedef struct {
    int64_t k, kc;
} mr_gemm_block;

/// The blocks of k in order: they begin at every multiple of the period and every MR_GEMM_KC after such a beginning.
static inline mr_gemm_block mr_gemm_block_at(const mr_gemm_product *p, int64_t index) {
    const int64_t in_period = (p->period + MR_GEMM_KC - 1) / MR_GEMM_KC;
    const int64_t begin = index / in_period * p->period;
    const int64_t end = p->k - begin < p->period ? p->k : begin + p->period;
    const int64_t k = begin + index % in_period * MR_GEMM_KC;
    return (mr_gemm_block){k, end - k < MR_GEMM_KC ? end - k : MR_GEMM_KC};
}

typedef struct {
    int64_t tile_m, tile_n;  // the register tile
    void (*pack_shared)(void *product, int64_t task, int worker);
    void (*multiply)(void *product, int64_t task, int worker);
} mr_gemm_kernels;

extern const mr_gemm_kernels mr_gemm_kernels_scalar, mr_gemm_kernels_avx2, mr_gemm_kernels_avx512,
    mr_gemm_kernels_neon;

#endif
