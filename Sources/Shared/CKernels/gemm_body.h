// The matrix product's inner half (Goto & van de Geijn 2008, the scheme of BLIS): A and B are packed into strips as wide
// as the register tile, the tile's sums stay in registers for a whole block of k. TILE_M and TILE_V (vectors of 16
// across) come from the including file. Every sum starts at zero and runs over k in order; lanes run across columns.

#include "math_body.h"

enum { TILE_N = TILE_V * 16 };
/// Rows of the lower register tile for what is left of a matrix: 8, which ranks of adapters often are, where that is about half.
enum { TILE_LOW = TILE_M == 14 ? 8 : TILE_M / 2 };

#if MR_ISA_HAS_DOT
/// sum + a[1] · b[1] + a[0] · b[0] of each pair, each product added with one rounding, in this order; subnormal numbers
/// count as zero (Intel SDM, VDPBF16PS).
INLINE f16 dot16(f16 a, f16 b, f16 sum) { return (f16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
#else
#define dot16(a, b, sum) (sum)
#endif

/// Makes this thread take subnormal numbers for zero and give zero for them, or not; returns what to restore.
INLINE uint64_t set_flushing(bool flushes) {
#if defined(__x86_64__)
    const uint32_t before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(flushes ? before | 0x8040 : before & ~0x8040u);
    return before;
#elif defined(__aarch64__)
    const uint64_t bit = 1 << 24;
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(flushes ? before | bit : before & ~bit));
    return before;
#else
    (void)flushes;
    return 0;
#endif
}

INLINE void restore_flushing(uint64_t before) {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((uint32_t)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

#include "gemm_packing.h"

/// Applies the activation to `rows` × `columns` of C.
static __attribute__((noinline)) void NAME(activate)(const mr_product *of, int64_t row, int64_t column, int64_t rows,
                                                     int64_t columns) {
    for (int64_t i = row; i < row + rows; i++)
        for (int64_t j = column; j < column + columns; j += 16) {
            const int64_t left = column + columns - j;
            float *c = of->c + i * of->ldc + j, *other = of->other + i * of->ldother + j;
            const f16 x = load_row(c, left);
            if (of->activation == MR_GELU)
                store_row(other, gelu16(x), left);
            else
                store_row(c, x * gelu_slope16(load_row(other, left)), left);
        }
}

/// Which operand of a tile is packed by the tile itself, and how its rows run.
enum { NEITHER, ACROSS_A, ACROSS_B, ALONG_A, ALONG_B };

#if MR_ISA_HAS_DOT
/// The first `count` of 16 numbers of a row, and no access behind them.
INLINE f16 load_first(const int count, const float *p) {
    return (f16)_mm512_maskz_loadu_ps((__mmask16)((1 << count) - 1), p);
}
INLINE void store_first(const int count, float *p, f16 x) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1 << count) - 1), (__m512)x);
}
#else
#define load_first(count, p) load16(p)
#define store_first(count, p, x) store16(p, x)
#endif

