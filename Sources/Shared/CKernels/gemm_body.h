// The matrix product's inner half (Goto & van de Geijn 2008, the scheme of BLIS): A and B are packed into strips as wide
// as the register tile, the tile's sums stay in registers for a whole block of k. TILE_M and TILE_V (vectors of 16
// across) come from the including file. Every sum starts at zero and runs over k in order; lanes run across columns.

enum { TILE_N = TILE_V * 16 };

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

/// Packs `width` (≤ stride) outer indices × kc into out[k · stride + i] from rows that run along k: element (i, k) lies at
/// source[i · ld + k]. The rest of a strip is zero. Stores of 16 lanes at a stride below 16 spill into the next k, which
/// is written afterwards; at the strip's end they are cut short, since the next strip may be another worker's.
INLINE void NAME(pack_along)(const float *source, int64_t ld, int64_t width, int64_t stride, int64_t kc, float *out) {
    const int64_t size = kc * stride;
    for (int64_t i0 = 0; i0 < stride; i0 += 16) {
        int64_t rest = width - i0;
        for (int64_t k = 0; k < kc; k += 16) {
            int64_t steps = kc - k < 16 ? kc - k : 16;
            f16 r[16];
            for (int i = 0; i < 16; i++) {
                const float *row = source + (i0 + i) * ld + k;
                r[i] = i >= rest ? set16(0) : steps == 16 ? load16(row) : load_partial(row, steps, 0);
            }
            NAME(transpose16)(r);
            float *to = out + k * stride + i0;
            if (steps == 16 && size - ((k + 15) * stride + i0) >= 16) {
                for (int j = 0; j < 16; j++) store16(to + j * stride, r[j]);
            } else {
                float lanes[16][16];
                memcpy(lanes, r, sizeof lanes);
                for (int64_t j = 0; j < steps; j++) {
                    int64_t room = size - ((k + j) * stride + i0);
                    memcpy(to + j * stride, lanes[j], (size_t)(room < 16 ? room : 16) * sizeof(float));
                }
            }
        }
    }
}

/// The same from rows that run across: element (i, k) lies at source[k · ld + i]; `readable` ≥ width of them exist. Packs
/// k = first ..< last of kc.
INLINE void NAME(pack_across)(const float *source, int64_t ld, int64_t width, int64_t readable, int64_t stride,
                              int64_t first, int64_t last, int64_t kc, float *out) {
    const int64_t size = kc * stride;
    for (int64_t k = first; k < last; k++) {
        const float *row = source + k * ld;
        for (int64_t i = 0; i < stride; i += 16) {
            int64_t rest = width - i, room = size - (k * stride + i);
            bool whole = rest >= 16 || (width == stride && readable - i >= 16);
            f16 v = whole ? load16(row + i) : rest > 0 ? load_partial(row + i, rest, 0) : set16(0);
            if (room >= 16)
                store16(out + k * stride + i, v);
            else
                store_partial(out + k * stride + i, v, room);
        }
    }
}

/// Packs outer indices begin ..< end (of `count` that exist) of one block of k into strips. `source` points at index
/// `begin` and the block's first k. Rows that run across are read eight at a time over their whole width: a strip at a
/// time would touch a new page for every 64 bytes.
INLINE void NAME(pack_strips)(const float *source, int64_t ld, bool along_k, int64_t begin, int64_t end, int64_t count,
                              int64_t stride, int64_t kc, float *out) {
    if (along_k) {
        for (int64_t i = begin; i < end; i += stride)
            NAME(pack_along)(source + (i - begin) * ld, ld, end - i < stride ? end - i : stride, stride, kc,
                             out + (i - begin) * kc);
        return;
    }
    for (int64_t k = 0; k < kc; k += 8)
        for (int64_t i = begin; i < end; i += stride)
            NAME(pack_across)(source + (i - begin), ld, end - i < stride ? end - i : stride, count - i, stride, k,
                              kc - k < 8 ? kc : k + 8, kc, out + (i - begin) * kc);
}

/// Σ_k a[k][i] · b[k][j] for the first TILE rows of a tile, in registers; `rows` × `columns` of it go to C, whole
/// vectors directly, edges by way of a buffer.
INLINE void NAME(tile)(const int tile_rows, int64_t kc, const float *a, const float *b, float *c, int64_t ldc,
                       int64_t rows, int64_t columns, bool add) {
    f16 sum[TILE_M][TILE_V];
#pragma clang loop unroll(full)
    for (int i = 0; i < tile_rows; i++)
        for (int j = 0; j < TILE_V; j++) {
            sum[i][j] = set16(0);
            // C is needed only after kc steps: by then it is here. A hint never faults, so edges need no care.
            __builtin_prefetch(c + i * ldc + j * 16, 1);
        }
    for (int64_t k = 0; k < kc; k++) {
        f16 bv[TILE_V];
        for (int j = 0; j < TILE_V; j++) bv[j] = load16(b + j * 16);
#pragma clang loop unroll(full)
        for (int i = 0; i < tile_rows; i++) {
            f16 av = set16(a[i]);
            for (int j = 0; j < TILE_V; j++) sum[i][j] = fma16(av, bv[j], sum[i][j]);
        }
        a += TILE_M;
        b += TILE_N;
    }
    if (rows == tile_rows && columns == TILE_N) {
#pragma clang loop unroll(full)
        for (int i = 0; i < tile_rows; i++)
            for (int j = 0; j < TILE_V; j++) {
                float *p = c + i * ldc + j * 16;
                store16(p, add ? load16(p) + sum[i][j] : sum[i][j]);
            }
        return;
    }
    float buffer[TILE_M][TILE_N];
#pragma clang loop unroll(full)
    for (int i = 0; i < tile_rows; i++)
        for (int j = 0; j < TILE_V; j++) store16(&buffer[i][j * 16], sum[i][j]);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) c[i * ldc + j] = add ? c[i * ldc + j] + buffer[i][j] : buffer[i][j];
}

