// Cuts the row kernels into tasks: rows where rows are independent, columns where rows add up. The extent of a task is
// fixed (kernel_tables.h), so the bits do not depend on the number of threads.
#include <string.h>

#include "dispatch.h"
#include "kernel_tables.h"
#include "double_math.h"

static int64_t tiles_of(int64_t count, int64_t tile) { return (count + tile - 1) / tile; }

void mr_rope_table(double theta, int64_t positions, int64_t d, float *cosine, float *sine) {
    double log_theta = double_log(theta);
    for (int64_t i = 0; i < d / 2; i++) {
        double frequency = double_exp(-2.0 * (double)i / (double)d * log_theta);
        for (int64_t p = 0; p < positions; p++) {
            double s, c;
            double_sincos((double)p * frequency, &s, &c);
            cosine[p * (d / 2) + i] = (float)c;
            sine[p * (d / 2) + i] = (float)s;
        }
    }
}

void mr_rope_table_of(const double *frequency, double magnitude, int64_t positions, int64_t half, float *cosine,
                      float *sine) {
    for (int64_t i = 0; i < half; i++) {
        for (int64_t p = 0; p < positions; p++) {
            double s, c;
            double_sincos((double)p * frequency[i], &s, &c);
            cosine[p * half + i] = (float)(c * magnitude);
            sine[p * half + i] = (float)(s * magnitude);
        }
    }
}

void mr_rope(mr_context *context, int64_t n, int64_t heads, int64_t d, int64_t stride, float *x,
             const uint32_t *position, const float *cosine, const float *sine, bool inverse) {
    mr_rope_arguments a = {
        .n = n, .heads = heads, .d = d, .stride = stride, .x = x, .position = position, .cosine = cosine, .sine = sine,
        .inverse = inverse,
    };
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), MR_KERNELS(mr_row_kernels, context)->rope, &a);
}

void mr_swiglu_forward(mr_context *context, int64_t n, int64_t width, const float *gate_up, float *out) {
    mr_swiglu_arguments a = {.n = n, .width = width, .gate_up = gate_up, .out = out};
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), MR_KERNELS(mr_row_kernels, context)->swiglu_forward, &a);
}

void mr_swiglu_backward(mr_context *context, int64_t n, int64_t width, const float *gate_up, const float *dout,
                        float *d_gate_up) {
    mr_swiglu_arguments a = {.n = n, .width = width, .gate_up = gate_up, .dout = dout, .out = d_gate_up};
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), MR_KERNELS(mr_row_kernels, context)->swiglu_backward, &a);
}

static void embedding_forward(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_embedding_arguments *a = argument;
    for (int64_t row = task * MR_ROWS_TILE; row < a->n && row < (task + 1) * MR_ROWS_TILE; row++) {
        float *out = a->out + row * a->c;
        memcpy(out, a->in + (int64_t)a->ids[row] * a->c, (size_t)a->c * sizeof(float));
        if (!a->position_table) continue;
        const float *position = a->position_table + (int64_t)a->positions[row] * a->c;
        for (int64_t i = 0; i < a->c; i++) out[i] = out[i] + position[i];
    }
}

void mr_embedding_forward(mr_context *context, int64_t n, int64_t c, const float *table, const uint32_t *ids,
                          const float *position_table, const uint32_t *positions, float *out) {
    mr_embedding_arguments a = {
        .n = n, .c = c, .in = table, .ids = ids, .position_table = position_table, .positions = positions, .out = out,
    };
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), embedding_forward, &a);
}

void mr_embedding_backward(mr_context *context, int64_t n, int64_t c, const float *dout, const uint32_t *ids,
                           float *dtable) {
    mr_embedding_arguments a = {.n = n, .c = c, .in = dout, .ids = ids, .out = dtable};
    mr_parallel(context, tiles_of(c, MR_COLUMNS_TILE), MR_KERNELS(mr_row_kernels, context)->embedding_backward, &a);
}

static void zero_rows(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_embedding_arguments *a = argument;
    for (int64_t row = task * MR_ROWS_TILE; row < a->n && row < (task + 1) * MR_ROWS_TILE; row++)
        memset(a->out + (int64_t)a->ids[row] * a->c, 0, (size_t)a->c * sizeof(float));
}

void mr_zero_rows(mr_context *context, int64_t n, int64_t c, const uint32_t *ids, float *table) {
    mr_embedding_arguments a = {.n = n, .c = c, .ids = ids, .out = table};
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), zero_rows, &a);
}

static void add_rows(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_embedding_arguments *a = argument;
    for (int64_t row = task * MR_ROWS_TILE; row < a->n && row < (task + 1) * MR_ROWS_TILE; row++) {
        const int64_t at = (int64_t)a->ids[row] * a->c;
        for (int64_t i = at; i < at + a->c; i++) a->out[i] = a->out[i] + a->in[i];
    }
}

void mr_add_rows(mr_context *context, int64_t n, int64_t c, const uint32_t *ids, const float *x, float *table) {
    mr_embedding_arguments a = {.n = n, .c = c, .in = x, .ids = ids, .out = table};
    mr_parallel(context, tiles_of(n, MR_ROWS_TILE), add_rows, &a);
}

void mr_cross_entropy(mr_context *context, int64_t n, int64_t v, int64_t stride, float *logits,
                      const uint32_t *targets, const float *weight, float *loss, bool gradient) {
    mr_cross_entropy_arguments a = {
        .n = n, .v = v, .stride = stride, .logits = logits, .targets = targets, .weight = weight, .loss = loss,
        .gradient = gradient,
    };
    mr_parallel(context, tiles_of(n, MR_LOSS_ROWS_TILE), MR_KERNELS(mr_row_kernels, context)->cross_entropy, &a);
}

void mr_exp(mr_context *context, int64_t n, const float *x, float *y) {
    mr_exp_arguments a = {.n = n, .x = x, .y = y};
    mr_parallel(context, tiles_of(n, MR_FLAT_TILE), MR_KERNELS(mr_row_kernels, context)->exp, &a);
}
