// Normalization and biases, written once for every instruction set (see vector.h). Sums inside a row run over 16 lanes
// (element i to lane i mod 16) and then the fixed tree; sums over rows run in order of the rows, one column a lane, from 0
// in each period. A task's extent is fixed (kernel_tables.h).

/// Where a row begins: row r is head r mod heads of token r / heads; tokens are `stride` floats apart.
INLINE int64_t row_offset(int64_t row, int64_t heads, int64_t stride, int64_t c) {
    return heads == 1 ? row * stride : row / heads * stride + row % heads * c;
}

// MARK: RMSNorm: y = x · r · w with r = 1 / sqrt(mean(x²) + epsilon); x may be y, and `kept` takes a copy of it

static void NAME(rmsnorm_forward)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_norm_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_ROWS_TILE);
    for (int64_t row = task * MR_ROWS_TILE; row < end; row++) {
        const float *x = a->x + row_offset(row, a->heads, a->x_stride, a->c);
        float *y = a->y + row_offset(row, a->heads, a->y_stride, a->c);
        f16 squares = set16(0.0f);
        for (int64_t i = 0; i < a->c; i += 16) {
            f16 xi = load_row(x + i, a->c - i);
            squares = fma16(xi, xi, squares);
        }
        float rstd = 1.0f / sqrtf(sum16(squares) / (float)a->c + a->epsilon);
        a->rstd[row] = rstd;
        float *kept = a->kept ? a->kept + row_offset(row, a->heads, a->kept_stride, a->c) : NULL;
        for (int64_t i = 0; i < a->c; i += 16) {
            int64_t left = a->c - i;
            f16 xi = load_row(x + i, left);
            if (kept) store_row(kept + i, xi, left);
            store_row(y + i, xi * set16(rstd) * load_row(a->w + i, left), left);
        }
    }
}

/// With h = x · r and g = dy · w: dx += r · (g − h · mean(g · h)); `overwrite`: dx =, and dx may be dy.
static void NAME(rmsnorm_backward_rows)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_norm_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_ROWS_TILE);
    for (int64_t row = task * MR_ROWS_TILE; row < end; row++) {
        const float *x = a->x + row_offset(row, a->heads, a->x_stride, a->c);
        const float *dy = a->dy + row_offset(row, a->heads, a->y_stride, a->c);
        float *dx = a->dx + row_offset(row, a->heads, a->overwrite ? a->y_stride : a->x_stride, a->c);
        f16 rstd = set16(a->rstd[row]), products = set16(0.0f);
        for (int64_t i = 0; i < a->c; i += 16) {
            f16 g = load_row(dy + i, a->c - i) * load_row(a->w + i, a->c - i);
            products = fma16(g, load_row(x + i, a->c - i) * rstd, products);
        }
        f16 minus_mean = set16(-(sum16(products) / (float)a->c));
        for (int64_t i = 0; i < a->c; i += 16) {
            int64_t left = a->c - i;
            f16 g = load_row(dy + i, left) * load_row(a->w + i, left);
            f16 h = load_row(x + i, left) * rstd;
            f16 before = a->overwrite ? set16(0.0f) : load_row(dx + i, left);
            store_row(dx + i, fma16(fma16(h, minus_mean, g), rstd, before), left);
        }
    }
}

/// dw += Σ over rows of dy · h, a sum for each period. Whole cache lines of a row side by side, so that memory is read in
/// runs.
static void NAME(rmsnorm_backward_columns)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_norm_arguments *a = argument;
    const int64_t i = task * MR_COLUMNS_TILE, end = smaller_of(a->c, i + MR_COLUMNS_TILE);
    for (int64_t period = 0; period < a->n; period += a->period) {
        f16 products[MR_COLUMNS_TILE / 16] = {0};
        for (int64_t row = period; row < smaller_of(a->n, period + a->period); row++) {
            const float *x = a->x + row_offset(row, a->heads, a->x_stride, a->c);
            const float *dy = a->dy + row_offset(row, a->heads, a->y_stride, a->c);
            f16 rstd = set16(a->rstd[row]);
#pragma clang loop unroll(full)
            for (int v = 0; v < MR_COLUMNS_TILE / 16; v++) {
                const int64_t at = i + 16 * v, left = end - at;
                if (left <= 0) break;
                products[v] = fma16(load_row(dy + at, left), load_row(x + at, left) * rstd, products[v]);
            }
        }
        for (int v = 0; v < MR_COLUMNS_TILE / 16 && i + 16 * v < end; v++) {
            const int64_t at = i + 16 * v;
            store_row(a->dw + at, load_row(a->dw + at, end - at) + products[v], end - at);
        }
    }
}

// MARK: LayerNorm: y = (x − mean) · r · w + b with r = 1 / sqrt(mean((x − mean)²) + epsilon)

/// 16 of x − mean; zeros behind the row's end.
INLINE f16 load_centred(const float *x, int64_t left, float mean) {
    return (left >= 16 ? load16(x) : load_partial(x, left, mean)) - set16(mean);
}

