// What the strips of a matrix product's panels hold, and how A and B are packed into them. Included by gemm_body.h, for each
// instruction set anew.

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
