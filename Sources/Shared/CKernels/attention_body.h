// Causal attention inside documents, written once for every instruction set (see vector.h). Vector lanes run across
// queries (scores, softmax, output, dq) or across the head's width (dk, dv), so no sum is ever split between lanes:
//   s(key)  = Σ_d fma(k[key][d], scale·q[d]) in order of d; -inf where masked
//   forward = online softmax, rescaled once for each block of 64 keys (blocks begin at multiples of 64 in the row);
//             the sum of weights and the output take their keys in order
//   p       = exp(s − log_sum_exp);  ds = p · (dp − delta) · scale
//   dq      = Σ over keys in order;  dk, dv = Σ over the heads of the group, then queries, in order
// A masked pair adds an exact zero, so it does not matter which blocks are skipped: only those with no pair at all are.
// Work is cut in tiles of 32 queries and blocks of 64 keys.

enum { Q = MR_ATTENTION_QUERIES, K = MR_ATTENTION_KEYS };

#if defined(MR_ISA_IS_AVX512)
enum { TILE_ROWS = 8, TILE_VECTORS = 2 };  // 16 of 32 registers accumulate
#elif defined(MR_ISA_IS_SCALAR)
enum { TILE_ROWS = 4, TILE_VECTORS = 1 };
#else
enum { TILE_ROWS = 6, TILE_VECTORS = 1 };  // a vector is 2 of 16 (AVX2) or 4 of 32 (NEON) registers
#endif

INLINE int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t rounded_up_16(int64_t x) { return (x + 15) / 16 * 16; }

// MARK: c (rows, lanes) = or += a (rows, depth) · b (depth, lanes), each output one chain of fma in order of depth

INLINE void product_tile(const int rows, const int vectors, int64_t depth, const float *a, int64_t a_row,
                         int64_t a_step, const float *b, int64_t b_step, float *c, int64_t c_row, bool accumulate) {
    f16 sum[TILE_ROWS][TILE_VECTORS];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) sum[r][v] = accumulate ? load16(c + r * c_row + 16 * v) : set16(0.0f);
#pragma clang loop unroll(disable)
    for (int64_t k = 0; k < depth; k++) {
        f16 lanes[TILE_VECTORS];
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) lanes[v] = load16(b + k * b_step + 16 * v);
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; r++) {
            f16 factor = set16(a[r * a_row + k * a_step]);
#pragma clang loop unroll(full)
            for (int v = 0; v < vectors; v++) sum[r][v] = fma16(factor, lanes[v], sum[r][v]);
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) store16(c + r * c_row + 16 * v, sum[r][v]);
}

INLINE void product_lanes(const int vectors, int64_t rows, int64_t depth, const float *a, int64_t a_row, int64_t a_step,
                          const float *b, int64_t b_step, float *c, int64_t c_row, bool accumulate) {
    int64_t r = 0;
    for (; r + TILE_ROWS <= rows; r += TILE_ROWS)
        product_tile(TILE_ROWS, vectors, depth, a + r * a_row, a_row, a_step, b, b_step, c + r * c_row, c_row,
                     accumulate);
    if (TILE_ROWS > 4 && r + 4 <= rows) {
        product_tile(4, vectors, depth, a + r * a_row, a_row, a_step, b, b_step, c + r * c_row, c_row, accumulate);
        r += 4;
    }
    if (r + 2 <= rows) {
        product_tile(2, vectors, depth, a + r * a_row, a_row, a_step, b, b_step, c + r * c_row, c_row, accumulate);
        r += 2;
    }
    if (r < rows)
        product_tile(1, vectors, depth, a + r * a_row, a_row, a_step, b, b_step, c + r * c_row, c_row, accumulate);
}

INLINE void product(int64_t rows, int64_t lanes, int64_t depth, const float *a, int64_t a_row, int64_t a_step,
                    const float *b, int64_t b_step, float *c, int64_t c_row, bool accumulate) {
    int64_t lane = 0;
    for (; lane + 16 * TILE_VECTORS <= lanes; lane += 16 * TILE_VECTORS)
        product_lanes(TILE_VECTORS, rows, depth, a, a_row, a_step, b + lane, b_step, c + lane, c_row, accumulate);
    if (TILE_VECTORS > 1 && lane < lanes)
        product_lanes(1, rows, depth, a, a_row, a_step, b + lane, b_step, c + lane, c_row, accumulate);
}