/// One step of k. Strips come from L2: they are fetched 16 steps ahead of their use. The operand that is packed on the way is
/// read from `source`, its row in memory (or pair of rows), and written to its strip; what comes AHEAD rows later is fetched
/// to L2.
INLINE void NAME(step)(const int form, const int packs, const bool rows, const int tile_rows, int64_t k, const float *a,
                       const float *b, const float *source, int64_t ld, f16 sum[TILE_M][TILE_V]) {
    enum { AHEAD = 24 };
    _Alignas(64) float lanes[16];
    f16 bv[TILE_V];
    if (packs == ACROSS_A) {
        for (int row = 0; row < (form == PAIRS ? 2 : 1); row++) {
            __builtin_prefetch(source + (AHEAD + row) * ld, 0, 2);
            __builtin_prefetch(source + (AHEAD + row) * ld + TILE_M - 1, 0, 2);
        }
        if (form == PAIRS) {
            // By way of `lanes`, because what a masked store has written is slow to read.
            const f16 pairs = paired16(load_first(TILE_M, source), load_first(TILE_M, source + ld));
            store_first(TILE_M, (float *)a, pairs);
            store16(lanes, pairs);
            a = lanes;
        } else {
            memcpy((float *)a, source, TILE_M * sizeof(float));
            a = source;
        }
    } else if (rows) {
        __builtin_prefetch(a + k % 16 * PITCH(form) + 16);
    } else {
        __builtin_prefetch(a + 16 * TILE_M);
    }
    for (int j = 0; j < TILE_V; j++) {
        if (packs == ACROSS_B) {
            bv[j] = load16(source + j * 16);
            if (form == PAIRS) bv[j] = paired16(bv[j], load16(source + ld + j * 16));
            store16((float *)b + j * 16, bv[j]);
            for (int row = 0; row < (form == PAIRS ? 2 : 1); row++)
                __builtin_prefetch(source + (AHEAD + row) * ld + j * 16, 0, 2);
        } else {
            bv[j] = load16(b + j * 16);
            __builtin_prefetch(b + 16 * TILE_N + j * 16);
        }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < tile_rows; i++) {
        f16 av = set16(a[rows ? i * PITCH(form) : i]);
        for (int j = 0; j < TILE_V; j++)
            sum[i][j] = form == PAIRS ? dot16(av, bv[j], sum[i][j]) : fma16(av, bv[j], sum[i][j]);
    }
}

/// Where rows run along k, packs a block of a whole tile's strip: at once, because what is alive in a tile's loop leaves no
/// registers for more.
static __attribute__((noinline)) void NAME(pack_tile)(const int packs, const mr_gemm_product *p, int64_t block,
                                                      const float *source, float *out) {
    enum { FORM = MR_ISA_HAS_DOT ? PAIRS : FLOATS };
    const int64_t steps = p->steps[block], kc = p->kc[block];
    source += p->k_at[block];
    if (packs == ALONG_A)
        NAME(pack_rows)(FORM, source, p->of.lda, TILE_M, steps, kc, out);
    else
        NAME(pack_along)(FORM, source, p->of.ldb, TILE_N, TILE_N, steps, kc, out, steps * TILE_N);
}