/// Chooses the lowest tile that holds `rows`: the last rows of a matrix, or the only one when a model generates text.
static void NAME(tile_of_rows)(int64_t kc, const float *a, const float *b, float *c, int64_t ldc, int64_t rows,
                               int64_t columns, bool add) {
    if (rows > TILE_M / 2)
        NAME(tile)(TILE_M, kc, a, b, c, ldc, rows, columns, add);
    else if (rows > 2)
        NAME(tile)(TILE_M / 2, kc, a, b, c, ldc, rows, columns, add);
    else if (rows == 2)
        NAME(tile)(2, kc, a, b, c, ldc, rows, columns, add);
    else
        NAME(tile)(1, kc, a, b, c, ldc, rows, columns, add);
}

/// Packed rows times packed columns for one block of k. Strips of columns stay in L1 while rows stream past.
static void NAME(multiply_packed)(int64_t kc, const float *a, int64_t rows, const float *b, int64_t columns, float *c,
                                  int64_t ldc, bool add) {
    for (int64_t j = 0; j < columns; j += TILE_N) {
        int64_t width = columns - j < TILE_N ? columns - j : TILE_N;
        for (int64_t i = 0; i < rows; i += TILE_M) {
            int64_t height = rows - i < TILE_M ? rows - i : TILE_M;
            NAME(tile_of_rows)(kc, a + i * kc, b + j * kc, c + i * ldc + j, ldc, height, width, add);
        }
    }
}

static void NAME(pack_rows)(const mr_gemm_product *p, mr_gemm_block block, int64_t row, int64_t end, float *out) {
    const float *source = p->transpose_a ? p->a + block.k * p->lda + row : p->a + row * p->lda + block.k;
    NAME(pack_strips)(source, p->lda, !p->transpose_a, row, end, p->m, TILE_M, block.kc, out);
}

static void NAME(pack_columns)(const mr_gemm_product *p, mr_gemm_block block, int64_t column, int64_t end, float *out) {
    const float *source = p->transpose_b ? p->b + column * p->ldb + block.k : p->b + block.k * p->ldb + column;
    NAME(pack_strips)(source, p->ldb, p->transpose_b, column, end, p->n, TILE_N, block.kc, out);
}

/// One task of packing the shared operand: a few strips of one block of k.
static void NAME(pack_shared)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_gemm_product *p = argument;
    const int64_t tasks = (p->strips + MR_GEMM_PACK_STRIPS - 1) / MR_GEMM_PACK_STRIPS;
    const mr_gemm_block block = mr_gemm_block_at(p, p->first_block + task / tasks);
    const int64_t tile = p->share_a ? TILE_M : TILE_N;
    const int64_t begin = task % tasks * MR_GEMM_PACK_STRIPS * tile;
    float *out = p->shared + (block.k - p->first_k) * p->strips * tile + begin * block.kc;
    const int64_t from = p->shared_begin + begin, most = from + MR_GEMM_PACK_STRIPS * tile;
    const int64_t end = most < p->shared_end ? most : p->shared_end;
    if (p->share_a)
        NAME(pack_rows)(p, block, from, end, out);
    else
        NAME(pack_columns)(p, block, from, end, out);
}

/// One task: some rows and columns of C, through all blocks of k that the shared operand holds. The task packs its own
/// part of the other operand.
static void NAME(multiply)(void *argument, int64_t task, int worker) {
    const mr_gemm_product *p = argument;
    const int64_t own = task % p->own_tasks * p->own_size, part = task / p->own_tasks * p->part_size;
    const int64_t own_count = p->share_a ? p->n : p->m;
    const int64_t own_end = own + p->own_size < own_count ? own + p->own_size : own_count;
    const int64_t begin = p->shared_begin + part;
    const int64_t end = begin + p->part_size < p->shared_end ? begin + p->part_size : p->shared_end;
    const int64_t tile = p->share_a ? TILE_M : TILE_N;
    float *packed = mr_context_scratch(p->context, worker);
    for (int64_t index = p->first_block; index < p->last_block; index++) {
        const mr_gemm_block block = mr_gemm_block_at(p, index);
        const bool add = p->accumulate || index > 0;
        const float *shared = p->shared + (block.k - p->first_k) * p->strips * tile + part * block.kc;
        if (!p->share_a) {
            NAME(pack_rows)(p, block, own, own_end, packed);
            NAME(multiply_packed)(block.kc, packed, own_end - own, shared, end - begin, p->c + own * p->ldc + begin,
                                  p->ldc, add);
            continue;
        }
        NAME(pack_columns)(p, block, own, own_end, packed);
        const int64_t chunk = 16 * TILE_M;  // rows that stay in L2 beside the packed columns
        for (int64_t row = begin; row < end; row += chunk) {
            const int64_t rows = end - row < chunk ? end - row : chunk;
            NAME(multiply_packed)(block.kc, shared + (row - begin) * block.kc, rows, packed, own_end - own,
                                  p->c + row * p->ldc + own, p->ldc, add);
        }
    }
}

const mr_gemm_kernels NAME(mr_gemm_kernels) = {TILE_M, TILE_N, NAME(pack_shared), NAME(multiply)};