static void NAME(layernorm_forward)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_norm_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_ROWS_TILE), c = a->c;
    for (int64_t row = task * MR_ROWS_TILE; row < end; row++) {
        const float *x = a->x + row * c;
        float *y = a->y + row * c;
        f16 sum = set16(0.0f), squares = set16(0.0f);
        for (int64_t i = 0; i < c; i += 16) sum = sum + load_row(x + i, c - i);
        float mean = sum16(sum) / (float)c;
        for (int64_t i = 0; i < c; i += 16) {
            f16 centred = load_centred(x + i, c - i, mean);
            squares = fma16(centred, centred, squares);
        }
        float rstd = 1.0f / sqrtf(sum16(squares) / (float)c + a->epsilon);
        a->mean[row] = mean;
        a->rstd[row] = rstd;
        for (int64_t i = 0; i < c; i += 16) {
            int64_t left = c - i;
            f16 h = load_centred(x + i, left, mean) * set16(rstd);
            store_row(y + i, fma16(h, load_row(a->w + i, left), load_row(a->b + i, left)), left);
        }
    }
}

/// With h = (x − mean) · r and g = dy · w: dx += r · (g − mean(g) − h · mean(g · h)).
static void NAME(layernorm_backward_rows)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_norm_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_ROWS_TILE), c = a->c;
    for (int64_t row = task * MR_ROWS_TILE; row < end; row++) {
        const float *x = a->x + row * c, *dy = a->dy + row * c;
        float *dx = a->dx + row * c;
        float mean = a->mean[row];
        f16 rstd = set16(a->rstd[row]), sum = set16(0.0f), products = set16(0.0f);
        for (int64_t i = 0; i < c; i += 16) {
            f16 g = load_row(dy + i, c - i) * load_row(a->w + i, c - i);
            sum = sum + g;
            products = fma16(g, load_centred(x + i, c - i, mean) * rstd, products);
        }
        f16 mean_g = set16(sum16(sum) / (float)c), minus_mean = set16(-(sum16(products) / (float)c));
        for (int64_t i = 0; i < c; i += 16) {
            int64_t left = c - i;
            f16 g = load_row(dy + i, left) * load_row(a->w + i, left) - mean_g;
            f16 h = load_centred(x + i, left, mean) * rstd;
            store_row(dx + i, fma16(fma16(h, minus_mean, g), rstd, load_row(dx + i, left)), left);
        }
    }
}

/// dw += Σ over rows of dy · h, db += Σ dy, a sum for each period.
static void NAME(layernorm_backward_columns)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_norm_arguments *a = argument;
    const int64_t i = task * MR_COLUMNS_TILE, end = smaller_of(a->c, i + MR_COLUMNS_TILE);
    for (int64_t period = 0; period < a->n; period += a->period) {
        f16 sum[MR_COLUMNS_TILE / 16] = {0}, products[MR_COLUMNS_TILE / 16] = {0};
        for (int64_t row = period; row < smaller_of(a->n, period + a->period); row++) {
            const float *dy = a->dy + row * a->c, *x = a->x + row * a->c;
#pragma clang loop unroll(full)
            for (int v = 0; v < MR_COLUMNS_TILE / 16; v++) {
                const int64_t at = i + 16 * v, left = end - at;
                if (left <= 0) break;
                f16 g = load_row(dy + at, left);
                sum[v] = sum[v] + g;
                f16 h = load_centred(x + at, left, a->mean[row]) * set16(a->rstd[row]);
                products[v] = fma16(g, h, products[v]);
            }
        }
        for (int v = 0; v < MR_COLUMNS_TILE / 16 && i + 16 * v < end; v++) {
            const int64_t at = i + 16 * v, left = end - at;
            store_row(a->dw + at, load_row(a->dw + at, left) + products[v], left);
            store_row(a->db + at, load_row(a->db + at, left) + sum[v], left);
        }
    }
}

// MARK: bias

/// db += Σ over rows of dy, a sum for each period.
static void NAME(bias_backward)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_bias_arguments *a = argument;
    const int64_t i = task * MR_COLUMNS_TILE, end = smaller_of(a->c, i + MR_COLUMNS_TILE);
    for (int64_t period = 0; period < a->n; period += a->period) {
        f16 sum[MR_COLUMNS_TILE / 16] = {0};
        for (int64_t row = period; row < smaller_of(a->n, period + a->period); row++) {
            const float *dy = a->dy + row * a->c;
#pragma clang loop unroll(full)
            for (int v = 0; v < MR_COLUMNS_TILE / 16; v++) {
                const int64_t at = i + 16 * v;
                if (at >= end) break;
                sum[v] = sum[v] + load_row(dy + at, end - at);
            }
        }
        for (int v = 0; v < MR_COLUMNS_TILE / 16 && i + 16 * v < end; v++) {
            const int64_t at = i + 16 * v;
            store_row(a->db + at, load_row(a->db + at, end - at) + sum[v], end - at);
        }
    }
}
