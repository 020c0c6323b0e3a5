// Passes over flat arrays, cut in blocks of a fixed size, so that no result depends on the number of threads.
#include "dispatch.h"
#include "optimizer.h"

#include <string.h>

static int64_t blocks_of(int64_t n) { return (n + MR_FLAT_BLOCK - 1) / MR_FLAT_BLOCK; }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

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

mr_magnitude mr_magnitude_of(mr_context *context, int64_t n, const float *x) {
    mr_magnitude magnitudes[MR_FLAT_BATCH], total = {0, 0};
    for (int64_t begin = 0; begin < n; begin += (int64_t)MR_FLAT_BATCH * MR_FLAT_BLOCK) {
        const int64_t count = smaller(n - begin, (int64_t)MR_FLAT_BATCH * MR_FLAT_BLOCK);
        mr_flat_arguments arguments = {.n = count, .x = x + begin, .magnitudes = magnitudes};
        mr_parallel(context, blocks_of(count), MR_KERNELS(mr_flat_kernels, context)->magnitude, &arguments);
        for (int64_t block = 0; block < blocks_of(count); block++) {
            total.squares = total.squares + magnitudes[block].squares;
            // One that is not a number is larger than all, and stays so.
            if (!(magnitudes[block].largest <= total.largest) && total.largest == total.largest)
                total.largest = magnitudes[block].largest;
        }
    }
    return total;
}

/// An update as it is, or in batches of blocks whose sums are added in order.
static void update(mr_context *context, mr_flat_arguments arguments, void (*task)(void *, int64_t, int),
                   mr_update_squares *squares) {
    if (squares == NULL) {
        mr_parallel(context, blocks_of(arguments.n), task, &arguments);
        return;
    }
    mr_update_squares sums[MR_FLAT_BATCH];
    const int64_t n = arguments.n;
    arguments.squares = sums;
    for (int64_t begin = 0; begin < n; begin += arguments.n) {
        arguments.n = smaller(n - begin, (int64_t)MR_FLAT_BATCH * MR_FLAT_BLOCK);
        mr_parallel(context, blocks_of(arguments.n), task, &arguments);
        for (int64_t block = 0; block < blocks_of(arguments.n); block++) {
            squares->update = squares->update + sums[block].update;
            squares->weight = squares->weight + sums[block].weight;
        }
        arguments.g += arguments.n, arguments.p += arguments.n;
        if (arguments.m != NULL) arguments.m += arguments.n;
        if (arguments.v != NULL) arguments.v += arguments.n;
    }
}

void mr_adamw(mr_context *context, int64_t n, mr_adamw_parameters parameters, const float *g, float *p, float *m,
              float *v, mr_update_squares *squares) {
    mr_flat_arguments arguments = {.n = n, .parameters = parameters, .g = g, .p = p, .m = m, .v = v};
    update(context, arguments, MR_KERNELS(mr_flat_kernels, context)->adamw, squares);
}

void mr_lion(mr_context *context, int64_t n, mr_lion_parameters parameters, const float *g, float *p, float *m,
             mr_update_squares *squares) {
    mr_flat_arguments arguments = {.n = n, .lion = parameters, .g = g, .p = p, .m = m};
    update(context, arguments, MR_KERNELS(mr_flat_kernels, context)->lion, squares);
}

void mr_sgd(mr_context *context, int64_t n, mr_sgd_parameters parameters, const float *g, float *p, float *m,
            mr_update_squares *squares) {
    mr_flat_arguments arguments = {.n = n, .sgd = parameters, .g = g, .p = p, .m = m};
    update(context, arguments, MR_KERNELS(mr_flat_kernels, context)->sgd, squares);
}

void mr_average(mr_context *context, int64_t n, mr_average_parameters parameters, const float *x, float *y, float *u) {
    mr_flat_arguments arguments = {.n = n, .average = parameters, .x = x, .y = y, .u = u};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->average, &arguments);
}

void mr_combine(mr_context *context, int64_t n, float a, const float *x, float b, float *y) {
    mr_flat_arguments arguments = {.n = n, .a = a, .b = b, .x = x, .y = y};
    mr_parallel(context, blocks_of(n), MR_KERNELS(mr_flat_kernels, context)->combine, &arguments);
}