/// A tile of C: for each block of k of the run Σ_k a[k][i] · b[k][j] for the first `tile_rows` rows, in registers, which is
/// then added to what C has so far, or to `base`, or replaces it when there is none; at last `bias`. `a_rows`: whether the
/// strip of A is rows. `other` will be needed next, `ahead` by tiles to come. `rows` × `columns` of it go to C, whole vectors
/// directly, edges, and what stands there the other way round, by way of a buffer.
INLINE void NAME(tile)(const int form, const int packs, const bool a_rows, const int tile_rows, const mr_gemm_product *p,
                       const float *first_a, const float *b, const float *source, float *c, const float *base,
                       int64_t ldbase, const float *bias, const float *other, const mr_gemm_area *ahead, int64_t rows,
                       int64_t columns) {
    const int64_t ld = packs == ACROSS_A ? p->of.lda : packs == ACROSS_B ? p->of.ldb : 0;
    const int64_t rows_on = form == PAIRS ? 2 * ld : ld;
    const int64_t ldc = p->of.ldc;
    const bool whole = rows == tile_rows && columns == TILE_N && !p->is_flipped;
    // C, or what it is added to, what its activation reads or writes, and a part of the operand of the tiles to come are
    // fetched while there is time. A hint never faults, so edges need no care.
    const mr_gemm_area areas[] = {
        {base ? base : c, base ? ldbase : ldc, p->is_flipped ? TILE_N : tile_rows, p->is_flipped ? 1 : TILE_V},
        {other, p->of.ldother, tile_rows, TILE_V},
        *ahead,
    };
    int area = 0;
    int64_t row = 0, line = 0;  // of the area
    for (int64_t block = 0; block < p->blocks; block++) {
        const float *a = first_a + mr_gemm_block_at(p, true, block, TILE_M);
        if (packs == ALONG_A) NAME(pack_tile)(packs, p, block, source, (float *)a);
        if (packs == ALONG_B) NAME(pack_tile)(packs, p, block, source, (float *)b);
        f16 sum[TILE_M][TILE_V];
#pragma clang loop unroll(full)
        for (int i = 0; i < tile_rows; i++)
            for (int j = 0; j < TILE_V; j++) sum[i][j] = set16(0);
        const int64_t steps = p->steps[block];
        int64_t k = 0;
        for (; area < 3; area++) {
            if (areas[area].at == NULL) continue;
#pragma clang loop unroll(disable)
            for (; row < areas[area].rows && k < steps; k++, a += a_rows ? 1 : TILE_M, b += TILE_N, source += rows_on) {
                const float *at = areas[area].at + row * areas[area].ld + line * 16;
                if (area < 2)
                    __builtin_prefetch(at, 1);
                else
                    __builtin_prefetch(at, 0, 2);
                if (++line == areas[area].lines) line = 0, row++;
                NAME(step)(form, packs, a_rows, tile_rows, k, a, b, source, ld, sum);
            }
            if (row < areas[area].rows) break;
            row = line = 0;
        }
        for (; k < steps; k++, a += a_rows ? 1 : TILE_M, b += TILE_N, source += rows_on)
            NAME(step)(form, packs, a_rows, tile_rows, k, a, b, source, ld, sum);
        if (whole && base == NULL) {
#pragma clang loop unroll(full)
            for (int i = 0; i < tile_rows; i++)
                for (int j = 0; j < TILE_V; j++) store16(c + i * ldc + j * 16, sum[i][j]);
        } else if (whole) {
#pragma clang loop unroll(full)
            for (int i = 0; i < tile_rows; i++)
                for (int j = 0; j < TILE_V; j++)
                    store16(c + i * ldc + j * 16, load16(base + i * ldbase + j * 16) + sum[i][j]);
        } else {
            float buffer[TILE_M][TILE_N];
#pragma clang loop unroll(full)
            for (int i = 0; i < tile_rows; i++)
                for (int j = 0; j < TILE_V; j++) store16(&buffer[i][j * 16], sum[i][j]);
            if (p->is_flipped) {
                for (int64_t j = 0; j < columns; j++)
                    for (int64_t i = 0; i < rows; i++)
                        c[j * ldc + i] = base ? base[j * ldbase + i] + buffer[i][j] : buffer[i][j];
            } else {
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t j = 0; j < columns; j++)
                        c[i * ldc + j] = base ? base[i * ldbase + j] + buffer[i][j] : buffer[i][j];
            }
        }
        base = c;
        ldbase = ldc;
    }
    if (bias == NULL) return;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j += 16) {
            float *to = c + i * ldc + j;
            store_row(to, load_row(to, columns - j) + load_row(bias + j, columns - j), columns - j);
        }
}

/// One tile of C, with the lowest register tile that holds its rows: fewer than usual are the last rows of a matrix, or the
/// only one when a model generates text. `packs` is not NEITHER for whole tiles of operands that panels hold as they are or,
/// in pairs, rounded.
INLINE void NAME(tile_at)(const int packs, const bool a_rows, const mr_gemm_product *p, const float *a, const float *b,
                          int64_t row, int64_t column, const mr_gemm_area *ahead) {
    enum { FORM = MR_ISA_HAS_DOT ? PAIRS : FLOATS };
    const mr_product *of = &p->of;
    const int64_t rows = of->m - row < TILE_M ? of->m - row : TILE_M;
    const int64_t columns = of->n - column < TILE_N ? of->n - column : TILE_N;
    const int64_t line = p->is_flipped ? column : row, place = p->is_flipped ? row : column;  // in C
    float *c = of->c + line * of->ldc + place;
    const int64_t ldbase = p->is_first ? of->ldbase : of->ldc;
    const float *base = !p->is_first ? c : of->base ? of->base + line * ldbase + place : NULL;
    const float *bias = p->is_last && of->bias ? of->bias + column : NULL;
    const bool activates = p->is_last && of->activation != MR_NO_ACTIVATION;
    const float *other = activates ? of->other + row * of->ldother + column : NULL;
    const float *source = packs == ACROSS_A   ? of->a + p->first_k * of->lda + row
                          : packs == ACROSS_B ? of->b + p->first_k * of->ldb + column
                          : packs == ALONG_A  ? of->a + row * of->lda + p->first_k
                          : packs == ALONG_B  ? of->b + column * of->ldb + p->first_k
                                              : a;  // not read
    if (packs != NEITHER || rows > TILE_LOW)
        NAME(tile)(FORM, packs, a_rows, TILE_M, p, a, b, source, c, base, ldbase, bias, other, ahead, rows, columns);
    else if (rows > 2)
        NAME(tile)(FORM, packs, a_rows, TILE_LOW, p, a, b, source, c, base, ldbase, bias, other, ahead, rows, columns);
    else if (rows == 2)
        NAME(tile)(FORM, packs, a_rows, 2, p, a, b, source, c, base, ldbase, bias, other, ahead, rows, columns);
    else
        NAME(tile)(FORM, packs, a_rows, 1, p, a, b, source, c, base, ldbase, bias, other, ahead, rows, columns);
    if (activates) {
        const uint64_t before = of->precision == MR_BF16 ? set_flushing(false) : 0;
        NAME(activate)(of, row, column, rows, columns);
        if (of->precision == MR_BF16) restore_flushing(before);
    }
}

