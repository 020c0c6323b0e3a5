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

/// Packs `width` (≤ stride) outer indices × kc into out[k · stride + i]; the rest of a strip is zero.
/// `along_k`: source rows run along k (element (i, k) at source[i · ld + k]), else across (source[k · ld + i]).
/// Stores of 16 lanes at a stride below 16 spill into the next k, which is written afterwards; the strip's last one
/// spills into the padding that every packed area has behind it.
INLINE void NAME(pack_strip)(const float *source, int64_t ld, bool along_k, int64_t width, int64_t stride, int64_t kc,
                             float *out) {
    if (!along_k) {
        for (int64_t k = 0; k < kc; k++) {
            const float *row = source + k * ld;
            for (int64_t i = 0; i < stride; i += 16) {
                int64_t rest = width - i;
                f16 v = rest >= 16 ? load16(row + i) : rest > 0 ? load_partial(row + i, rest, 0) : set16(0);
                store16(out + k * stride + i, v);
            }
        }
        return;
    }
    for (int64_t i0 = 0; i0 < stride; i0 += 16) {
        int64_t rest = width - i0;
        int64_t k = 0;
        for (; k + 16 <= kc; k += 16) {
            f16 r[16];
            for (int i = 0; i < 16; i++) r[i] = i < rest ? load16(source + (i0 + i) * ld + k) : set16(0);
            NAME(transpose16)(r);
            for (int j = 0; j < 16; j++) store16(out + (k + j) * stride + i0, r[j]);
        }
        for (; k < kc; k++) {
            float lane[16];
            for (int i = 0; i < 16; i++) lane[i] = i < rest ? source[(i0 + i) * ld + k] : 0;
            store16(out + k * stride + i0, load16(lane));
        }
    }
}

/// Σ_k a[k][i] · b[k][j] for a tile, in registers, then to C (whole tiles) or by way of a buffer (edges).
static void NAME(tile)(int64_t kc, const float *a, const float *b, float *c, int64_t ldc, int64_t rows, int64_t columns,
                       bool add) {
    f16 sum[TILE_M][TILE_V];
    for (int i = 0; i < TILE_M; i++)
        for (int j = 0; j < TILE_V; j++) sum[i][j] = set16(0);
    for (int64_t k = 0; k < kc; k++) {
        f16 bv[TILE_V];
        for (int j = 0; j < TILE_V; j++) bv[j] = load16(b + j * 16);
#pragma clang loop unroll(full)
        for (int i = 0; i < TILE_M; i++) {
            f16 av = set16(a[i]);
            for (int j = 0; j < TILE_V; j++) sum[i][j] = fma16(av, bv[j], sum[i][j]);
        }
        a += TILE_M;
        b += TILE_N;
    }
    if (rows == TILE_M && columns == TILE_N) {
#pragma clang loop unroll(full)
        for (int i = 0; i < TILE_M; i++)
            for (int j = 0; j < TILE_V; j++) {
                float *p = c + i * ldc + j * 16;
                store16(p, add ? load16(p) + sum[i][j] : sum[i][j]);
            }
        return;
    }
    float buffer[TILE_M][TILE_N];
#pragma clang loop unroll(full)
    for (int i = 0; i < TILE_M; i++)
        for (int j = 0; j < TILE_V; j++) store16(&buffer[i][j * 16], sum[i][j]);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) c[i * ldc + j] = add ? c[i * ldc + j] + buffer[i][j] : buffer[i][j];
}

static void NAME(pack_b)(void *argument, int64_t strip, int worker) {
    (void)worker;
    const mr_gemm_block *block = argument;
    int64_t column = strip * TILE_N;
    int64_t width = block->n - column < TILE_N ? block->n - column : TILE_N;
    const float *source = block->transpose_b ? block->b + column * block->ldb : block->b + column;
    NAME(pack_strip)(source, block->ldb, block->transpose_b, width, TILE_N, block->kc,
                     block->panel + strip * TILE_N * block->kc);
}

/// One task: block_m rows against block_n columns of the panel.
static void NAME(multiply)(void *argument, int64_t task, int worker) {
    const mr_gemm_block *block = argument;
    int64_t row = task % block->blocks_m * block->block_m;
    int64_t column = task / block->blocks_m * block->block_n;
    int64_t last_row = row + block->block_m < block->m ? row + block->block_m : block->m;
    int64_t last_column = column + block->block_n < block->n ? column + block->block_n : block->n;
    float *packed = mr_context_scratch(block->context, worker);
    int64_t kc = block->kc;
    for (int64_t i = row; i < last_row; i += TILE_M) {
        int64_t width = last_row - i < TILE_M ? last_row - i : TILE_M;
        const float *source = block->transpose_a ? block->a + i : block->a + i * block->lda;
        NAME(pack_strip)(source, block->lda, !block->transpose_a, width, TILE_M, kc, packed + (i - row) * kc);
    }
    for (int64_t j = column; j < last_column; j += TILE_N) {
        int64_t columns = last_column - j < TILE_N ? last_column - j : TILE_N;
        for (int64_t i = row; i < last_row; i += TILE_M) {
            int64_t rows = last_row - i < TILE_M ? last_row - i : TILE_M;
            NAME(tile)(kc, packed + (i - row) * kc, block->panel + j * kc, block->c + i * block->ldc + j, block->ldc,
                       rows, columns, block->add);
        }
    }
}

const mr_gemm_kernels NAME(mr_gemm_kernels) = {TILE_M, TILE_N, NAME(pack_b), NAME(multiply)};
