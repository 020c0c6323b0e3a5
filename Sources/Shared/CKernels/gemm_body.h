// The matrix product's inner half (Goto & van de Geijn 2008, the scheme of BLIS): A and B are packed into strips as wide
// as the register tile, the tile's sums stay in registers for a whole block of k. TILE_M and TILE_V (vectors of 16
// across) come from the including file. Every sum starts at zero and runs over k in order; lanes run across columns.

#include "math_body.h"

enum { TILE_N = TILE_V * 16 };

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

// MARK: what a panel holds

/// How a panel holds operands. A step of a panel is what one turn of the inner loop takes of an outer index: a float; or, of
/// operands in bf16, floats with the two of each pair exchanged, or a pair in one word, the second in the upper half.
enum { FLOATS, EXCHANGED, PAIRS };

/// Where rows of A run along k, a strip of a block of k is TILE_M rows with a space behind each, so far apart that they fall on
/// different lines of a cache; else, and of B always, it is steps, each of all the strip's outer indices.
enum { FLOATS_PITCH = MR_GEMM_KC + MR_GEMM_PITCH_MORE, PAIRS_PITCH = MR_GEMM_KC / 2 + MR_GEMM_PITCH_MORE };
#define PITCH(form) ((form) == PAIRS ? PAIRS_PITCH : FLOATS_PITCH)

/// Rounded to bf16, to nearest, ties to even; subnormal numbers become zero and what is not a number stays so.
INLINE f16 rounded16(f16 x) {
    const i16 bits = (i16)x;
    const i16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & (int32_t)0xffff0000, odd = x != x;
    const i16 normal = (bits & 0x7f800000) != 0;
    return (f16)((odd & (bits | 0x400000) & (int32_t)0xffff0000) | (~odd & normal & rounded));
}

#if MR_ISA_HAS_DOT
enum { BF16_FORM = PAIRS };

/// 32 numbers, rounded as rounded16 does (Intel SDM, VCVTNE2PS2BF16), in 16 words, two neighbours in each.
INLINE f16 neighbours16(f16 first, f16 second) { return (f16)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first); }