/// a[row][depth], depth contiguous.
static __attribute__((noinline)) void NAME(product_of_rows)(int64_t rows, int64_t lanes, int64_t depth, const float *a,
                                                            int64_t a_row, const float *b, int64_t b_step, float *c,
                                                            int64_t c_row, bool accumulate) {
    product(rows, lanes, depth, a, a_row, 1, b, b_step, c, c_row, accumulate);
}

/// a[depth][row], row contiguous.
static __attribute__((noinline)) void NAME(product_of_columns)(int64_t rows, int64_t lanes, int64_t depth,
                                                               const float *a, int64_t a_step, const float *b,
                                                               int64_t b_step, float *c, int64_t c_row,
                                                               bool accumulate) {
    product(rows, lanes, depth, a, 1, a_step, b, b_step, c, c_row, accumulate);
}

// MARK: heads and vectors of lanes

/// transposed[d][lane] (`lanes` apart) = scale · x[lane][d]; lanes from `count` up to a multiple of 16 are 0, and so
/// are the rows between d and its multiple of 16. `rows`, unless NULL, takes x itself, rows padded to that multiple.
static __attribute__((noinline)) void NAME(pack)(const float *x, int64_t stride, int64_t count, int64_t lanes,
                                                 int64_t d, float scale, float *transposed, float *rows) {
    int64_t padded = rounded_up_16(d);
    for (int64_t lane = 0; lane < lanes; lane += 16)
        for (int64_t i = 0; i < d; i += 16) {
            f16 r[16];
            for (int j = 0; j < 16; j++)
                r[j] = lane + j < count ? load_row(x + (lane + j) * stride + i, d - i) : set16(0.0f);
            if (rows)
                for (int j = 0; j < 16; j++) store16(rows + (lane + j) * padded + i, r[j]);
            transpose16(r);
            for (int j = 0; j < 16; j++) store16(transposed + (i + j) * lanes + lane, r[j] * set16(scale));
        }
}

/// x[lane][d] = transposed[d][lane] · factor[lane] for `count` lanes.
static __attribute__((noinline)) void NAME(unpack)(const float *transposed, const float *factor, int64_t count,
                                                   int64_t d, float *x, int64_t stride) {
    for (int64_t lane = 0; lane < count; lane += 16)
        for (int64_t i = 0; i < d; i += 16) {
            f16 r[16];
            for (int j = 0; j < 16; j++) {
                r[j] = load16(transposed + (i + j) * Q + lane);
                if (factor) r[j] = r[j] * load16(factor + lane);
            }
            transpose16(r);
            for (int j = 0; j < 16 && lane + j < count; j++) store_row(x + (lane + j) * stride + i, r[j], d - i);
        }
}

// MARK: a tile of queries and its mask

typedef struct {
    int64_t begin, count;        // queries begin ..< begin + count of a row of tokens
    int64_t lowest, highest;     // the smallest and largest first key among them
    int32_t first[MR_ATTENTION_QUERIES], index[MR_ATTENTION_QUERIES];
} NAME(query_tile);
#define QUERY_TILE NAME(query_tile)

INLINE QUERY_TILE query_tile_at(const mr_attention_shape *shape, const int32_t *first, int64_t tile) {
    QUERY_TILE t;
    t.begin = tile * Q;
    t.count = smaller_of(Q, shape->length - t.begin);
    t.lowest = shape->length;
    t.highest = 0;
    for (int i = 0; i < Q; i++) {
        t.index[i] = (int32_t)t.begin + i;
        t.first[i] = i < t.count ? first[t.begin + i] : INT32_MAX;  // a lane beyond the row sees no key
        if (i < t.count) {
            t.lowest = smaller_of(t.lowest, t.first[i]);
            t.highest = larger_of(t.highest, t.first[i]);
        }
    }
    return t;
}

/// The keys that the tile sees in the block from `block`: low ..< high.
INLINE int64_t low_key(const QUERY_TILE *t, int64_t block) { return larger_of(block, t->lowest); }
INLINE int64_t high_key(const QUERY_TILE *t, int64_t block) { return smaller_of(block + K, t->begin + t->count); }
INLINE bool needs_mask(const QUERY_TILE *t, int64_t low, int64_t high) {
    return t->count < Q || high - 1 > t->begin || low < t->highest;
}
/// All ones where query lane `lane` + i may see the key.
INLINE i16 visible16(const QUERY_TILE *t, int64_t lane, int64_t key) {
    i16 first, index, k = (i16){} + (int32_t)key;
    memcpy(&first, t->first + lane, sizeof first);
    memcpy(&index, t->index + lane, sizeof index);
    return (first <= k) & (index >= k);
}

