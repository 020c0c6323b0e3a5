// Cuts attention into tasks. The cut follows the shape alone, except that the backward pass may take one of two routes
// through the same sums: a row and key-value head as one task (each score once, 5 products) when that keeps every
// worker busy, else a pass over tiles of queries and one over blocks of keys (7 products, more tasks). Both take every
// sum in the same order, so the bits do not tell which one ran.
#include "dispatch.h"
#include "kernel_tables.h"
#include "workspace.h"

_Static_assert(
    MR_SCRATCH_FLOATS >= MR_ATTENTION_WIDTH * 4 * MR_ATTENTION_QUERIES + 2 * MR_ATTENTION_KEYS * MR_ATTENTION_QUERIES +
                             2 * MR_ATTENTION_KEYS * MR_ATTENTION_WIDTH,
    "the scratch of a worker must hold the panels of a backward tile");

static int64_t tiles_of(int64_t count, int64_t tile) { return (count + tile - 1) / tile; }

void mr_attention_forward(mr_context *context, const mr_attention_shape *shape, const float *q, const float *k,
                          const float *v, const int32_t *first, float *out, float *log_sum_exp) {
    mr_attention_arguments a = {
        .context = context, .shape = shape, .q = q, .k = k, .v = v, .first = first, .out = out,
        .log_sum_exp = log_sum_exp, .query_tiles = tiles_of(shape->length, MR_ATTENTION_QUERIES),
    };
    mr_task forward = MR_KERNELS(mr_attention_kernels, context)->forward;
    mr_parallel(context, shape->rows * shape->heads * a.query_tiles, forward, &a);
}

void mr_attention_backward(mr_context *context, const mr_attention_shape *shape, const float *q, const float *k,
                           const float *v, const int32_t *first, const float *out, const float *log_sum_exp,
                           const float *dout, float *delta, float *dq, float *dk, float *dv) {
    const mr_attention_kernels *kernels = MR_KERNELS(mr_attention_kernels, context);
    mr_attention_arguments a = {
        .context = context, .shape = shape, .q = q, .k = k, .v = v, .first = first, .out_in = out,
        .log_sum_exp_in = log_sum_exp, .dout = dout, .delta = delta, .dq = dq, .dk = dk, .dv = dv,
        .query_tiles = tiles_of(shape->length, MR_ATTENTION_QUERIES),
        .key_tiles = tiles_of(shape->length, MR_ATTENTION_KEYS),
    };
    mr_parallel(context, shape->rows * a.query_tiles, kernels->delta, &a);
    int64_t wholes = shape->rows * shape->kv_heads, threads = mr_context_threads(context);
    if (shape->d % 16 == 0 && (wholes % threads == 0 || wholes >= 4 * threads)) {
        mr_parallel(context, wholes, kernels->backward_whole, &a);
    } else {
        mr_parallel(context, shape->rows * shape->heads * a.query_tiles, kernels->backward_queries, &a);
        mr_parallel(context, wholes * a.key_tiles, kernels->backward_keys, &a);
    }
}

void mr_attention_decode(mr_context *context, int64_t count, int64_t heads, int64_t kv_heads, int64_t d, float scale,
                         const float *q, const float *k, const float *v, float *out) {
    mr_decode_arguments a = {
        .context = context, .count = count, .heads = heads, .kv_heads = kv_heads, .d = d, .scale = scale, .q = q,
        .k = k, .v = v, .out = out,
    };
    mr_parallel(context, heads, MR_KERNELS(mr_attention_kernels, context)->decode, &a);
}
