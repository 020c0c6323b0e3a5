// Row work, written once for every instruction set (see vector.h): rotation, SwiGLU, the embedding's gradient,
// cross-entropy. Sums inside a row run over 16 lanes (element i to lane i mod 16) and then the fixed tree; sums over rows
// run in order of the rows, one column a lane. A task's extent is fixed (kernel_tables.h).

// MARK: RoPE: (x0, x1) turns by the angle of its position and pair

static void NAME(rope)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_rope_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_ROWS_TILE), half = a->d / 2;
    f16 sign = set16(a->inverse ? -1.0f : 1.0f);
    for (int64_t row = task * MR_ROWS_TILE; row < end; row++) {
        const float *cosine = a->cosine + a->position[row] * half, *sine = a->sine + a->position[row] * half;
        for (int64_t head = 0; head < a->heads; head++) {
            float *x = a->x + row * a->stride + head * a->d;
            for (int64_t i = 0; i < half; i += 16) {
                int64_t left = half - i;
                f16 c = load_row(cosine + i, left), s = load_row(sine + i, left) * sign;
                f16 x0 = load_row(x + i, left), x1 = load_row(x + half + i, left);
                store_row(x + i, fma16(x0, c, -(x1 * s)), left);
                store_row(x + half + i, fma16(x0, s, x1 * c), left);
            }
        }
    }
}

// MARK: SwiGLU: out = gate · σ(gate) · up

static void NAME(swiglu_forward)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_swiglu_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_ROWS_TILE);
    for (int64_t row = task * MR_ROWS_TILE; row < end; row++) {
        const float *gate = a->gate_up + row * 2 * a->width, *up = gate + a->width;
        float *out = a->out + row * a->width;
        for (int64_t i = 0; i < a->width; i += 16) {
            f16 g = load_row(gate + i, a->width - i), u = load_row(up + i, a->width - i);
            store_row(out + i, g * sigmoid16(g) * u, a->width - i);
        }
    }
}

/// With s = σ(gate): dup = dout · gate · s; dgate = dout · up · (s + gate · s · (1 − s)).
static void NAME(swiglu_backward)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_swiglu_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_ROWS_TILE);
    for (int64_t row = task * MR_ROWS_TILE; row < end; row++) {
        const float *gate = a->gate_up + row * 2 * a->width, *up = gate + a->width;
        const float *dout = a->dout + row * a->width;
        float *dgate = a->out + row * 2 * a->width, *dup = dgate + a->width;
        for (int64_t i = 0; i < a->width; i += 16) {
            int64_t left = a->width - i;
            f16 g = load_row(gate + i, left), u = load_row(up + i, left), dy = load_row(dout + i, left);
            f16 s = sigmoid16(g);
            f16 silu = g * s;
            store_row(dgate + i, dy * u * fma16(silu, set16(1.0f) - s, s), left);
            store_row(dup + i, dy * silu, left);
        }
    }
}

// MARK: embedding

/// Tasks split the columns, so that each sum takes its tokens in order.
static void NAME(embedding_backward)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_embedding_arguments *a = argument;
    int64_t first = task * MR_COLUMNS_TILE, end = smaller_of(a->c, first + MR_COLUMNS_TILE);
    for (int64_t row = 0; row < a->n; row++) {
        const float *in = a->in + row * a->c;
        float *out = a->out + (int64_t)a->ids[row] * a->c;
        for (int64_t i = first; i < end; i += 16)
            store_row(out + i, load_row(out + i, end - i) + load_row(in + i, end - i), end - i);
    }
}

// MARK: cross-entropy

/// Three passes: the largest logit; exp(logit − largest), stored when the gradient is asked for, and their sum (floats
/// inside blocks of 1024, blocks in double); the gradient.
static void NAME(cross_entropy)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_cross_entropy_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_LOSS_ROWS_TILE), v = a->v;
    for (int64_t row = task * MR_LOSS_ROWS_TILE; row < end; row++) {
        float *logits = a->logits + row * a->stride, weight = a->weight[row];
        if (weight == 0.0f) {
            a->loss[row] = 0.0f;
            if (a->gradient) memset(logits, 0, (size_t)v * sizeof(float));
            continue;
        }
        f16 largest_lanes = set16(-FLT_MAX);
        for (int64_t i = 0; i < v; i += 16) {
            f16 x = v - i >= 16 ? load16(logits + i) : load_partial(logits + i, v - i, -FLT_MAX);
            largest_lanes = larger16(x, largest_lanes);
        }
        float lanes[16], largest = -FLT_MAX;
        store16(lanes, largest_lanes);
        for (int i = 0; i < 16; i++) largest = lanes[i] > largest ? lanes[i] : largest;

        float target = logits[a->targets[row]];
        double sum = 0;
        for (int64_t block = 0; block < v; block += 1024) {
            int64_t block_end = smaller_of(v, block + 1024);
            f16 sums = set16(0.0f);
            for (int64_t i = block; i < block_end; i += 16) {
                int64_t left = block_end - i;
                f16 x = left >= 16 ? load16(logits + i) : load_partial(logits + i, left, -INFINITY);
                f16 e = exp16(x - set16(largest));
                if (a->gradient) store_row(logits + i, e, left);
                sums = sums + e;
            }
            sum += (double)sum16(sums);
        }
        // double_log is for finite numbers; a sum that is not must show in the loss.
        double log_sum = sum - sum == 0 ? double_log(sum) : sum;
        a->loss[row] = (float)(log_sum + ((double)largest - (double)target));
        if (!a->gradient) continue;
        f16 factor = set16((float)((double)weight / sum));
        for (int64_t i = 0; i < v; i += 16) store_row(logits + i, load_row(logits + i, v - i) * factor, v - i);
        logits[a->targets[row]] = logits[a->targets[row]] - weight;
    }
}

// MARK: exp

static void NAME(exp)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_exp_arguments *a = argument;
    int64_t end = smaller_of(a->n, (task + 1) * MR_FLAT_TILE);
    for (int64_t i = task * MR_FLAT_TILE; i < end; i += 16)
        store_row(a->y + i, exp16(load_row(a->x + i, end - i)), end - i);
}

const mr_row_kernels NAME(mr_row_kernels) = {
    .rmsnorm_forward = NAME(rmsnorm_forward),
    .rmsnorm_backward_rows = NAME(rmsnorm_backward_rows),
    .rmsnorm_backward_columns = NAME(rmsnorm_backward_columns),
    .layernorm_forward = NAME(layernorm_forward),
    .layernorm_backward_rows = NAME(layernorm_backward_rows),
    .layernorm_backward_columns = NAME(layernorm_backward_columns),
    .bias_backward = NAME(bias_backward),
    .rope = NAME(rope),
    .swiglu_forward = NAME(swiglu_forward),
    .swiglu_backward = NAME(swiglu_backward),
    .embedding_backward = NAME(embedding_backward),
    .cross_entropy = NAME(cross_entropy),
    .exp = NAME(exp),
};
