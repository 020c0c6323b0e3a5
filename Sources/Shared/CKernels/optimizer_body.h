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
    for (; i + 16 <= end; i += 16) {
        f16 p = load16(a->p + i), m = load16(a->m + i), v = load16(a->v + i);
        NAME(adamw16)(&a->parameters, load16(a->g + i), &p, &m, &v);
        store16(a->p + i, p);
        store16(a->m + i, m);
        store16(a->v + i, v);
    }
    if (i < end) {
        int64_t rest = end - i;
        f16 p = load_partial(a->p + i, rest, 0), m = load_partial(a->m + i, rest, 0);
        f16 v = load_partial(a->v + i, rest, 0);
        NAME(adamw16)(&a->parameters, load_partial(a->g + i, rest, 0), &p, &m, &v);
        store_partial(a->p + i, p, rest);
        store_partial(a->m + i, m, rest);
        store_partial(a->v + i, v, rest);
    }
}

static void NAME(lion)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    const mr_lion_parameters *o = &a->lion;
    const f16 zero = {0};
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    for (; i < end; i += 16) {
        f16 g = load_row(a->g + i, end - i) * set16(o->gradient_scale);
        f16 p = load_row(a->p + i, end - i), m = load_row(a->m + i, end - i);
        f16 c = fma16(set16(o->one_minus_beta1), g - m, m);
        m = fma16(set16(o->one_minus_beta2), g - m, m);
        // The step with c's sign, or zero: comparisons give lanes of ones.
        f16 step = set16(o->step_size);
        f16 up = (f16)((i16)step & (i16)(c < zero)), down = (f16)((i16)step & (i16)(c > zero));
        p = fma16(set16(-o->decay), p, p);
        store_row(a->p + i, p - (down - up), end - i);
        store_row(a->m + i, m, end - i);
    }
}

static void NAME(sgd)(void *argument, int64_t task, int worker) {
    (void)worker;
    const mr_flat_arguments *a = argument;
    const mr_sgd_parameters *o = &a->sgd;
    int64_t i = task * MR_FLAT_BLOCK;
    int64_t end = i + MR_FLAT_BLOCK < a->n ? i + MR_FLAT_BLOCK : a->n;
    for (; i < end; i += 16) {
        f16 p = load_row(a->p + i, end - i);
        f16 d = fma16(set16(o->decay), p, load_row(a->g + i, end - i) * set16(o->gradient_scale));
        if (a->m) {
            f16 m = fma16(set16(o->momentum), load_row(a->m + i, end - i), d);
            store_row(a->m + i, m, end - i);
            d = o->nesterov ? fma16(set16(o->momentum), m, d) : m;
        }
        store_row(a->p + i, fma16(set16(-o->step_size), d, p), end - i);
    }
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

const mr_flat_kernels NAME(mr_flat_kernels) = {
    NAME(add), NAME(sum_squares), NAME(adamw), NAME(lion), NAME(sgd), NAME(average), NAME(combine),
};
