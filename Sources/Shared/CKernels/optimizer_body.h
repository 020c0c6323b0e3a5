// Flat passes over one block of MR_FLAT_BLOCK elements. Elementwise work has no order; the sum of squares has eight
// lanes of double in a fixed tree. A remainder shorter than a vector is padded with zeros, which change no sum.

INLINE f16 NAME(root16)(f16 x) { return __builtin_elementwise_sqrt(x); }

static void NAME(add)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    for (; i + 16 <= end; i += 16) store16(a->y + i, load16(a->y + i) + load16(a->x + i));
    for (; i < end; i++) a->y[i] = a->y[i] + a->x[i];
}

static void NAME(sum_squares)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    typedef float f8 __attribute__((vector_size(32)));
    d8 sum = {0};
    for (; i < end; i += 8) {
        f8 x = {0};
        if (end - i >= 8)
            memcpy(&x, a->x + i, sizeof x);
        else
            memcpy(&x, a->x + i, (size_t)(end - i) * sizeof(float));
        d8 wide = __builtin_convertvector(x, d8);
        sum = __builtin_elementwise_fma(wide, wide, sum);
    }
    double lane[8];
    memcpy(lane, &sum, sizeof lane);
    a->sums[task % MR_FLAT_BATCH] =
        ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/// Adds the squares of sixteen numbers to eight lanes, element i to lane i mod 8, in order.
INLINE d8 NAME(add_squares)(d8 sum, d8 low, d8 high) {
    return __builtin_elementwise_fma(high, high, __builtin_elementwise_fma(low, low, sum));
}

INLINE d8 NAME(low)(f16 x) {
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7), d8);
}

INLINE d8 NAME(high)(f16 x) {
    return __builtin_convertvector(__builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15), d8);
}

INLINE double NAME(tree8)(d8 sum) {
    double lane[8];
    memcpy(lane, &sum, sizeof lane);
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void NAME(magnitude)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    int64_t i = task * MR_FLAT_BLOCK;
    const int64_t end = smaller_of(i + MR_FLAT_BLOCK, a->n);
    d8 sum = {0};
    i16 largest = {0};
    for (; i < end; i += 16) {
        const f16 x = load_row(a->x + i, end - i);
        sum = NAME(add_squares)(sum, NAME(low)(x), NAME(high)(x));
        // Numbers without sign are in the order of their bits, and what is not a number is above them.
        const i16 bits = (i16)x & 0x7fffffff, above = bits > largest;
        largest = (bits & above) | (largest & ~above);
    }
    int32_t lane[16], bits = 0;
    memcpy(lane, &largest, sizeof lane);
    for (int k = 0; k < 16; k++) bits = lane[k] > bits ? lane[k] : bits;
    mr_magnitude *out = &a->magnitudes[task % MR_FLAT_BATCH];
    out->squares = NAME(tree8)(sum);
    memcpy(&out->largest, &bits, sizeof bits);
}

/// Notes what sixteen parameters, or those that are left and zeros, went through.
INLINE void NAME(note)(f16 before, f16 after, d8 *update, d8 *weight) {
    const d8 low = NAME(low)(before), high = NAME(high)(before);
    *weight = NAME(add_squares)(*weight, low, high);
    *update = NAME(add_squares)(*update, NAME(low)(after) - low, NAME(high)(after) - high);
}

INLINE void NAME(tell)(const mr_flat_arguments *a, int64_t task, d8 update, d8 weight) {
    if (a->squares) a->squares[task] = (mr_update_squares){NAME(tree8)(update), NAME(tree8)(weight)};
}

INLINE void NAME(adamw16)(const mr_adamw_parameters *o, f16 g, f16 *p, f16 *m, f16 *v) {
    g = g * set16(o->gradient_scale);
    *m = fma16(set16(o->one_minus_beta1), g - *m, *m);
    *v = fma16(set16(o->one_minus_beta2), fma16(g, g, -*v), *v);
    f16 decayed = fma16(set16(-o->decay), *p, *p);
    f16 denominator = NAME(root16)(*v) * set16(o->inverse_sqrt_bias2) + set16(o->epsilon);
    *p = decayed - (set16(o->step_size) * *m) / denominator;
}

