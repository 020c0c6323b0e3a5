// Prints checksums of what the kernels give, for each instruction set this processor has. Tests/neon/run.sh runs it on
// x86-64 and on arm64 and compares: the bits must be the same. Inputs are the kernels' own random numbers, shapes are odd
// on purpose.
#include <stdio.h>
#include <stdlib.h>

#include "CKernels.h"

/// FNV-1a over the bytes.
static uint64_t checksum(const void *data, size_t bytes, uint64_t sum) {
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) sum = (sum ^ p[i]) * 0x100000001b3ULL;
    return sum;
}

static float *noise(int64_t count, uint64_t purpose) {
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    if (x == NULL) exit(74);
    mr_random_normal(7, purpose, 0, 0, count, 1.0f, x);
    return x;
}

static uint64_t gemm(mr_context *context) {
    static const int64_t shapes[][3] = {{1, 70, 33}, {7, 13, 257}, {33, 65, 300}, {61, 19, 520}};
    uint64_t sum = 0xcbf29ce484222325ULL;
    for (int s = 0; s < 4; s++)
        for (int flags = 0; flags < 16; flags++) {
            const int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            const bool ta = flags & 1, tb = flags & 2, accumulate = flags & 4;
            float *a = noise(m * k, 1), *b = noise(k * n, 2), *c = noise(m * n, 3), *other = noise(m * n, 4);
            const mr_product product = {
                .transpose_a = ta, .transpose_b = tb, .m = m, .n = n, .k = k, .period = accumulate ? 64 : 0, .a = a,
                .b = b, .lda = ta ? m : k, .ldb = tb ? k : n, .base = accumulate ? c : NULL, .ldbase = n,
                .bias = s % 2 ? b : NULL, .c = c, .ldc = n, .precision = flags & 8 ? MR_BF16 : MR_FP32,
                .activation = s == 1 ? MR_GELU : s == 2 ? MR_GELU_BACKWARD : MR_NO_ACTIVATION, .other = other,
                .ldother = n,
            };
            mr_gemm(context, &product);
            sum = checksum(c, (size_t)(m * n) * sizeof *c, sum);
            sum = checksum(other, (size_t)(m * n) * sizeof *other, sum);
            free(a), free(b), free(c), free(other);
        }
    return sum;
}

static uint64_t flat(mr_context *context) {
    const int64_t n = 9001;
    float *g = noise(n, 4), *p = noise(n, 5), *m = noise(n, 6), *v = noise(n, 7);
    for (int64_t i = 0; i < n; i++) v[i] = v[i] * v[i];
    const mr_adamw_parameters parameters = {0.7f, 0.1f, 0.05f, 1e-4f, 3e-3f, 1.7f, 1e-8f};
    mr_update_squares moved = {0, 0};
    mr_adamw(context, n, parameters, g, p, m, v, &moved);
    mr_lion(context, n, (mr_lion_parameters){0.7f, 0.1f, 0.01f, 1e-4f, 3e-3f}, g, p, m, &moved);
    mr_sgd(context, n, (mr_sgd_parameters){0.7f, 1e-2f, 0.9f, 3e-3f, true}, g, p, m, &moved);
    mr_sgd(context, n, (mr_sgd_parameters){0.7f, 1e-2f, 0, 3e-3f, false}, g, p, NULL, &moved);
    mr_average(context, n, (mr_average_parameters){0.7f, 0.05f, true}, g, m, v);
    mr_combine(context, n, -4.775f, p, 2.0315f, v);
    mr_add(context, n, g, m);
    const double squares = mr_sum_squares(context, n, g);
    const mr_magnitude magnitude = mr_magnitude_of(context, n, g);
    uint64_t sum = checksum(&squares, sizeof squares, 0xcbf29ce484222325ULL);
    sum = checksum(&moved, sizeof moved, sum);
    sum = checksum(&magnitude.squares, sizeof magnitude.squares, sum);
    sum = checksum(&magnitude.largest, sizeof magnitude.largest, sum);
    sum = checksum(p, (size_t)n * sizeof *p, sum);
    sum = checksum(m, (size_t)n * sizeof *m, sum);
    sum = checksum(v, (size_t)n * sizeof *v, sum);
    free(g), free(p), free(m), free(v);
    return sum;
}