// MARK: packing: rows of keys that are far apart meet in the same sets of a cache

/// A block of keys and values of one row and key-value head.
static void NAME(pack_keys)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_attention_arguments *a = argument;
    const mr_attention_shape *s = a->shape;
    const int64_t d = s->d, pair = task / a->key_tiles, row = pair / s->kv_heads, kv_head = pair % s->kv_heads;
    const int64_t pairs = s->rows * s->kv_heads, begin = task % a->key_tiles * K;
    for (int64_t i = begin; i < smaller_of(begin + K, s->length); i++) {
        const int64_t token = row * s->length + i, at = (pair * s->length + i) * d;
        memcpy(a->packed + at, a->k + token * s->k_stride + kv_head * d, (size_t)d * sizeof(float));
        memcpy(a->packed + pairs * s->length * d + at, a->v + token * s->v_stride + kv_head * d,
               (size_t)d * sizeof(float));
    }
}

// MARK: forward

static void NAME(forward)(void *argument, int64_t task, int worker) {
    const mr_attention_arguments *a = argument;
    const mr_attention_shape *s = a->shape;
    int64_t d = s->d, padded = rounded_up_16(d);
    int64_t tile_index = a->query_tiles - 1 - task % a->query_tiles;  // the longest first
    int64_t head = task / a->query_tiles % s->heads, row = task / a->query_tiles / s->heads;
    int64_t token = row * s->length, kv_head = head / (s->heads / s->kv_heads);
    const float *k = a->keys + row * a->key_row + kv_head * a->key_head;
    const float *v = a->values + row * a->value_row + kv_head * a->value_head;

    float *queries = mr_context_scratch(a->context, worker);
    float *output = queries + padded * Q, *scores = output + padded * Q;
    float largest[MR_ATTENTION_QUERIES], total[MR_ATTENTION_QUERIES];

    QUERY_TILE t = query_tile_at(s, a->first + token, tile_index);
    const float *q = a->q + (token + t.begin) * s->q_stride + head * d;
    NAME(pack)(q, s->q_stride, t.count, Q, d, s->scale, queries, NULL);
    for (int i = 0; i < Q; i++) {
        largest[i] = -FLT_MAX;
        total[i] = 0.0f;
    }
    bool begun = false;
    for (int64_t block = t.lowest / K * K; block < t.begin + t.count; block += K) {
        int64_t low = low_key(&t, block), high = high_key(&t, block);
        NAME(product_of_rows)(high - low, Q, d, k + low * a->key_token, a->key_token, queries, Q, scores, Q, false);
        bool masked = needs_mask(&t, low, high);
        for (int64_t lane = 0; lane < Q; lane += 16) {
            f16 before = load16(largest + lane), now = before;
            if (masked)
                for (int64_t key = low; key < high; key++) {
                    float *p = scores + (key - low) * Q + lane;
                    store16(p, select16(visible16(&t, lane, key), load16(p), set16(-INFINITY)));
                }
            for (int64_t key = low; key < high; key++) now = larger16(load16(scores + (key - low) * Q + lane), now);
            f16 correction = exp16(before - now), sum = load16(total + lane) * correction;
            for (int64_t key = low; key < high; key++) {
                float *p = scores + (key - low) * Q + lane;
                f16 e = exp16(load16(p) - now);
                store16(p, e);
                sum = sum + e;
            }
            store16(largest + lane, now);
            store16(total + lane, sum);
            if (begun)
                for (int64_t i = 0; i < d; i++) {
                    float *o = output + i * Q + lane;
                    store16(o, load16(o) * correction);
                }
        }
        NAME(product_of_columns)(d, Q, high - low, v + low * a->value_token, a->value_token, scores, Q, output, Q, begun);
        begun = true;
    }
    float lse[MR_ATTENTION_QUERIES];
    for (int64_t lane = 0; lane < Q; lane += 16) {
        f16 sum = load16(total + lane);
        store16(lse + lane, load16(largest + lane) + log16(sum));
        store16(total + lane, set16(1.0f) / sum);
    }
    memcpy(a->log_sum_exp + (row * s->heads + head) * s->length + t.begin, lse, (size_t)t.count * sizeof(float));
    NAME(unpack)(output, total, t.count, d, a->out + (token + t.begin) * s->out_stride + head * d, s->out_stride);
}

