// Cuts normalization and biases into tasks: rows where rows are independent, columns where rows add up. The extent of a
// task is fixed (kernel_tables.h), so the bits do not depend on the number of threads.
#include "dispatch.h"
#include "kernel_tables.h"

static int64_t tiles_of(int64_t count, int64_t tile) { return (count + tile - 1) / tile; }

/// Columns before rows: the rows of a backward pass may overwrite what the columns read.
static void run_backward(mr_context *context, mr_task columns, mr_task rows, mr_norm_arguments *a) {
    mr_parallel(context, tiles_of(a->c, MR_COLUMNS_TILE), columns, a);
    mr_parallel(context, tiles_of(a->n, MR_ROWS_TILE), rows, a);
}

void mr_rmsnorm_forward(mr_context *context, int64_t n, int64_t c, const float *x, const float *w, float epsilon,
                        float *y, float *rstd) {
    mr_norm_arguments a = {
        .n = n, .heads = 1, .c = c, .x_stride = c, .y_stride = c, .x = x, .w = w, .epsilon = epsilon, .y = y, .rstd = rstd,
    };
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), MR_KERNELS(mr_row_kernels, context)->rmsnorm_forward, &a);
}

void mr_rmsnorm_backward(mr_context *context, int64_t n, int64_t c, int64_t period, const float *x, const float *w,
                         const float *rstd, const float *dy, float *dx, float *dw) {
    mr_norm_arguments a = {
        .n = n, .heads = 1, .c = c, .x_stride = c, .y_stride = c, .period = period > 0 ? period : n, .x = x, .w = w,
        .rstd = (float *)rstd, .dy = dy, .dx = dx, .dw = dw,
    };
    const mr_row_kernels *kernels = MR_KERNELS(mr_row_kernels, context);
    run_backward(context, kernels->rmsnorm_backward_columns, kernels->rmsnorm_backward_rows, &a);
}

void mr_head_norm_forward(mr_context *context, int64_t n, int64_t heads, int64_t d, float *x, int64_t stride,
                          const float *w, float epsilon, float *kept, int64_t kept_stride, float *rstd) {
    mr_norm_arguments a = {
        .n = n * heads, .heads = heads, .c = d, .x_stride = stride, .y_stride = stride, .x = x, .w = w,
        .epsilon = epsilon, .y = x, .kept = kept, .kept_stride = kept_stride, .rstd = rstd,
    };
    mr_parallel(context, tiles_of(a.n, MR_ROWS_TILE), MR_KERNELS(mr_row_kernels, context)->rmsnorm_forward, &a);
}

void mr_head_norm_backward(mr_context *context, int64_t n, int64_t heads, int64_t d, int64_t period, const float *x,
                           int64_t x_stride, const float *w, const float *rstd, float *dy, int64_t y_stride,
                           float *dw) {
    mr_norm_arguments a = {
        .n = n * heads, .heads = heads, .c = d, .x_stride = x_stride, .y_stride = y_stride,
        .period = (period > 0 ? period : n) * heads, .x = x, .w = w, .rstd = (float *)rstd, .dy = dy, .dx = dy,
        .overwrite = true, .dw = dw,
    };
    const mr_row_kernels *kernels = MR_KERNELS(mr_row_kernels, context);
    run_backward(context, kernels->rmsnorm_backward_columns, kernels->rmsnorm_backward_rows, &a);
}

void mr_layernorm_forward(mr_context *context, int64_t n, int64_t c, const float *x, const float *w, const float *b,
                          float epsilon, float *y, float *mean, float *rstd) {
    mr_norm_arguments a = {
        .n = n, .c = c, .x = x, .w = w, .b = b, .epsilon = epsilon, .y = y, .mean = mean, .rstd = rstd,
    };
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), MR_KERNELS(mr_row_kernels, context)->layernorm_forward, &a);
}

void mr_layernorm_backward(mr_context *context, int64_t n, int64_t c, int64_t period, const float *x, const float *w,
                           const float *mean, const float *rstd, const float *dy, float *dx, float *dw, float *db) {
    mr_norm_arguments a = {
        .n = n, .c = c, .period = period > 0 ? period : n, .x = x, .w = w, .mean = (float *)mean,
        .rstd = (float *)rstd, .dy = dy, .dx = dx, .dw = dw, .db = db,
    };
    const mr_row_kernels *kernels = MR_KERNELS(mr_row_kernels, context);
    run_backward(context, kernels->layernorm_backward_columns, kernels->layernorm_backward_rows, &a);
}

void mr_bias_backward(mr_context *context, int64_t n, int64_t c, int64_t period, const float *dy, float *db) {
    mr_bias_arguments a = {.n = n, .c = c, .period = period > 0 ? period : n, .dy = dy, .db = db};
    mr_parallel(context, tiles_of(c, MR_COLUMNS_TILE), MR_KERNELS(mr_row_kernels, context)->bias_backward, &a);
}