/// The same with a number of each in every word.
INLINE f16 paired16(f16 first, f16 second) {
    typedef int16_t s32 __attribute__((vector_size(64)));
    const s32 x = (s32)neighbours16(first, second);
    return (f16)__builtin_shufflevector(x, x, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11,
                                        27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#else
enum { BF16_FORM = EXCHANGED };
#define neighbours16(first, second) (first)
#define paired16(first, second) (first)
#endif

/// 16 steps from `step` on of a row that runs along k and has `count` numbers.
INLINE f16 along16(const int form, const float *row, int64_t step, int64_t count) {
    if (form != PAIRS) {
        const int64_t left = count - step;
        const f16 x = left >= 16 ? load16(row + step) : load_partial(row + step, left > 0 ? left : 0, 0);
        if (form == FLOATS) return x;
        return rounded16(__builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    }
    const float *first = row + 2 * step;
    const int64_t left = count - 2 * step;
    if (left >= 32) return neighbours16(load16(first), load16(first + 16));
    if (left >= 16) return neighbours16(load16(first), load_partial(first + 16, left - 16, 0));
    return neighbours16(load_partial(first, left > 0 ? left : 0, 0), set16(0));
}

/// 16 outer indices of one step, `rest` of which exist, from `count` rows that run across.
INLINE f16 across16(const int form, const float *source, int64_t ld, int64_t step, int64_t count, bool whole, int64_t rest) {
    const int64_t first = form == FLOATS ? step : form == EXCHANGED ? step ^ 1 : 2 * step;
    const float *at = source + first * ld;
    if (whole && first + (form == PAIRS) < count) {
        if (form == PAIRS) return paired16(load16(at), load16(at + ld));
        return form == FLOATS ? load16(at) : rounded16(load16(at));
    }
    const int64_t readable = whole ? 16 : rest > 0 ? rest : 0;
    const f16 x = first < count ? load_partial(at, readable, 0) : set16(0);
    if (form != PAIRS) return form == FLOATS ? x : rounded16(x);
    return paired16(x, first + 1 < count ? load_partial(at + ld, readable, 0) : set16(0));
}

// MARK: packing

/// Packs `width` (≤ stride) outer indices of `steps` steps into out[step · stride + i] from rows of `count` numbers that
/// run along k, `ld` apart. The rest of a strip is zero. Stores of 16 lanes at a stride below 16 spill into the next step,
/// which is written afterwards; at the strip's end, `size` floats from `out` on, they are cut short, since the next strip may
/// be another worker's.
INLINE void NAME(pack_along)(const int form, const float *source, int64_t ld, int64_t width, int64_t stride,
                             int64_t steps, int64_t count, float *out, int64_t size) {
    const int64_t numbers = form == PAIRS ? 2 : 1;
    for (int64_t i0 = 0; i0 < stride; i0 += 16) {
        int64_t rest = width - i0;
        for (int64_t step = 0; step < steps; step += 16) {
            f16 r[16];
            if (rest >= 16 && count - numbers * step >= 16 * numbers) {
#pragma clang loop unroll(full)
                for (int i = 0; i < 16; i++) r[i] = along16(form, source + (i0 + i) * ld, step, INT64_MAX);
            } else {
                for (int i = 0; i < 16; i++)
                    r[i] = i >= rest ? set16(0) : along16(form, source + (i0 + i) * ld, step, count);
            }
            transpose16(r);
            float *to = out + step * stride + i0;
            if (steps - step >= 16 && size - ((step + 15) * stride + i0) >= 16) {
                for (int j = 0; j < 16; j++) store16(to + j * stride, r[j]);
            } else {
                float lanes[16][16];
                memcpy(lanes, r, sizeof lanes);
                for (int64_t j = 0; j < 16 && step + j < steps; j++) {
                    int64_t room = size - ((step + j) * stride + i0);
                    memcpy(to + j * stride, lanes[j], (size_t)(room < 16 ? room : 16) * sizeof(float));
                }
            }
        }
    }
}

/// The same from `count` rows that run across; `readable` ≥ width numbers exist in each. Packs steps first ..< last; from
/// `limit` on the strip may be another worker's.
INLINE void NAME(pack_across)(const int form, const float *source, int64_t ld, int64_t width, int64_t readable,
                              int64_t stride, int64_t first, int64_t last, int64_t limit, int64_t count, float *out) {
    const int64_t size = limit * stride;
    for (int64_t step = first; step < last; step++)
        for (int64_t i = 0; i < stride; i += 16) {
            int64_t rest = width - i, room = size - (step * stride + i);
            bool whole = rest >= 16 || (width == stride && readable - i >= 16);
            f16 v = across16(form, source + i, ld, step, count, whole, rest);
            if (room >= 16)
                store16(out + step * stride + i, v);
            else
                store_partial(out + step * stride + i, v, room);
        }
}

/// Packs `steps` steps of `width` rows of A of `count` numbers that run along k, `ld` apart, as rows. The rest of the strip is
/// zero.
INLINE void NAME(pack_rows)(const int form, const float *source, int64_t ld, int64_t width, int64_t steps, int64_t count,
                            float *out) {
    enum { ROWS_AHEAD = 3 };
    const int64_t numbers = form == PAIRS ? 2 : 1;
    for (int64_t i = 0; i < TILE_M; i++)
        for (int64_t step = 0; step < steps; step += 16) {
            const float *row = source + i * ld;
            for (int64_t line = 0; line < numbers; line++)
                __builtin_prefetch(row + ROWS_AHEAD * ld + numbers * step + 16 * line);
            store16(out + i * PITCH(form) + step, i < width ? along16(form, row, step, count) : set16(0));
        }
}

/// Packs rows begin ..< end of A, or columns of B, of steps first ..< last of one block of k (all of them where rows run
/// along k) into strips. Rows that run across are read eight at a time over their whole width: a strip at a time would touch
/// a new page for every 64 bytes.
INLINE void NAME(pack_block)(const int form, const mr_gemm_product *p, bool of_a, int64_t block, int64_t first,
                             int64_t last, int64_t begin, int64_t end, float *out) {
    const mr_product *of = &p->of;
    const int64_t k0 = p->first_k + p->k_at[block], kc = p->kc[block], ld = of_a ? of->lda : of->ldb;
    const int64_t tile = of_a ? TILE_M : TILE_N, count = of_a ? of->m : of->n, apart = mr_gemm_strip(p, of_a, tile);
    const float *source = of_a ? of->a : of->b;
    out += mr_gemm_block_at(p, of_a, block, tile);
    if (mr_gemm_runs_along_k(of, of_a)) {
        for (int64_t i = begin; i < end; i += tile, out += apart) {
            const int64_t width = end - i < tile ? end - i : tile;
            if (of_a)
                NAME(pack_rows)(form, source + i * ld + k0, ld, width, last, kc, out);
            else
                NAME(pack_along)(form, source + i * ld + k0, ld, width, TILE_N, last, kc, out, last * TILE_N);
        }
        return;
    }
    for (int64_t k = first; k < last; k += 8) {
        const int64_t next = last - k < 8 ? last : k + 8;
        float *to = out;
        for (int64_t i = begin; i < end; i += tile, to += apart) {
            const int64_t width = end - i < tile ? end - i : tile;
            if (of_a)
                NAME(pack_across)(form, source + k0 * ld + i, ld, width, count - i, TILE_M, k, next, last, kc, to);
            else
                NAME(pack_across)(form, source + k0 * ld + i, ld, width, count - i, TILE_N, k, next, last, kc, to);
        }
    }
}

/// One task of packing the shared operand: a few strips of one block of k, or a few steps of it over all strips.
INLINE void NAME(pack_shared)(const int form, const mr_gemm_product *p, int64_t task) {
    const int64_t tasks = mr_gemm_pack_tasks(p) / p->blocks, block = task / tasks, tile = p->share_a ? TILE_M : TILE_N;
    task %= tasks;
    if (mr_gemm_runs_along_k(&p->of, p->share_a)) {
        const int64_t strip = task * MR_GEMM_PACK_STRIPS;
        const int64_t begin = p->shared_begin + strip * tile, most = begin + MR_GEMM_PACK_STRIPS * tile;
        NAME(pack_block)(form, p, p->share_a, block, 0, p->steps[block], begin, most < p->shared_end ? most : p->shared_end,
                         p->shared + strip * mr_gemm_strip(p, p->share_a, tile));
    } else {
        const int64_t first = task * MR_GEMM_PACK_STEPS, most = first + MR_GEMM_PACK_STEPS;
        NAME(pack_block)(form, p, p->share_a, block, first, most < p->steps[block] ? most : p->steps[block], p->shared_begin,
                         p->shared_end, p->shared);
    }
}

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
/// directly, edges by way of a buffer.
INLINE void NAME(tile)(const int form, const int packs, const bool a_rows, const int tile_rows, const mr_gemm_product *p,
                       const float *first_a, const float *b, const float *source, float *c, const float *base,
                       int64_t ldbase, const float *bias, const float *other, const mr_gemm_area *ahead, int64_t rows,
                       int64_t columns) {
    const int64_t ld = packs == ACROSS_A ? p->of.lda : packs == ACROSS_B ? p->of.ldb : 0;
    const int64_t rows_on = form == PAIRS ? 2 * ld : ld;
    const int64_t ldc = p->of.ldc;
    const bool whole = rows == tile_rows && columns == TILE_N;
    // C, or what it is added to, what its activation reads or writes, and a part of the operand of the tiles to come are
    // fetched while there is time. A hint never faults, so edges need no care.
    const mr_gemm_area areas[] = {
        {base ? base : c, base ? ldbase : ldc, tile_rows, TILE_V}, {other, p->of.ldother, tile_rows, TILE_V}, *ahead,
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
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < columns; j++)
                    c[i * ldc + j] = base ? base[i * ldbase + j] + buffer[i][j] : buffer[i][j];
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
    float *c = of->c + row * of->ldc + column;
    const int64_t ldbase = p->is_first ? of->ldbase : of->ldc;
    const float *base = !p->is_first ? c : of->base ? of->base + row * ldbase + column : NULL;
    const float *bias = p->is_last && of->bias ? of->bias + column : NULL;
    const bool activates = p->is_last && of->activation != MR_NO_ACTIVATION;
    const float *other = activates ? of->other + row * of->ldother + column : NULL;
    const float *source = packs == ACROSS_A   ? of->a + p->first_k * of->lda + row
                          : packs == ACROSS_B ? of->b + p->first_k * of->ldb + column
                          : packs == ALONG_A  ? of->a + row * of->lda + p->first_k
                          : packs == ALONG_B  ? of->b + column * of->ldb + p->first_k
                                              : a;  // not read
    if (packs != NEITHER || rows > TILE_M / 2)
        NAME(tile)(FORM, packs, a_rows, TILE_M, p, a, b, source, c, base, ldbase, bias, other, ahead, rows, columns);
    else if (rows > 2)
        NAME(tile)(FORM, packs, a_rows, TILE_M / 2, p, a, b, source, c, base, ldbase, bias, other, ahead, rows, columns);
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