#define TILE_FUNCTION(name, packs, a_rows)                                                                                 \
    static __attribute__((noinline)) void NAME(name)(const mr_gemm_product *p, const float *a, const float *b, int64_t row, \
                                                     int64_t column, const mr_gemm_area *ahead) {                           \
        NAME(tile_at)(packs, a_rows, p, a, b, row, column, ahead);                                                         \
    }
TILE_FUNCTION(tile_packing_neither, NEITHER, false)
TILE_FUNCTION(tile_packing_neither_rows, NEITHER, true)
TILE_FUNCTION(tile_packing_across_a, ACROSS_A, false)
TILE_FUNCTION(tile_packing_across_b, ACROSS_B, false)
TILE_FUNCTION(tile_packing_across_b_rows, ACROSS_B, true)
TILE_FUNCTION(tile_packing_along_a_rows, ALONG_A, true)
TILE_FUNCTION(tile_packing_along_b, ALONG_B, false)
TILE_FUNCTION(tile_packing_along_b_rows, ALONG_B, true)
#undef TILE_FUNCTION

/// Some tiles of the own operand with the strips begin ..< end of the shared one. They are packed here, and then stay in L2
/// while the strips pass; meanwhile as many from `next` on are fetched.
INLINE void NAME(multiply_group)(const int form, const mr_gemm_product *p, int worker, int64_t first, int64_t last,
                                 int64_t next, int64_t begin, int64_t end) {
    const int64_t own_tile = p->share_a ? TILE_N : TILE_M, shared_tile = p->share_a ? TILE_M : TILE_N;
    const int64_t own_count = p->share_a ? p->of.n : p->of.m;
    const int64_t own_end = last * own_tile < own_count ? last * own_tile : own_count;
    const int64_t own_strip = mr_gemm_strip(p, !p->share_a, own_tile);
    float *packed = mr_context_scratch(p->context, worker);
    // Whole tiles are packed by the tiles of the first strip, which compute meanwhile: not with halves of pairs, nor floats
    // that must be transposed, which was no faster.
    const bool along = mr_gemm_runs_along_k(&p->of, !p->share_a);
    const bool a_rows = mr_gemm_runs_along_k(&p->of, true);
    bool on_the_way = (form == PAIRS || (form == FLOATS && !(along && p->share_a)))
                      && p->shared_begin + (begin + 1) * shared_tile <= p->shared_end;
    for (int64_t block = 0; block < p->blocks; block++)
        if (!along && form == PAIRS && p->kc[block] % 2 != 0) on_the_way = false;
    const int64_t whole = on_the_way ? own_end / own_tile : first;  // tiles first ..< whole are packed so
    for (int64_t block = 0; block < p->blocks; block++)
        NAME(pack_block)(form, p, !p->share_a, block, 0, p->steps[block], whole * own_tile, own_end,
                         packed + (whole - first) * own_strip);

    typedef void tile_function(const mr_gemm_product *, const float *, const float *, int64_t, int64_t,
                               const mr_gemm_area *);
    tile_function *const neither = a_rows ? NAME(tile_packing_neither_rows) : NAME(tile_packing_neither);
    tile_function *const packing =
        !p->share_a ? (along ? NAME(tile_packing_along_a_rows) : NAME(tile_packing_across_a))
        : along     ? (a_rows ? NAME(tile_packing_along_b_rows) : NAME(tile_packing_along_b))
                    : (a_rows ? NAME(tile_packing_across_b_rows) : NAME(tile_packing_across_b));
    const int64_t piece = end - begin > 1 ? (p->length + end - begin - 2) / (end - begin - 1) : p->length;
    for (int64_t strip = begin; strip < end; strip++) {
        const float *shared = p->shared + strip * mr_gemm_strip(p, p->share_a, shared_tile);
        const int64_t at = p->shared_begin + strip * shared_tile;
        for (int64_t tile = first; tile < last; tile++) {
            const float *mine = packed + (tile - first) * own_strip;
            const float *a = p->share_a ? shared : mine, *b = p->share_a ? mine : shared;
            const int64_t row = p->share_a ? at : tile * own_tile, column = p->share_a ? tile * own_tile : at;
            mr_gemm_area ahead = {NULL, 0, 0, 0};
            if (strip > begin && next + tile - first < p->own_tiles)
                ahead = mr_gemm_own_area(p, own_tile, next + tile - first, (strip - begin - 1) * piece, piece);
            else if (strip == begin && along && tile + 1 < whole)
                ahead = mr_gemm_own_area(p, own_tile, tile + 1, 0, p->length);
            (strip == begin && tile < whole ? packing : neither)(p, a, b, row, column, &ahead);
        }
    }
}