static void NAME(adamw)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    d8 update = {0}, weight = {0};
    for (; i + 16 <= end; i += 16) {
        const f16 before = load16(a->p + i);
        f16 p = before, m = load16(a->m + i), v = load16(a->v + i);
        NAME(adamw16)(&a->parameters, load16(a->g + i), &p, &m, &v);
        if (a->squares) NAME(note)(before, p, &update, &weight);
        store16(a->p + i, p);
        store16(a->m + i, m);
        store16(a->v + i, v);
    }
    if (i < end) {
        int64_t rest = end - i;
        const f16 before = load_partial(a->p + i, rest, 0);
        f16 p = before, m = load_partial(a->m + i, rest, 0), v = load_partial(a->v + i, rest, 0);
        NAME(adamw16)(&a->parameters, load_partial(a->g + i, rest, 0), &p, &m, &v);
        store_partial(a->p + i, p, rest);
        store_partial(a->m + i, m, rest);
        store_partial(a->v + i, v, rest);
        // From memory again: behind the end 0 / epsilon need not be 0.
        if (a->squares) NAME(note)(before, load_partial(a->p + i, rest, 0), &update, &weight);
    }
    NAME(tell)(a, task, update, weight);
}

static void NAME(lion)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    const mr_lion_parameters *o = &a->lion;
    const f16 zero = {0};
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    d8 update = {0}, weight = {0};
    for (; i < end; i += 16) {
        f16 g = load_row(a->g + i, end - i) * set16(o->gradient_scale);
        const f16 before = load_row(a->p + i, end - i);
        f16 p = before, m = load_row(a->m + i, end - i);
        f16 c = fma16(set16(o->one_minus_beta1), g - m, m);
        m = fma16(set16(o->one_minus_beta2), g - m, m);
        // The step with c's sign, or zero: comparisons give lanes of ones.
        f16 step = set16(o->step_size);
        f16 up = (f16)((i16)step & (i16)(c < zero)), down = (f16)((i16)step & (i16)(c > zero));
        p = fma16(set16(-o->decay), p, p);
        p = p - (down - up);
        store_row(a->p + i, p, end - i);
        store_row(a->m + i, m, end - i);
        if (a->squares) NAME(note)(before, p, &update, &weight);
    }
    NAME(tell)(a, task, update, weight);
}

static void NAME(sgd)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    const mr_sgd_parameters *o = &a->sgd;
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    d8 update = {0}, weight = {0};
    for (; i < end; i += 16) {
        f16 p = load_row(a->p + i, end - i);
        f16 d = fma16(set16(o->decay), p, load_row(a->g + i, end - i) * set16(o->gradient_scale));
        if (a->m) {
            f16 m = fma16(set16(o->momentum), load_row(a->m + i, end - i), d);
            store_row(a->m + i, m, end - i);
            d = o->nesterov ? fma16(set16(o->momentum), m, d) : m;
        }
        const f16 after = fma16(set16(-o->step_size), d, p);
        store_row(a->p + i, after, end - i);
        if (a->squares) NAME(note)(p, after, &update, &weight);
    }
    NAME(tell)(a, task, update, weight);
}

static void NAME(average)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    const mr_average_parameters *o = &a->average;
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    for (; i < end; i += 16) {
        f16 x = load_row(a->x + i, end - i) * set16(o->scale), y = load_row(a->y + i, end - i);
        y = fma16(set16(o->weight), x - y, y);
        store_row(a->y + i, y, end - i);
        if (a->u) store_row(a->u + i, o->nesterov ? fma16(set16(1.0f - o->weight), y - x, x) : y, end - i);
    }
}

static void NAME(combine)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    for (; i < end; i += 16) {
        f16 y = set16(a->b) * load_row(a->y + i, end - i);
        store_row(a->y + i, fma16(set16(a->a), load_row(a->x + i, end - i), y), end - i);
    }
}

// Chains that wait for nothing, as many as there are registers for and no latency shows.
#if defined(MR_ISA_IS_AVX512)
#define PEAK_CHAINS 12
#else
#define PEAK_CHAINS 6
#endif
static void NAME(peak)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    const f16 x = load16(a->x);
    f16 sum[PEAK_CHAINS];
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = set16((float)i);
    for (int step = 0; step < MR_PEAK_STEPS; step++)
        for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = fma16(x, x, sum[i]);
    for (int i = 1; i < PEAK_CHAINS; i++) sum[0] = sum[0] + sum[i];
    a->sums[task] = sum16(sum[0]);
}

const mr_flat_kernels NAME(mr_flat_kernels) = {
    NAME(add),     NAME(sum_squares), NAME(magnitude), NAME(adamw), NAME(lion), NAME(sgd),
    NAME(average), NAME(combine),     NAME(peak),      2.0 * 16 * PEAK_CHAINS * MR_PEAK_STEPS,
};
#undef PEAK_CHAINS