// MARK: backward

/// delta[row][head][token] = Σ_d dout · out: 16 lanes, then the tree.
static void NAME(delta)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_attention_arguments *a = argument;
    const mr_attention_shape *s = a->shape;
    int64_t row = task / a->query_tiles, begin = task % a->query_tiles * Q;
    for (int64_t head = 0; head < s->heads; head++)
        for (int64_t i = begin; i < smaller_of(begin + Q, s->length); i++) {
            int64_t at = (row * s->length + i) * s->out_stride + head * s->d;
            f16 sum = set16(0.0f);
            for (int64_t j = 0; j < s->d; j += 16)
                sum = fma16(load_row(a->dout + at + j, s->d - j), load_row(a->out_in + at + j, s->d - j), sum);
            a->delta[(row * s->heads + head) * s->length + i] = sum16(sum);
        }
}

/// Panels of one tile of queries, in a worker's scratch.
typedef struct {
    QUERY_TILE tile;
    float *queries, *query_rows, *douts, *dout_rows;  // (d, Q) scaled, (Q, d); the same of dout
    float *p, *ds;                                    // (K, Q)
    float lse[MR_ATTENTION_QUERIES], delta[MR_ATTENTION_QUERIES];
} NAME(backward_tile);
#define BACKWARD_TILE NAME(backward_tile)

/// Lays the panels out and returns the scratch behind them.
static float *NAME(plan_tile)(BACKWARD_TILE *b, float *scratch, int64_t padded) {
    b->queries = scratch;
    b->query_rows = b->queries + padded * Q;
    b->douts = b->query_rows + padded * Q;
    b->dout_rows = b->douts + padded * Q;
    b->p = b->dout_rows + padded * Q;
    b->ds = b->p + K * Q;
    return b->ds + K * Q;
}

static void NAME(fill_tile)(BACKWARD_TILE *b, const mr_attention_arguments *a, int64_t row, int64_t head, bool rows) {
    const mr_attention_shape *s = a->shape;
    int64_t token = row * s->length + b->tile.begin, at = (row * s->heads + head) * s->length + b->tile.begin;
    NAME(pack)(a->q + token * s->q_stride + head * s->d, s->q_stride, b->tile.count, Q, s->d, s->scale, b->queries,
               rows ? b->query_rows : NULL);
    NAME(pack)(a->dout + token * s->out_stride + head * s->d, s->out_stride, b->tile.count, Q, s->d, 1.0f, b->douts,
               rows ? b->dout_rows : NULL);
    memset(b->lse, 0, sizeof b->lse);
    memset(b->delta, 0, sizeof b->delta);
    memcpy(b->lse, a->log_sum_exp_in + at, (size_t)b->tile.count * sizeof(float));
    memcpy(b->delta, a->delta + at, (size_t)b->tile.count * sizeof(float));
}

/// p and ds of the tile against keys low ..< high; k and v point at key `low`.
static void NAME(probabilities)(BACKWARD_TILE *b, const mr_attention_arguments *a, int64_t low, int64_t high,
                                const float *k, const float *v) {
    const mr_attention_shape *s = a->shape;
    NAME(product_of_rows)(high - low, Q, s->d, k, a->key_token, b->queries, Q, b->p, Q, false);
    NAME(product_of_rows)(high - low, Q, s->d, v, a->value_token, b->douts, Q, b->ds, Q, false);
    bool masked = needs_mask(&b->tile, low, high);
    for (int64_t lane = 0; lane < Q; lane += 16) {
        f16 lse = load16(b->lse + lane), delta = load16(b->delta + lane);
        for (int64_t key = low; key < high; key++) {
            float *p = b->p + (key - low) * Q + lane, *ds = b->ds + (key - low) * Q + lane;
            f16 probability = exp16(load16(p) - lse), gradient = probability * (load16(ds) - delta) * set16(s->scale);
            if (masked) {
                i16 visible = visible16(&b->tile, lane, key);
                probability = select16(visible, probability, set16(0.0f));
                gradient = select16(visible, gradient, set16(0.0f));
            }
            store16(p, probability);
            store16(ds, gradient);
        }
    }
}

