// Cuts a matrix product into blocks of k (the order of summation, fixed by the contract), runs of blocks, a packed operand
// that all workers share, and tasks. No cut but that of the blocks touches a sum, so the others may follow the shape and the
// number of threads.
#include "dispatch.h"
#include "gemm.h"

#include <string.h>

enum { RUN = 1024 };            // words along k of a run
enum { GROUP_FLOATS = 24576 };  // packed own operand of a group of tiles: it and what is fetched of the next stay in L2
enum { OWN_FLOATS = 131072 };   // packed own operand of a task
enum { WIDEST_TILE = 32 };
_Static_assert(GROUP_FLOATS <= MR_SCRATCH_FLOATS && RUN * WIDEST_TILE <= MR_SCRATCH_FLOATS,
               "a worker's scratch holds a group of tiles, and a tile of any run");

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

/// Takes the blocks of k that follow the run: they begin at every multiple of the period and every MR_GEMM_KC after such a
/// beginning.
static void next_run(mr_gemm_product *p, const mr_gemm_kernels *kernels) {
    const int64_t k = p->of.k, multiple = p->of.precision == MR_BF16 ? 2 : 1;
    p->first_k += p->length;
    p->is_first = p->first_k == 0;
    p->length = p->depth = p->blocks = 0;
    for (int64_t at = p->first_k; at < k && p->blocks < MR_GEMM_BLOCKS;) {
        const int64_t end = min_of(k, (at / p->of.period + 1) * p->of.period), kc = min_of(end - at, MR_GEMM_KC);
        const int64_t steps = ceil_div(kc, multiple) * multiple / kernels->numbers;
        const int64_t words = mr_gemm_runs_along_k(&p->of, true) ? (p->blocks + 1) * p->pitch : p->depth + steps;
        if (p->blocks > 0 && words > RUN) break;
        p->kc[p->blocks] = (int32_t)kc;
        p->k_at[p->blocks] = (int32_t)p->length;
        p->steps[p->blocks] = (int32_t)steps;
        p->at[p->blocks++] = (int32_t)p->depth;
        p->length += kc;
        p->depth += steps;
        at += kc;
    }
    p->is_last = p->first_k + p->length == k;
}

/// Cuts C into tasks: a few groups of tiles of the own operand each, and the shared operand in parts when there are too few of
/// those to go round. Returns their number.
static int64_t plan_tasks(mr_gemm_product *p, int64_t own_tile) {
    p->group = max_of(GROUP_FLOATS / mr_gemm_strip(p, !p->share_a, own_tile), 1);
    p->own_most = max_of(OWN_FLOATS / mr_gemm_strip(p, !p->share_a, own_tile), p->group);
    p->own_tasks = 0;
    for (int64_t end = 0; end < p->own_tiles; p->own_tasks++) end = mr_gemm_own_end(p, end);
    const int64_t threads = mr_context_threads(p->context), wanted = threads == 1 ? 1 : 4 * threads;
    const int64_t parts = p->own_tasks >= wanted ? 1 : min_of(ceil_div(wanted, p->own_tasks), ceil_div(p->strips, 4));
    p->part_strips = ceil_div(p->strips, parts);
    return p->own_tasks * ceil_div(p->strips, p->part_strips);
}

static const mr_gemm_kernels *bf16_kernels(mr_context *context) {
#if defined(__x86_64__)
    if (mr_context_isa(context) == MR_ISA_AVX512_BF16) return &mr_bf16_kernels_avx512bf16;
#endif
    return MR_KERNELS(mr_bf16_kernels, context);
}

/// C of a product of nothing.
static void finish_empty(const mr_product *of, const mr_gemm_kernels *kernels) {
    for (int64_t i = 0; i < of->m; i++)
        for (int64_t j = 0; j < of->n; j++) {
            const float start = of->base ? of->base[i * of->ldbase + j] : 0.0f;
            of->c[i * of->ldc + j] = of->bias ? start + of->bias[j] : start;
        }
    if (of->activation != MR_NO_ACTIVATION) kernels->activate(of, 0, 0, of->m, of->n);
}

/// Cᵀ = Bᵀ · Aᵀ where C has few columns, which would leave most lanes of a tile empty: what rows of a tile compute, lanes
/// compute then. Each sum is the same, in the same order.
static void flip_where_thin(mr_gemm_product *p, const mr_gemm_kernels *kernels) {
    const mr_product of = p->of;
    if (of.n > kernels->tile_n / 2 || of.m < kernels->tile_n || of.bias != NULL || of.activation != MR_NO_ACTIVATION) return;
    p->is_flipped = true;
    p->of.transpose_a = !of.transpose_b, p->of.transpose_b = !of.transpose_a;
    p->of.m = of.n, p->of.n = of.m;
    p->of.a = of.b, p->of.lda = of.ldb;
    p->of.b = of.a, p->of.ldb = of.lda;
}

void mr_gemm(mr_context *context, const mr_product *of) {
    if (of->m <= 0 || of->n <= 0) return;
    const mr_gemm_kernels *kernels =
        of->precision == MR_BF16 ? bf16_kernels(context) : MR_KERNELS(mr_gemm_kernels, context);
    if (of->k <= 0) {
        finish_empty(of, kernels);
        return;
    }
    mr_gemm_product p = {.context = context, .of = *of, .shared = mr_context_panel(context)};
    flip_where_thin(&p, kernels);
    p.pitch = MR_GEMM_KC / kernels->numbers + MR_GEMM_PITCH_MORE;
    p.share_a = p.of.m < p.of.n;
    if (p.of.period <= 0 || p.of.period > of->k) p.of.period = of->k;
    const int64_t own_count = p.share_a ? p.of.n : p.of.m, own_tile = p.share_a ? kernels->tile_n : kernels->tile_m;
    const int64_t shared_count = p.share_a ? p.of.m : p.of.n, tile = p.share_a ? kernels->tile_m : kernels->tile_n;
    p.own_tiles = ceil_div(own_count, own_tile);
    const int64_t all_strips = ceil_div(shared_count, tile);
    // Strips that the panel holds, in equal parts.
    const int64_t strips = ceil_div(all_strips, ceil_div(all_strips, MR_PANEL_FLOATS / RUN / tile));
    for (int64_t strip = 0; strip < all_strips; strip += strips) {
        p.shared_begin = strip * tile;
        p.shared_end = min_of(p.shared_begin + strips * tile, shared_count);
        p.strips = ceil_div(p.shared_end - p.shared_begin, tile);
        p.first_k = p.length = 0;
        do {
            next_run(&p, kernels);
            const int64_t tasks = plan_tasks(&p, own_tile);
            mr_parallel(context, mr_gemm_pack_tasks(&p), kernels->pack_shared, &p);
            mr_parallel(context, tasks, kernels->multiply, &p);
        } while (!p.is_last);
    }
}
