// Cuts a matrix product into blocks of k (the order of summation, fixed by the contract), a packed operand that all
// workers share, and tasks. None of the cuts along m and n touches a sum, so they may follow the number of threads.
#include "dispatch.h"
#include "gemm.h"

#include <string.h>

enum { OWN_FLOATS = 65536 };  // packed own operand of a task: a quarter of a megabyte, so it stays in L2

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

/// Cuts C into tasks: blocks of the own operand that fit a worker's scratch, and the shared operand in parts when there
/// are too few of those to go round.
static int64_t plan_tasks(const mr_gemm_kernels *kernels, mr_gemm_product *product) {
    const int64_t threads = mr_context_threads(product->context);
    const int64_t own_tile = product->share_a ? kernels->tile_n : kernels->tile_m;
    const int64_t shared_tile = product->share_a ? kernels->tile_m : kernels->tile_n;
    const int64_t own_tiles = ceil_div(product->share_a ? product->n : product->m, own_tile);
    const int64_t most = min_of(OWN_FLOATS / MR_GEMM_KC / own_tile, own_tiles);
    const int64_t wanted = threads == 1 ? 1 : 4 * threads;
    int64_t tasks = ceil_div(own_tiles, most);
    if (tasks < wanted) tasks = min_of(wanted, ceil_div(own_tiles, min_of(ceil_div(48, own_tile), most)));
    // The same number of tasks for each thread, as far as it goes.
    if (tasks > threads) tasks = min_of(ceil_div(tasks, threads) * threads, own_tiles);
    product->own_size = ceil_div(own_tiles, tasks) * own_tile;
    product->own_tasks = ceil_div(own_tiles * own_tile, product->own_size);
    const int64_t parts =
        product->own_tasks >= wanted ? 1 : min_of(ceil_div(wanted, product->own_tasks), ceil_div(product->strips, 4));
    product->part_size = ceil_div(product->strips, parts) * shared_tile;
    return product->own_tasks * ceil_div(product->strips * shared_tile, product->part_size);
}

void mr_gemm(mr_context *context, bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a,
             int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc, bool accumulate, int64_t period) {
    if (m <= 0 || n <= 0) return;
    if (k <= 0) {
        if (!accumulate)
            for (int64_t i = 0; i < m; i++) memset(c + i * ldc, 0, (size_t)n * sizeof(float));
        return;
    }
    const mr_gemm_kernels *kernels = MR_KERNELS(mr_gemm_kernels, context);
    mr_gemm_product product = {
        .context = context,
        .transpose_a = transpose_a,
        .transpose_b = transpose_b,
        .accumulate = accumulate,
        .m = m,
        .n = n,
        .k = k,
        .period = period <= 0 || period > k ? k : period,
        .a = a,
        .b = b,
        .lda = lda,
        .ldb = ldb,
        .c = c,
        .ldc = ldc,
        .share_a = m < n,
        .shared = mr_context_panel(context),
    };
    const int64_t shared_count = product.share_a ? m : n;
    const int64_t tile = product.share_a ? kernels->tile_m : kernels->tile_n;
    const int64_t most = MR_PANEL_FLOATS / MR_GEMM_KC / tile * tile;
    const int64_t blocks = ceil_div(product.period, MR_GEMM_KC) * (k / product.period) +
                           ceil_div(k % product.period, MR_GEMM_KC);
    for (int64_t begin = 0; begin < shared_count; begin += most) {
        product.shared_begin = begin;
        product.shared_end = min_of(begin + most, shared_count);
        product.strips = ceil_div(product.shared_end - begin, tile);
        const int64_t tasks = plan_tasks(kernels, &product);
        for (int64_t block = 0; block < blocks; block = product.last_block) {
            // As many blocks of k as the panel holds.
            product.first_block = block;
            product.first_k = mr_gemm_block_at(&product, block).k;
            int64_t last = block;
            for (; last < blocks; last++) {
                const mr_gemm_block next = mr_gemm_block_at(&product, last);
                if ((next.k + next.kc - product.first_k) * product.strips * tile > MR_PANEL_FLOATS) break;
            }
            product.last_block = last;
            const int64_t packs = ceil_div(product.strips, MR_GEMM_PACK_STRIPS) * (last - block);
            mr_parallel(context, packs, kernels->pack_shared, &product);
            mr_parallel(context, tasks, kernels->multiply, &product);
        }
    }
}
