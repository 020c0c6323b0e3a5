// What stands between the portable half of a kernel (rows.c, attention.c: it cuts the work in tasks) and its bodies,
// compiled once for each instruction set: the arguments of a task and, per set, the table of task functions. A task's
// extent is fixed by the shape alone, never by the number of threads, so results do not depend on it.
#ifndef MILLRACE_KERNEL_TABLES_H
#define MILLRACE_KERNEL_TABLES_H

#include "include/CKernels.h"

typedef void (*mr_task)(void *argument, int64_t task, int worker);

// MARK: rows

/// Rows a task of the row kernels takes; floats a task of the elementwise ones; columns a task of the column sums.
enum { MR_ROWS_TILE = 16, MR_FLAT_TILE = 4096, MR_COLUMNS_TILE = 64, MR_LOSS_ROWS_TILE = 4 };

typedef struct {
    int64_t n, heads, c, x_stride, y_stride, kept_stride, period;
    const float *x, *w, *b, *dy;
    float epsilon;
    bool overwrite;
    float *y, *kept, *mean, *rstd, *dx, *dw, *db;
} mr_norm_arguments;

typedef struct {
    int64_t n, c, period;
    const float *dy;
    float *db;
} mr_bias_arguments;

typedef struct {
    int64_t n, heads, d, stride;
    float *x;
    const uint32_t *position;
    const float *cosine, *sine;
    bool inverse;
} mr_rope_arguments;

typedef struct {
    int64_t n, width;
    const float *gate_up, *dout;
    float *out;
} mr_swiglu_arguments;

typedef struct {
    int64_t n, c;
    const float *in, *position_table;
    const uint32_t *ids, *positions;
    float *out;
} mr_embedding_arguments;

typedef struct {
    int64_t n, v, stride;
    float *logits;
    const uint32_t *targets;
    const float *weight;
    float *loss;
    bool gradient;
} mr_cross_entropy_arguments;

typedef struct {
    int64_t n;
    const float *x;
    float *y;
} mr_exp_arguments;

typedef struct {
    mr_task rmsnorm_forward, rmsnorm_backward_rows, rmsnorm_backward_columns, layernorm_forward,
        layernorm_backward_rows, layernorm_backward_columns, bias_backward, rope, swiglu_forward,
        swiglu_backward, embedding_backward, cross_entropy, exp;
} mr_row_kernels;

extern const mr_row_kernels mr_row_kernels_scalar, mr_row_kernels_avx2, mr_row_kernels_avx512, mr_row_kernels_neon;

// MARK: attention

/// Queries and keys of one tile. Both are part of the recipe: the softmax is rescaled once per block of keys.
enum { MR_ATTENTION_QUERIES = 32, MR_ATTENTION_KEYS = 64, MR_ATTENTION_WIDTH = 256 };

typedef struct {
    mr_context *context;
    const mr_attention_shape *shape;
    const float *q, *k, *v, *out_in, *log_sum_exp_in, *dout;
    const int32_t *first;
    float *out, *log_sum_exp, *delta, *dq, *dk, *dv;
    int64_t query_tiles, key_tiles;
    // Where keys and values are read: the heads of a row of tokens, one after the other, tokens side by side; or, when that
    // is too much for the panel, as the caller has them. Floats from a token, a head, a row to the next.
    const float *keys, *values;
    int64_t key_token, value_token, key_head, value_head, key_row, value_row;
    float *packed;  // of keys, then values; NULL: nothing is packed
    float *sums;    // for each row and head the sums of dk, then of dv, likewise; NULL: they are taken in place
} mr_attention_arguments;

typedef struct {
    mr_context *context;
    int64_t count, heads, kv_heads, d;
    float scale;
    const float *q, *k, *v;
    float *out;
} mr_decode_arguments;

typedef struct {
    mr_task pack, forward, delta, backward_whole, backward_queries, backward_keys, decode;
} mr_attention_kernels;

extern const mr_attention_kernels mr_attention_kernels_scalar, mr_attention_kernels_avx2, mr_attention_kernels_avx512,
    mr_attention_kernels_neon;

#endif
