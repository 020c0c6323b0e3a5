// The matrix product's inner half (Goto & van de Geijn 2008, the scheme of BLIS): A and B are packed into strips as wide
// as the register tile, the tile's sums stay in registers for a whole block of k. TILE_M and TILE_V (vectors of 16
// across) come from the including file. Every sum starts at zero and runs over k in order; lanes run across columns.

enum { TILE_N = TILE_V * 16 };

#if MR_ISA_HAS_DOT
/// sum + a[1] · b[1] + a[0] · b[0] of each pair, each product added with one rounding, in this order; subnormal numbers
/// count as zero (Intel SDM, VDPBF16PS).
INLINE f16 dot16(f16 a, f16 b, f16 sum) { return (f16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
#else
#define dot16(a, b, sum) (sum)
#endif

/// Makes this thread take subnormal numbers for zero and give zero for them; returns what to restore.
INLINE uint64_t begin_flushing(void) {
#if defined(__x86_64__)
    const uint32_t before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | 0x8040);
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1 << 24));
    return before;
#else
    return 0;
#endif
}

INLINE void end_flushing(uint64_t before) {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((uint32_t)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

/// Transposes 16 × 16: out[j] lane i = in[i] lane j.
INLINE void NAME(transpose16)(f16 r[16]) {
    f16 t[16];
    // Pairs of rows at distance d swap the halves of each group of 2d lanes: d = 1, 2, 4, 8.
    for (int i = 0; i < 16; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    }
    for (int g = 0; g < 16; g += 4)
        for (int i = g; i < g + 2; i++) {
            r[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
            r[i + 2] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
        }
    for (int g = 0; g < 16; g += 8)
        for (int i = g; i < g + 4; i++) {
            t[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
            t[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
        }
    for (int i = 0; i < 8; i++) {
        r[i] = __builtin_shufflevector(t[i], t[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
        r[i + 8] = __builtin_shufflevector(t[i], t[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
}

// MARK: what a panel holds

/// How a panel holds operands. A step of a panel is what one turn of the inner loop takes of an outer index: a float; or, of
/// operands in bf16, floats with the two of each pair exchanged, or a pair in one word, the second in the upper half.
enum { FLOATS, EXCHANGED, PAIRS };

#if MR_ISA_HAS_DOT
enum { BF16_FORM = PAIRS };
#else
enum { BF16_FORM = EXCHANGED };
#endif

/// Rounded to bf16, to nearest, ties to even; what is not a number stays so.
INLINE f16 rounded16(f16 x) {
    const i16 bits = (i16)x;
    const i16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & (int32_t)0xffff0000, odd = x != x;
    return (f16)((odd & (bits | 0x400000) & (int32_t)0xffff0000) | (~odd & rounded));
}

/// Two rounded numbers in each word.
INLINE f16 paired16(f16 first, f16 second) {
    typedef uint32_t u16 __attribute__((vector_size(64)));
    return (f16)(((u16)rounded16(first) >> 16) | (u16)rounded16(second));
}

/// 16 steps from `step` on of a row that runs along k and has `count` numbers.
INLINE f16 along16(const int form, const float *row, int64_t step, int64_t count) {
    if (form != PAIRS) {
        const int64_t left = count - step;
        const f16 x = left >= 16 ? load16(row + step) : load_partial(row + step, left > 0 ? left : 0, 0);
        if (form == FLOATS) return x;
        return rounded16(__builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    }
    const int64_t left = count - 2 * step;
    f16 x[2];
    for (int half = 0; half < 2; half++) {
        const int64_t rest = left - 16 * half;
        x[half] = rest >= 16 ? load16(row + 2 * step + 16 * half)
                             : load_partial(row + 2 * step + 16 * half, rest > 0 ? rest : 0, 0);
    }
    return paired16(
        __builtin_shufflevector(x[0], x[1], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
        __builtin_shufflevector(x[0], x[1], 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
}

/// 16 outer indices of one step, `rest` of which exist, from `count` rows that run across.
INLINE f16 across16(const int form, const float *source, int64_t ld, int64_t step, int64_t count, bool whole, int64_t rest) {
    const int64_t first = form == FLOATS ? step : form == EXCHANGED ? step ^ 1 : 2 * step;
    f16 x[2] = {set16(0), set16(0)};
    for (int i = 0; i < (form == PAIRS ? 2 : 1); i++)
        if (first + i < count)
            x[i] = whole ? load16(source + (first + i) * ld)
                         : load_partial(source + (first + i) * ld, rest > 0 ? rest : 0, 0);
    return form == FLOATS ? x[0] : form == EXCHANGED ? rounded16(x[0]) : paired16(x[0], x[1]);
}

// MARK: packing

/// Packs `width` (≤ stride) outer indices of `steps` steps into out[step · stride + i] from rows of `count` numbers that
/// run along k, `ld` apart. The rest of a strip is zero. Stores of 16 lanes at a stride below 16 spill into the next step,
/// which is written afterwards; at the strip's end they are cut short, since the next strip may be another worker's.
INLINE void NAME(pack_along)(const int form, const float *source, int64_t ld, int64_t width, int64_t stride,
                             int64_t steps, int64_t count, float *out) {
    const int64_t size = steps * stride;
    for (int64_t i0 = 0; i0 < stride; i0 += 16) {
        int64_t rest = width - i0;
        for (int64_t step = 0; step < steps; step += 16) {
            f16 r[16];
            for (int i = 0; i < 16; i++)
                r[i] = i >= rest ? set16(0) : along16(form, source + (i0 + i) * ld, step, count);
            NAME(transpose16)(r);
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

/// Packs rows begin ..< end of A, or columns of B, of steps first ..< last of one block of k (all of them where rows run
/// along k) into strips. Rows that run across are read eight at a time over their whole width: a strip at a time would touch
/// a new page for every 64 bytes.
INLINE void NAME(pack_block)(const int form, const mr_gemm_product *p, bool of_a, int64_t block, int64_t first,
                             int64_t last, int64_t begin, int64_t end, float *out) {
    const mr_product *of = &p->of;
    const int64_t k0 = p->first_k + p->k_at[block], kc = p->kc[block], ld = of_a ? of->lda : of->ldb;
    const int64_t tile = of_a ? TILE_M : TILE_N, count = of_a ? of->m : of->n, pitch = p->depth * tile;
    const float *source = of_a ? of->a : of->b;
    out += p->at[block] * tile;
    if (mr_gemm_runs_along_k(of, of_a)) {
        for (int64_t i = begin; i < end; i += tile, out += pitch) {
            const int64_t width = end - i < tile ? end - i : tile;
            if (of_a)
                NAME(pack_along)(form, source + i * ld + k0, ld, width, TILE_M, last, kc, out);
            else
                NAME(pack_along)(form, source + i * ld + k0, ld, width, TILE_N, last, kc, out);
        }
        return;
    }
    for (int64_t k = first; k < last; k += 8) {
        const int64_t next = last - k < 8 ? last : k + 8;
        float *to = out;
        for (int64_t i = begin; i < end; i += tile, to += pitch) {
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
                         p->shared + strip * tile * p->depth);
    } else {
        const int64_t first = task * MR_GEMM_PACK_STEPS, most = first + MR_GEMM_PACK_STEPS;
        NAME(pack_block)(form, p, p->share_a, block, first, most < p->steps[block] ? most : p->steps[block], p->shared_begin,
                         p->shared_end, p->shared);
    }
}

/// Which operand of a tile is packed by the tile itself.
enum { NEITHER, OF_A, OF_B };

/// One step of k. Strips come from L2: they are fetched 16 steps ahead of their use. The operand that is packed on the way is
/// read from `source`, its row in memory, and written to its strip; what comes AHEAD rows later is fetched to L2.
INLINE void NAME(step)(const int form, const int packs, const int tile_rows, const float *a, const float *b,
                       const float *source, int64_t ld, f16 sum[TILE_M][TILE_V]) {
    enum { AHEAD = 24 };
    f16 bv[TILE_V];
    if (packs == OF_A) {
        memcpy((float *)a, source, TILE_M * sizeof(float));
        __builtin_prefetch(source + AHEAD * ld, 0, 2);
        __builtin_prefetch(source + AHEAD * ld + TILE_M - 1, 0, 2);
        a = source;
    } else {
        __builtin_prefetch(a + 16 * TILE_M);
    }
    for (int j = 0; j < TILE_V; j++) {
        bv[j] = load16((packs == OF_B ? source : b) + j * 16);
        if (packs == OF_B) {
            store16((float *)b + j * 16, bv[j]);
            __builtin_prefetch(source + AHEAD * ld + j * 16, 0, 2);
        } else {
            __builtin_prefetch(b + 16 * TILE_N + j * 16);
        }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < tile_rows; i++) {
        f16 av = set16(a[i]);
        for (int j = 0; j < TILE_V; j++)
            sum[i][j] = form == PAIRS ? dot16(av, bv[j], sum[i][j]) : fma16(av, bv[j], sum[i][j]);
    }
}

/// A tile of C: for each block of k of the run Σ_k a[k][i] · b[k][j] for the first `tile_rows` rows, in registers, which is
/// then added to what C has so far, or to `base`, or replaces it when there is none; at last `bias`. `rows` × `columns` of
/// it go to C, whole vectors directly, edges by way of a buffer.
INLINE void NAME(tile)(const int form, const int packs, const int tile_rows, const mr_gemm_product *p, const float *a,
                       const float *b, const float *source, float *c, const float *base, int64_t ldbase, const float *bias,
                       int64_t rows, int64_t columns) {
    const int64_t ld = packs == OF_A ? p->of.lda : packs == OF_B ? p->of.ldb : 0;
    const int64_t ldc = p->of.ldc;
    const bool whole = rows == tile_rows && columns == TILE_N;
    for (int64_t block = 0; block < p->blocks; block++) {
        f16 sum[TILE_M][TILE_V];
#pragma clang loop unroll(full)
        for (int i = 0; i < tile_rows; i++)
            for (int j = 0; j < TILE_V; j++) sum[i][j] = set16(0);
        const int64_t steps = p->steps[block];
        int64_t k = 0;
        // What C is added to is fetched while there is time. A hint never faults, so edges need no care.
        if (base != NULL && block == 0)
            for (; k < TILE_V * 16 && k < steps; k++, a += TILE_M, b += TILE_N, source += ld) {
                __builtin_prefetch(base + k % 16 * ldbase + k / 16 * 16, 1);
                NAME(step)(form, packs, tile_rows, a, b, source, ld, sum);
            }
        for (; k < steps; k++, a += TILE_M, b += TILE_N, source += ld)
            NAME(step)(form, packs, tile_rows, a, b, source, ld, sum);
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
/// only one when a model generates text. `packs` is not NEITHER for whole tiles of operands that panels hold as they are.
INLINE void NAME(tile_at)(const int packs, const mr_gemm_product *p, const float *a, const float *b, int64_t row,
                          int64_t column) {
    enum { FORM = MR_ISA_HAS_DOT ? PAIRS : FLOATS };
    const mr_product *of = &p->of;
    const int64_t rows = of->m - row < TILE_M ? of->m - row : TILE_M;
    const int64_t columns = of->n - column < TILE_N ? of->n - column : TILE_N;
    float *c = of->c + row * of->ldc + column;
    const int64_t ldbase = p->is_first ? of->ldbase : of->ldc;
    const float *base = !p->is_first ? c : of->base ? of->base + row * ldbase + column : NULL;
    const float *bias = p->is_last && of->bias ? of->bias + column : NULL;
    const float *source = packs == OF_A   ? of->a + p->first_k * of->lda + row
                          : packs == OF_B ? of->b + p->first_k * of->ldb + column
                                          : a;  // not read
    if (packs != NEITHER || rows > TILE_M / 2)
        NAME(tile)(FORM, packs, TILE_M, p, a, b, source, c, base, ldbase, bias, rows, columns);
    else if (rows > 2)
        NAME(tile)(FORM, packs, TILE_M / 2, p, a, b, source, c, base, ldbase, bias, rows, columns);
    else if (rows == 2)
        NAME(tile)(FORM, packs, 2, p, a, b, source, c, base, ldbase, bias, rows, columns);
    else
        NAME(tile)(FORM, packs, 1, p, a, b, source, c, base, ldbase, bias, rows, columns);
}

#define TILE_FUNCTION(name, packs)                                                                                         \
    static __attribute__((noinline)) void NAME(name)(const mr_gemm_product *p, const float *a, const float *b, int64_t row, \
                                                     int64_t column) {                                                     \
        NAME(tile_at)(packs, p, a, b, row, column);                                                                        \
    }
TILE_FUNCTION(tile_packing_neither, NEITHER)
#if !MR_ISA_HAS_DOT
TILE_FUNCTION(tile_packing_a, OF_A)
TILE_FUNCTION(tile_packing_b, OF_B)
#endif
#undef TILE_FUNCTION

/// One task: some rows and columns of C, through the blocks of k of the run. The task packs its own part of the other
/// operand, which then stays in L2 while the shared strips pass.
INLINE void NAME(multiply)(const int form, const mr_gemm_product *p, int64_t task, int worker) {
    const int64_t own_tile = p->share_a ? TILE_N : TILE_M, shared_tile = p->share_a ? TILE_M : TILE_N;
    int64_t first = 0, last = mr_gemm_own_end(p, first);
    for (int64_t before = task % p->own_tasks; before > 0; before--) {
        first = last;
        last = mr_gemm_own_end(p, first);
    }
    const int64_t own_count = p->share_a ? p->of.n : p->of.m;
    const int64_t own_end = last * own_tile < own_count ? last * own_tile : own_count;
    float *packed = mr_context_scratch(p->context, worker);
    const int64_t begin = task / p->own_tasks * p->part_strips;
    const int64_t end = begin + p->part_strips < p->strips ? begin + p->part_strips : p->strips;
    // Whole tiles of an operand that is only copied are packed by the tiles of the first strip, which compute meanwhile.
    const bool on_the_way = form == FLOATS && !mr_gemm_runs_along_k(&p->of, !p->share_a)
                            && p->shared_begin + (begin + 1) * shared_tile <= p->shared_end;
    const int64_t whole = on_the_way ? own_end / own_tile : first;  // tiles first ..< whole are packed so
    for (int64_t block = 0; block < p->blocks; block++)
        NAME(pack_block)(form, p, !p->share_a, block, 0, p->steps[block], whole * own_tile, own_end,
                         packed + (whole - first) * own_tile * p->depth);

    for (int64_t strip = begin; strip < end; strip++) {
        const float *shared = p->shared + strip * shared_tile * p->depth;
        const int64_t at = p->shared_begin + strip * shared_tile;
        for (int64_t tile = first; tile < last; tile++) {
            const float *mine = packed + (tile - first) * own_tile * p->depth;
            const float *a = p->share_a ? shared : mine, *b = p->share_a ? mine : shared;
            const int64_t row = p->share_a ? at : tile * own_tile, column = p->share_a ? tile * own_tile : at;
#if !MR_ISA_HAS_DOT
            if (strip == begin && tile < whole) {
                (p->share_a ? NAME(tile_packing_b) : NAME(tile_packing_a))(p, a, b, row, column);
                continue;
            }
#endif
            NAME(tile_packing_neither)(p, a, b, row, column);
        }
    }
}

static void NAME(pack_shared_bf16)(void *argument, int64_t task, int worker) {
    (void)worker;
    NAME(pack_shared)(BF16_FORM, argument, task);
}

/// Subnormal numbers count as zero, as they do for processors' dot products of bf16.
static void NAME(multiply_bf16)(void *argument, int64_t task, int worker) {
    const uint64_t before = begin_flushing();
    NAME(multiply)(BF16_FORM, argument, task, worker);
    end_flushing(before);
}

const mr_gemm_kernels NAME(mr_bf16_kernels) = {
    TILE_M, TILE_N, BF16_FORM == PAIRS ? 2 : 1, NAME(pack_shared_bf16), NAME(multiply_bf16),
};

#if !MR_ISA_HAS_DOT
static void NAME(pack_shared_floats)(void *argument, int64_t task, int worker) {
    (void)worker;
    NAME(pack_shared)(FLOATS, argument, task);
}

static void NAME(multiply_floats)(void *argument, int64_t task, int worker) {
    NAME(multiply)(FLOATS, argument, task, worker);
}

const mr_gemm_kernels NAME(mr_gemm_kernels) = {TILE_M, TILE_N, 1, NAME(pack_shared_floats), NAME(multiply_floats)};
#endif