/// All of one row and key-value head: each score is computed once. Needs d to be a multiple of 16.
static void NAME(backward_whole)(void *argument, int64_t task, int worker) {
    const mr_attention_arguments *a = argument;
    const mr_attention_shape *s = a->shape;
    int64_t d = s->d, group = s->heads / s->kv_heads, kv_head = task % s->kv_heads, row = task / s->kv_heads;
    int64_t token = row * s->length;
    const float *k = a->keys + row * a->key_row + kv_head * a->key_head;
    const float *v = a->values + row * a->value_row + kv_head * a->value_head;
    float *dk_out = a->dk + token * s->k_stride + kv_head * d, *dv_out = a->dv + token * s->v_stride + kv_head * d;
    const int64_t size = s->length * d, dk_token = a->sums ? d : s->k_stride, dv_token = a->sums ? d : s->v_stride;
    float *dk = a->sums ? a->sums + 2 * task * size : dk_out, *dv = a->sums ? dk + size : dv_out;
    BACKWARD_TILE b;
    float *dq = NAME(plan_tile)(&b, mr_context_scratch(a->context, worker), d);
    for (int64_t i = 0; i < s->length; i++) {
        memset(dk + i * dk_token, 0, (size_t)d * sizeof(float));
        memset(dv + i * dv_token, 0, (size_t)d * sizeof(float));
    }
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (int64_t tile = 0; tile < a->query_tiles; tile++) {
            b.tile = query_tile_at(s, a->first + token, tile);
            NAME(fill_tile)(&b, a, row, head, true);
            memset(dq, 0, (size_t)(d * Q) * sizeof(float));
            for (int64_t block = b.tile.lowest / K * K; block < b.tile.begin + b.tile.count; block += K) {
                int64_t low = low_key(&b.tile, block), high = high_key(&b.tile, block), keys = high - low;
                const float *kb = k + low * a->key_token;
                NAME(probabilities)(&b, a, low, high, kb, v + low * a->value_token);
                NAME(product_of_columns)(d, Q, keys, kb, a->key_token, b.ds, Q, dq, Q, true);
                NAME(product_of_rows)(keys, d, Q, b.ds, Q, b.query_rows, d, dk + low * dk_token, dk_token, true);
                NAME(product_of_rows)(keys, d, Q, b.p, Q, b.dout_rows, d, dv + low * dv_token, dv_token, true);
            }
            NAME(unpack)(dq, NULL, b.tile.count, d, a->dq + (token + b.tile.begin) * s->q_stride + head * d,
                         s->q_stride);
        }
    for (int64_t i = 0; a->sums && i < s->length; i++) {
        memcpy(dk_out + i * s->k_stride, dk + i * d, (size_t)d * sizeof(float));
        memcpy(dv_out + i * s->v_stride, dv + i * d, (size_t)d * sizeof(float));
    }
}

/// dq of one row, head and tile of queries.
static void NAME(backward_queries)(void *argument, int64_t task, int worker) {
    const mr_attention_arguments *a = argument;
    const mr_attention_shape *s = a->shape;
    int64_t d = s->d, padded = rounded_up_16(d);
    int64_t tile_index = a->query_tiles - 1 - task % a->query_tiles;  // the longest first
    int64_t head = task / a->query_tiles % s->heads, row = task / a->query_tiles / s->heads;
    int64_t token = row * s->length, kv_head = head / (s->heads / s->kv_heads);
    const float *k = a->keys + row * a->key_row + kv_head * a->key_head;
    const float *v = a->values + row * a->value_row + kv_head * a->value_head;
    BACKWARD_TILE b;
    float *dq = NAME(plan_tile)(&b, mr_context_scratch(a->context, worker), padded);
    b.tile = query_tile_at(s, a->first + token, tile_index);
    NAME(fill_tile)(&b, a, row, head, false);
    memset(dq, 0, (size_t)(padded * Q) * sizeof(float));
    for (int64_t block = b.tile.lowest / K * K; block < b.tile.begin + b.tile.count; block += K) {
        int64_t low = low_key(&b.tile, block), high = high_key(&b.tile, block);
        const float *kb = k + low * a->key_token;
        NAME(probabilities)(&b, a, low, high, kb, v + low * a->value_token);
        NAME(product_of_columns)(d, Q, high - low, kb, a->key_token, b.ds, Q, dq, Q, true);
    }
    NAME(unpack)(dq, NULL, b.tile.count, d, a->dq + (token + b.tile.begin) * s->q_stride + head * d, s->q_stride);
}