static uint64_t rows(mr_context *context) {
    const int64_t n = 21, c = 70;
    float *x = noise(n * c, 8), *w = noise(c, 9), *dy = noise(n * c, 10), *y = noise(n * c, 11);
    float *dx = noise(n * c, 12), *dw = noise(c, 13), *rstd = noise(n, 14), *loss = noise(n, 15), *weight = noise(n, 16);
    uint32_t targets[21];
    for (int64_t i = 0; i < n; i++) targets[i] = (uint32_t)(i * 3), weight[i] = i % 5 == 0 ? 0 : 0.125f;
    mr_rmsnorm_forward(context, n, c, x, w, 1e-5f, y, rstd);
    mr_rmsnorm_backward(context, n, c, 7, x, w, rstd, dy, dx, dw);
    uint64_t sum = checksum(y, (size_t)(n * c) * sizeof *y, 0xcbf29ce484222325ULL);
    sum = checksum(dx, (size_t)(n * c) * sizeof *dx, sum);
    sum = checksum(dw, (size_t)c * sizeof *dw, sum);
    float *b = noise(c, 17), *mean = noise(n, 18), *db = noise(c, 19), *heads = noise(n * 2, 20);
    mr_layernorm_forward(context, n, c, x, w, b, 1e-5f, y, mean, rstd);
    mr_layernorm_backward(context, n, c, 7, x, w, mean, rstd, dy, dx, dw, db);
    mr_bias_backward(context, n, c, 7, dy, db);
    sum = checksum(y, (size_t)(n * c) * sizeof *y, sum);
    sum = checksum(dx, (size_t)(n * c) * sizeof *dx, sum);
    sum = checksum(dw, (size_t)c * sizeof *dw, sum);
    sum = checksum(db, (size_t)c * sizeof *db, sum);
    mr_head_norm_forward(context, n, 2, c / 2, y, c, w, 1e-6f, dx, c, heads);
    mr_head_norm_backward(context, n, 2, c / 2, 7, dx, c, w, heads, y, c, dw);
    sum = checksum(y, (size_t)(n * c) * sizeof *y, sum);
    sum = checksum(dw, (size_t)c * sizeof *dw, sum);
    free(b), free(mean), free(db), free(heads);
    mr_swiglu_forward(context, n, c / 2, x, y);
    sum = checksum(y, (size_t)(n * c / 2) * sizeof *y, sum);
    mr_swiglu_backward(context, n, c / 2, x, dy, dx);
    sum = checksum(dx, (size_t)(n * c) * sizeof *dx, sum);
    mr_exp(context, n * c, x, y);
    sum = checksum(y, (size_t)(n * c) * sizeof *y, sum);
    mr_cross_entropy(context, n, c, c, x, targets, weight, loss, true);
    sum = checksum(x, (size_t)(n * c) * sizeof *x, sum);
    sum = checksum(loss, (size_t)n * sizeof *loss, sum);
    free(x), free(w), free(dy), free(y), free(dx), free(dw), free(rstd), free(loss), free(weight);
    return sum;
}

static uint64_t attention(mr_context *context) {
    const mr_attention_shape shape = {
        .rows = 2, .length = 77, .heads = 4, .kv_heads = 2, .d = 24, .q_stride = 96, .k_stride = 48, .v_stride = 48,
        .out_stride = 96, .scale = 0.2f};
    const int64_t tokens = shape.rows * shape.length;
    float *q = noise(tokens * 96, 17), *k = noise(tokens * 48, 18), *v = noise(tokens * 48, 19);
    float *dout = noise(tokens * 96, 20), *out = noise(tokens * 96, 21), *lse = noise(tokens * 4, 22);
    float *delta = noise(tokens * 4, 23), *dq = noise(tokens * 96, 24), *dk = noise(tokens * 48, 25);
    float *dv = noise(tokens * 48, 26);
    int32_t *first = calloc((size_t)tokens, sizeof *first);
    if (first == NULL) exit(74);
    for (int64_t i = 0; i < tokens; i++) first[i] = i % shape.length >= 40 ? 40 : 0;
    mr_attention_forward(context, &shape, q, k, v, first, out, lse);
    mr_attention_backward(context, &shape, q, k, v, first, out, lse, dout, delta, dq, dk, dv);
    uint64_t sum = checksum(out, (size_t)(tokens * 96) * sizeof *out, 0xcbf29ce484222325ULL);
    sum = checksum(lse, (size_t)(tokens * 4) * sizeof *lse, sum);
    sum = checksum(dq, (size_t)(tokens * 96) * sizeof *dq, sum);
    sum = checksum(dk, (size_t)(tokens * 48) * sizeof *dk, sum);
    sum = checksum(dv, (size_t)(tokens * 48) * sizeof *dv, sum);
    free(q), free(k), free(v), free(dout), free(out), free(lse), free(delta), free(dq), free(dk), free(dv), free(first);
    return sum;
}

int main(void) {
    for (int isa = MR_ISA_SCALAR; isa <= MR_ISA_NEON; isa++) {
        if (!mr_isa_supported((mr_isa)isa)) continue;
        mr_context *context = mr_context_create(2, (mr_isa)isa);
        if (context == NULL) return 74;
        static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
        printf("%s %016llx %016llx %016llx %016llx\n", names[isa], (unsigned long long)gemm(context),
               (unsigned long long)flat(context), (unsigned long long)rows(context),
               (unsigned long long)attention(context));
        mr_context_destroy(context);
    }
    float table[40];
    mr_rope_table(10000.0, 5, 8, table, table + 20);
    printf("rope %016llx\n", (unsigned long long)checksum(table, sizeof table, 0xcbf29ce484222325ULL));
    if (mr_crc32c_supported() && mr_crc32c(mr_crc32c(0, "123456789ab", 11), "c", 1) != mr_crc32c(0, "123456789abc", 12)) return 70;
    return mr_crc32c_supported() && mr_crc32c(0, "123456789", 9) != 0xe3069283 ? 70 : 0;  // RFC 3720, appendix B.4
}
