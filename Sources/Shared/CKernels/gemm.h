// Between the portable half of the matrix product (gemm.c: blocks of k, panels, tasks) and its bodies, compiled once for
// each instruction set.
#ifndef MILLRACE_GEMM_H
#define MILLRACE_GEMM_H

#include "workspace.h"

/// What one task packs of the shared operand: so many strips, or, where rows run across strips, so many steps of k.
enum { MR_GEMM_PACK_STRIPS = 4, MR_GEMM_PACK_STEPS = 32 };
/// Blocks of k that a tile goes through in one go, at most.
enum { MR_GEMM_BLOCKS = 64 };
/// Space behind each row of a strip of rows.
enum { MR_GEMM_PITCH_MORE = 16 };

/// A product, and which part of it is under way. One operand, the smaller, is packed once for all workers ("shared"); the
/// other is packed by each task for itself, while it is in that core's cache ("own"). Strips of both hold a run of blocks
/// of k, one behind the other, so that a tile of C is finished for the whole run while it is in L1.
typedef struct {
    mr_context *context;
    mr_product of;
    bool is_flipped;                             // whether C and its base stand the other way round: of Cᵀ = Bᵀ · Aᵀ

    bool share_a;                                // whether A is the shared operand, else B
    float *shared;                               // its packed strips
    int64_t shared_begin, shared_end, strips;    // the rows of A or columns of B it holds, and their strips
    int64_t first_k, length;                     // the run: where it begins and its length
    int64_t depth;                               // its steps in a panel
    int64_t pitch;                               // from row to row of A's strips, where they are rows
    int64_t blocks;                              // its blocks of k
    int32_t kc[MR_GEMM_BLOCKS], k_at[MR_GEMM_BLOCKS];  // their lengths, and where they begin inside the run
    int32_t steps[MR_GEMM_BLOCKS], at[MR_GEMM_BLOCKS];  // the same in steps of a panel
    bool is_first, is_last;                      // whether the run begins, ends the sum

    int64_t own_tiles, own_most, own_tasks;      // tiles of the own operand, how many a task takes at most, tasks
    int64_t group;                               // how many of its tiles are packed at a time
    int64_t part_strips;                         // strips of the shared operand a task takes
} mr_gemm_product;

/// Rows of memory to fetch: so many lines of 16 floats of each.
typedef struct {
    const float *at;  // NULL: none
    int64_t ld;
    int32_t rows, lines;
} mr_gemm_area;

/// Where the tiles of the own operand end that a task takes from `begin` on: large tasks come first, which use what they
/// pack more often, then smaller and smaller ones, so that the workers end together.
static inline int64_t mr_gemm_own_end(const mr_gemm_product *p, int64_t begin) {
    const int64_t threads = mr_context_threads(p->context), left = p->own_tiles - begin;
    int64_t tiles = threads == 1 ? p->own_most : (left + 2 * threads - 1) / (2 * threads);
    if (tiles > p->own_most) tiles = p->own_most;
    return tiles < left ? begin + tiles : p->own_tiles;
}

/// Whether a row of A or B in memory runs along k.
static inline bool mr_gemm_runs_along_k(const mr_product *of, bool of_a) {
    return of_a ? !of->transpose_a : of->transpose_b;
}

/// Words of a strip of a run, and where a block begins in it.
static inline int64_t mr_gemm_strip(const mr_gemm_product *p, bool of_a, int64_t tile) {
    return tile * (of_a && mr_gemm_runs_along_k(&p->of, true) ? p->blocks * p->pitch : p->depth);
}
static inline int64_t mr_gemm_block_at(const mr_gemm_product *p, bool of_a, int64_t block, int64_t tile) {
    return tile * (of_a && mr_gemm_runs_along_k(&p->of, true) ? block * p->pitch : p->at[block]);
}

/// Of a tile of the own operand, `length` numbers along k from `from` on in the run.
static inline mr_gemm_area mr_gemm_own_area(const mr_gemm_product *p, int64_t own_tile, int64_t tile, int64_t from,
                                            int64_t length) {
    const float *source = p->share_a ? p->of.b : p->of.a;
    const int64_t ld = p->share_a ? p->of.ldb : p->of.lda, k = p->first_k + from, outer = tile * own_tile;
    if (mr_gemm_runs_along_k(&p->of, !p->share_a))
        return (mr_gemm_area){source + outer * ld + k, ld, (int32_t)own_tile, (int32_t)((length + 15) / 16)};
    return (mr_gemm_area){source + k * ld + outer, ld, (int32_t)length, (int32_t)((own_tile + 15) / 16)};
}

/// Tasks of packing the shared operand for a run.
static inline int64_t mr_gemm_pack_tasks(const mr_gemm_product *p) {
    const int64_t strips = (p->strips + MR_GEMM_PACK_STRIPS - 1) / MR_GEMM_PACK_STRIPS;
    return p->blocks * (mr_gemm_runs_along_k(&p->of, p->share_a) ? strips : MR_GEMM_KC / MR_GEMM_PACK_STEPS);
}

typedef struct {
    int64_t tile_m, tile_n;  // the register tile
    int64_t numbers;         // numbers along k that a step of a panel holds
    void (*pack_shared)(void *product, int64_t task, int worker);
    void (*multiply)(void *product, int64_t task, int worker);
    /// Applies the activation to a part of C.
    void (*activate)(const mr_product *of, int64_t row, int64_t column, int64_t rows, int64_t columns);
} mr_gemm_kernels;

extern const mr_gemm_kernels mr_gemm_kernels_scalar, mr_gemm_kernels_avx2, mr_gemm_kernels_avx512,
    mr_gemm_kernels_neon, mr_bf16_kernels_scalar, mr_bf16_kernels_avx2, mr_bf16_kernels_avx512,
    mr_bf16_kernels_avx512bf16, mr_bf16_kernels_neon;

/// Whether this processor's dot products of bf16 have the bits of two fused multiply-adds, and whether they are faster.
/// Only where it has them.
bool mr_bf16_dots_are_exact(void);
bool mr_bf16_dots_are_faster(void);

#endif
