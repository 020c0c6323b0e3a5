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

/// Puts the keys and values of the rows and heads of `a` side by side when they fit the panel, with room for as many
/// `sums`; else they are read where they are.
static void pack(mr_attention_arguments *a, bool sums) {
    const mr_attention_shape *s = a->shape;
    const int64_t size = s->length * s->d, pairs = s->rows * s->kv_heads;
    if (pairs * size > MR_PANEL_FLOATS / (sums ? 4 : 2)) {
        a->keys = a->k, a->values = a->v;
        a->key_token = s->k_stride, a->value_token = s->v_stride;
        a->key_head = a->value_head = s->d;
        a->key_row = s->length * s->k_stride, a->value_row = s->length * s->v_stride;
        return;
    }
    a->packed = mr_context_panel(a->context);
    a->keys = a->packed, a->values = a->packed + pairs * size;
    a->key_token = a->value_token = s->d;
    a->key_head = a->value_head = size;
    a->key_row = a->value_row = s->kv_heads * size;
    if (sums) a->sums = a->packed + 2 * pairs * size;
    mr_parallel(a->context, pairs * a->key_tiles, MR_KERNELS(mr_attention_kernels, a->context)->pack, a);
}

static void forward(mr_attention_arguments *a) {
    pack(a, false);
    mr_parallel(a->context, a->shape->rows * a->shape->heads * a->query_tiles,
                MR_KERNELS(mr_attention_kernels, a->context)->forward, a);
}

static void backward(mr_attention_arguments *a) {
    const mr_attention_kernels *kernels = MR_KERNELS(mr_attention_kernels, a->context);
    const mr_attention_shape *s = a->shape;
    const int64_t wholes = s->rows * s->kv_heads, threads = mr_context_threads(a->context);
    const bool is_whole = s->d % 16 == 0 && (wholes % threads == 0 || wholes >= 4 * threads);
    pack(a, is_whole);
    mr_parallel(a->context, s->rows * a->query_tiles, kernels->delta, a);
    if (is_whole) {
        mr_parallel(a->context, wholes, kernels->backward_whole, a);
    } else {
        mr_parallel(a->context, s->rows * s->heads * a->query_tiles, kernels->backward_queries, a);
        mr_parallel(a->context, wholes * a->key_tiles, kernels->backward_keys, a);
    }
}

/// Calls `run` for parts that fit the panel: rows of tokens, or, when one has too many heads, heads of a row. Arrays that a
/// pass does not have are NULL.
static void in_parts(const mr_attention_arguments *whole, int64_t floats_a_pair, void (*run)(mr_attention_arguments *)) {
    const mr_attention_shape *s = whole->shape;
    const int64_t group = s->heads / s->kv_heads;
    int64_t pairs = MR_PANEL_FLOATS / floats_a_pair;
    if (pairs < 1) pairs = s->rows * s->kv_heads;
    const int64_t heads = pairs < s->kv_heads ? pairs : s->kv_heads;
    const int64_t rows = heads < s->kv_heads ? 1 : pairs / heads;
    for (int64_t row = 0; row < s->rows; row += rows)
        for (int64_t head = 0; head < s->kv_heads; head += heads) {
            mr_attention_shape shape = *s;
            shape.rows = s->rows - row < rows ? s->rows - row : rows;
            shape.kv_heads = s->kv_heads - head < heads ? s->kv_heads - head : heads;
            shape.heads = shape.kv_heads * group;
            const int64_t token = row * s->length, q_head = head * group;
            const int64_t at_q = token * s->q_stride + q_head * s->d, at_k = token * s->k_stride + head * s->d;
            const int64_t at_v = token * s->v_stride + head * s->d, at_out = token * s->out_stride + q_head * s->d;
            const int64_t at_sum = (row * s->heads + q_head) * s->length;
            mr_attention_arguments a = *whole;
            a.shape = &shape;
            a.first += token;
            a.q += at_q, a.k += at_k, a.v += at_v;
            if (a.out) a.out += at_out, a.log_sum_exp += at_sum;
            if (a.out_in) {
                a.out_in += at_out, a.dout += at_out;
                a.log_sum_exp_in += at_sum, a.delta += at_sum;
                a.dq += at_q, a.dk += at_k, a.dv += at_v;
            }
            run(&a);
        }
}

void mr_attention_forward(mr_context *context, const mr_attention_shape *shape, const float *q, const float *k,
                          const float *v, const int32_t *first, float *out, float *log_sum_exp) {
    const mr_attention_arguments a = {
        .context = context, .shape = shape, .q = q, .k = k, .v = v, .first = first, .out = out,
        .log_sum_exp = log_sum_exp, .query_tiles = tiles_of(shape->length, MR_ATTENTION_QUERIES),
        .key_tiles = tiles_of(shape->length, MR_ATTENTION_KEYS),
    };
    in_parts(&a, 2 * shape->length * shape->d, forward);
}

void mr_attention_backward(mr_context *context, const mr_attention_shape *shape, const float *q, const float *k,
                           const float *v, const int32_t *first, const float *out, const float *log_sum_exp,
                           const float *dout, float *delta, float *dq, float *dk, float *dv) {
    const mr_attention_arguments a = {
        .context = context, .shape = shape, .q = q, .k = k, .v = v, .first = first, .out_in = out,
        .log_sum_exp_in = log_sum_exp, .dout = dout, .delta = delta, .dq = dq, .dk = dk, .dv = dv,
        .query_tiles = tiles_of(shape->length, MR_ATTENTION_QUERIES),
        .key_tiles = tiles_of(shape->length, MR_ATTENTION_KEYS),
    };
    in_parts(&a, 4 * shape->length * shape->d, backward);
}

void mr_attention_decode(mr_context *context, int64_t count, int64_t heads, int64_t kv_heads, int64_t d, float scale,
                         const float *q, const float *k, const float *v, float *out) {
    mr_decode_arguments a = {
        .context = context, .count = count, .heads = heads, .kv_heads = kv_heads, .d = d, .scale = scale, .q = q,
        .k = k, .v = v, .out = out,
    };
    mr_parallel(context, heads, MR_KERNELS(mr_attention_kernels, context)->decode, &a);
}
