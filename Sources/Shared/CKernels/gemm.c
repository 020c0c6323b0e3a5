// Cuts a matrix product into blocks of k (the order of summation, fixed by the contract), panels of B that all workers
// share, and tasks. None of the cuts along m and n touches a sum, so they may follow the number of threads.
#include "gemm.h"

#include <string.h>

enum { BLOCK_M_FLOATS = 65536 };  // packed A of a task: a quarter of a megabyte, so it stays in L2

static const mr_gemm_kernels *kernels_of(const mr_context *context) {
    switch (mr_context_isa(context)) {
#if defined(__x86_64__)
    case MR_ISA_AVX512: return &mr_gemm_kernels_avx512;
    case MR_ISA_AVX2: return &mr_gemm_kernels_avx2;
#endif
#if defined(__aarch64__)
    case MR_ISA_NEON: return &mr_gemm_kernels_neon;
#endif
    default: return &mr_gemm_kernels_scalar;
    }
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

static void multiply_block(const mr_gemm_kernels *kernels, mr_gemm_block *block) {
    mr_context *context = block->context;
    int threads = mr_context_threads(context);
    int64_t strips = ceil_div(block->n, kernels->tile_n);
    mr_parallel(context, strips, kernels->pack_b, block);
    // Rows: as many as fit the packed area, fewer when there are too few tasks to go round.
    int64_t tiles_m = ceil_div(block->m, kernels->tile_m);
    int64_t most = min_of(BLOCK_M_FLOATS / MR_GEMM_KC / kernels->tile_m, tiles_m);
    int64_t wanted = threads == 1 ? 1 : 4 * threads;
    int64_t blocks = ceil_div(tiles_m, most);
    if (blocks < wanted) blocks = min_of(wanted, ceil_div(tiles_m, min_of(4, most)));
    int64_t tiles = ceil_div(tiles_m, blocks);
    block->block_m = tiles * kernels->tile_m;
    block->blocks_m = ceil_div(block->m, block->block_m);
    int64_t blocks_n = block->blocks_m >= wanted ? 1 : min_of(ceil_div(wanted, block->blocks_m), ceil_div(strips, 4));
    block->block_n = ceil_div(strips, blocks_n) * kernels->tile_n;
    blocks_n = ceil_div(block->n, block->block_n);
    mr_parallel(context, block->blocks_m * blocks_n, kernels->multiply, block);
}

void mr_gemm(mr_context *context, bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a,
             int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc, bool accumulate, int64_t period) {
    if (m <= 0 || n <= 0) return;
    if (k <= 0) {
        if (!accumulate)
            for (int64_t i = 0; i < m; i++) memset(c + i * ldc, 0, (size_t)n * sizeof(float));
        return;
    }
    const mr_gemm_kernels *kernels = kernels_of(context);
    if (period <= 0) period = k;
    // The last 64 floats of the panel are padding for stores of whole vectors.
    int64_t panel = (MR_PANEL_FLOATS - 64) / MR_GEMM_KC / kernels->tile_n * kernels->tile_n;
    for (int64_t column = 0; column < n; column += panel) {
        for (int64_t begin = 0; begin < k; begin += period) {
            int64_t end = min_of(begin + period, k);
            for (int64_t k0 = begin; k0 < end; k0 += MR_GEMM_KC) {
                mr_gemm_block block = {
                    .context = context,
                    .transpose_a = transpose_a,
                    .transpose_b = transpose_b,
                    .add = accumulate || k0 > 0,
                    .m = m,
                    .n = min_of(panel, n - column),
                    .kc = min_of(MR_GEMM_KC, end - k0),
                    .a = transpose_a ? a + k0 * lda : a + k0,
                    .b = transpose_b ? b + column * ldb + k0 : b + k0 * ldb + column,
                    .lda = lda,
                    .ldb = ldb,
                    .c = c + column,
                    .ldc = ldc,
                    .panel = mr_context_panel(context),
                };
                multiply_block(kernels, &block);
            }
        }
    }
}