/// dk and dv of one row, key-value head and block of keys.
static void NAME(backward_keys)(void *argument, int64_t task, int worker) {
    const mr_attention_arguments *a = argument;
    const mr_attention_shape *s = a->shape;
    int64_t d = s->d, padded = rounded_up_16(d), group = s->heads / s->kv_heads;
    int64_t block = task % a->key_tiles * K, kv_head = task / a->key_tiles % s->kv_heads;
    int64_t row = task / a->key_tiles / s->kv_heads, token = row * s->length;
    const float *k = a->keys + row * a->key_row + kv_head * a->key_head;
    const float *v = a->values + row * a->value_row + kv_head * a->value_head;
    BACKWARD_TILE b;
    float *dk = NAME(plan_tile)(&b, mr_context_scratch(a->context, worker), padded), *dv = dk + K * padded;
    memset(dk, 0, (size_t)(2 * K * padded) * sizeof(float));
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (int64_t tile = block / Q; tile < a->query_tiles; tile++) {
            b.tile = query_tile_at(s, a->first + token, tile);
            int64_t low = low_key(&b.tile, block), high = high_key(&b.tile, block), keys = high - low;
            if (keys <= 0) continue;
            NAME(fill_tile)(&b, a, row, head, true);
            NAME(probabilities)(&b, a, low, high, k + low * a->key_token, v + low * a->value_token);
            int64_t at = (low - block) * padded;
            NAME(product_of_rows)(keys, padded, Q, b.ds, Q, b.query_rows, padded, dk + at, padded, true);
            NAME(product_of_rows)(keys, padded, Q, b.p, Q, b.dout_rows, padded, dv + at, padded, true);
        }
    for (int64_t key = block; key < smaller_of(block + K, s->length); key++)
        for (int64_t i = 0; i < d; i += 16) {
            int64_t at = (key - block) * padded + i;
            store_row(a->dk + (token + key) * s->k_stride + kv_head * d + i, load16(dk + at), d - i);
            store_row(a->dv + (token + key) * s->v_stride + kv_head * d + i, load16(dv + at), d - i);
        }
}

// MARK: decode

/// One head of one new query: the same sums in the same order as the forward pass, so a cache changes no bit.
static void NAME(decode)(void *argument, int64_t head, int worker) {
    const mr_decode_arguments *a = argument;
    int64_t d = a->d, padded = rounded_up_16(d), stride = a->kv_heads * d;
    int64_t kv_head = head / (a->heads / a->kv_heads);
    const float *q = a->q + head * d, *k = a->k + kv_head * d, *v = a->v + kv_head * d;
    float *keys = mr_context_scratch(a->context, worker);
    float *output = keys + padded * K;
    float largest = -FLT_MAX, total = 0.0f, scores[MR_ATTENTION_KEYS];
    memset(output, 0, (size_t)padded * sizeof(float));
    for (int64_t block = 0; block < a->count; block += K) {
        int64_t count = smaller_of(K, a->count - block);
        NAME(pack)(k + block * stride, stride, count, K, d, 1.0f, keys, NULL);
        for (int64_t lane = 0; lane < K; lane += 16) {
            f16 sum = set16(0.0f);
            for (int64_t i = 0; i < d; i++) sum = fma16(load16(keys + i * K + lane), set16(q[i] * a->scale), sum);
            store16(scores + lane, sum);
        }
        float before = largest;
        for (int64_t key = 0; key < count; key++) largest = scores[key] > largest ? scores[key] : largest;
        float corrections[16];
        store16(corrections, exp16(set16(before - largest)));
        for (int64_t lane = 0; lane < K; lane += 16)
            store16(scores + lane, exp16(load16(scores + lane) - set16(largest)));
        total = total * corrections[0];
        for (int64_t key = 0; key < count; key++) total = total + scores[key];
        for (int64_t i = 0; i < d; i += 16) {
            f16 sum = load16(output + i) * set16(corrections[0]);
            for (int64_t key = 0; key < count; key++)
                sum = fma16(load_row(v + (block + key) * stride + i, d - i), set16(scores[key]), sum);
            store16(output + i, sum);
        }
    }
    for (int64_t i = 0; i < d; i += 16)
        store_row(a->out + head * d + i, load16(output + i) * set16(1.0f / total), d - i);
}

const mr_attention_kernels NAME(mr_attention_kernels) = {
    .pack = NAME(pack_keys),
    .forward = NAME(forward),
    .delta = NAME(delta),
    .backward_whole = NAME(backward_whole),
    .backward_queries = NAME(backward_queries),
    .backward_keys = NAME(backward_keys),
    .decode = NAME(decode),
};
