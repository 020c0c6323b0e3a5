// Passes over flat arrays, cut in blocks of a fixed size, so that no result depends on the number of threads.
#include "dispatch.h"
#include "optimizer.h"

#include <string.h>

static int64_t blocks_of(int64_t n) { return (n + MR_FLAT_BLOCK - 1) / MR_FLAT_BLOCK; }

static void zero_block(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    const int64_t begin = task * MR_FLAT_BLOCK;
    memset(a->y + begin, 0, (size_t)(a->n - begin < MR_FLAT_BLOCK ? a->n - begin : MR_FLAT_BLOCK) * sizeof(float));
}

void mr_zero(mr_context *context, int64_t n, float *y) {
    mr_flat_arguments arguments = {.n = n, .y = y};
    mr_parallel(context, blocks_of(n), zero_block, &arguments);
}

void mr_add(mr_context *context, int64_t n, const float *x, float *y) {
    mr_flat_arguments arguments = {.n = n, .x = x, .y = y};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->add, &arguments);
}

double mr_sum_squares(mr_context *context, int64_t n, const float *x) {
    double sums[MR_FLAT_BATCH];
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += (int64_t)MR_FLAT_BATCH * MR_FLAT_BLOCK) {
        int64_t count = n - begin < (int64_t)MR_FLAT_BATCH * MR_FLAT_BLOCK ? n - begin
                                                                          : (int64_t)MR_FLAT_BATCH * MR_FLAT_BLOCK;
        mr_flat_arguments arguments = {.n = count, .x = x + begin, .sums = sums};
        mr_parallel(context, blocks_of(count), MR_KERNELS(mr_flat_kernels, context)->sum_squares, &arguments);
        for (int64_t block = 0; block < blocks_of(count); block++) total = total + sums[block];
    }
    return total;
}

void mr_adamw(mr_context *context, int64_t n, mr_adamw_parameters parameters, const float *g, float *p, float *m,
              float *v) {
    mr_flat_arguments arguments = {.n = n, .parameters = parameters, .g = g, .p = p, .m = m, .v = v};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->adamw, &arguments);
}

void mr_lion(mr_context *context, int64_t n, mr_lion_parameters parameters, const float *g, float *p, float *m) {
    mr_flat_arguments arguments = {.n = n, .lion = parameters, .g = g, .p = p, .m = m};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->lion, &arguments);
}

void mr_sgd(mr_context *context, int64_t n, mr_sgd_parameters parameters, const float *g, float *p, float *m) {
    mr_flat_arguments arguments = {.n = n, .sgd = parameters, .g = g, .p = p, .m = m};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->sgd, &arguments);
}

void mr_average(mr_context *context, int64_t n, mr_average_parameters parameters, const float *x, float *y, float *u) {
    mr_flat_arguments arguments = {.n = n, .average = parameters, .x = x, .y = y, .u = u};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->average, &arguments);
}

void mr_combine(mr_context *context, int64_t n, float a, const float *x, float b, float *y) {
    mr_flat_arguments arguments = {.n = n, .a = a, .b = b, .x = x, .y = y};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->combine, &arguments);
}