/// One task: some rows and columns of C, through the blocks of k of the run.
INLINE void NAME(multiply)(const int form, const mr_gemm_product *p, int64_t task, int worker) {
    int64_t first = 0, last = mr_gemm_own_end(p, first);
    for (int64_t before = task % p->own_tasks; before > 0; before--) {
        first = last;
        last = mr_gemm_own_end(p, first);
    }
    // Where this worker's next task begins, if the others take as long for theirs.
    int64_t following = last;
    for (int64_t before = mr_context_threads(p->context) - 1; before > 0 && following < p->own_tiles; before--)
        following = mr_gemm_own_end(p, following);
    const int64_t begin = task / p->own_tasks * p->part_strips;
    const int64_t end = begin + p->part_strips < p->strips ? begin + p->part_strips : p->strips;
    for (int64_t group = first; group < last; group += p->group) {
        const int64_t group_end = group + p->group < last ? group + p->group : last;
        NAME(multiply_group)(form, p, worker, group, group_end, group_end < last ? group_end : following, begin, end);
    }
}

static void NAME(pack_shared_bf16)(void *argument, int64_t task, int worker) {
    (void)worker;
    NAME(pack_shared)(BF16_FORM, argument, task);
}

/// Subnormal numbers count as zero, as they do for processors' dot products of bf16.
static void NAME(multiply_bf16)(void *argument, int64_t task, int worker) {
    const uint64_t before = set_flushing(true);
    NAME(multiply)(BF16_FORM, argument, task, worker);
    restore_flushing(before);
}

const mr_gemm_kernels NAME(mr_bf16_kernels) = {
    TILE_M, TILE_N, BF16_FORM == PAIRS ? 2 : 1, NAME(pack_shared_bf16), NAME(multiply_bf16),
    NAME(activate),
};

#if !MR_ISA_HAS_DOT
static void NAME(pack_shared_floats)(void *argument, int64_t task, int worker) {
    (void)worker;
    NAME(pack_shared)(FLOATS, argument, task);
}

static void NAME(multiply_floats)(void *argument, int64_t task, int worker) {
    NAME(multiply)(FLOATS, argument, task, worker);
}

const mr_gemm_kernels NAME(mr_gemm_kernels) = {
    TILE_M, TILE_N, 1, NAME(pack_shared_floats), NAME(multiply_floats), NAME(activate),
};
#endif
