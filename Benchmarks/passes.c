// Attention beside the time that its arithmetic takes at the measured peak, and what is bound by memory beside the time that
// its bytes take at the measured bandwidth. Floors are measured in the same rounds; medians of several.
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

// MARK: attention

typedef struct {
    const char *name;
    int64_t rows, length, heads, d;
} attention_case;

static void print_attention_row(const char *name, const char *pass, double time, double floor) {
    printf("| %s | %s | %.2f | %.2f | %.2f |\n", name, pass, time * 1e3, floor * 1e3, time / floor);
}

static void measure_attention(const measurement *of, const attention_case *a) {
    const int64_t tokens = a->rows * a->length, width = a->heads * a->d, packed = 3 * width;
    const mr_attention_shape shape = {a->rows, a->length, a->heads, a->heads, a->d, packed, packed, packed, width,
                                      1 / sqrtf((float)a->d)};
    float *qkv = take(of->context, tokens * packed), *dqkv = take(of->context, tokens * packed);
    float *out = take(of->context, tokens * width), *dout = take(of->context, tokens * width);
    float *log_sum_exp = take(of->context, tokens * a->heads), *delta = take(of->context, tokens * a->heads);
    int32_t *first = calloc((size_t)tokens, sizeof *first);  // one document a row
    double forward[MOST_ROUNDS], backward[MOST_ROUNDS], peaks[MOST_ROUNDS];
    for (int round = -1; round < of->rounds; round++) {  // round -1 warms up
        const double peak = peak_rate(of->context), begin = seconds();
        mr_attention_forward(of->context, &shape, qkv, qkv + width, qkv + 2 * width, first, out, log_sum_exp);
        const double middle = seconds();
        mr_attention_backward(of->context, &shape, qkv, qkv + width, qkv + 2 * width, first, out, log_sum_exp, dout, delta,
                              dqkv, dqkv + width, dqkv + 2 * width);
        const double end = seconds();
        if (round < 0) continue;
        peaks[round] = peak, forward[round] = middle - begin, backward[round] = end - middle;
    }
    const double pairs = (double)(a->rows * a->heads) * (double)a->length * (double)(a->length + 1) / 2;
    const double product = 2 * (double)a->d * pairs / median(peaks, of->rounds);
    print_attention_row(a->name, "forward", median(forward, of->rounds), 2 * product);
    print_attention_row(a->name, "backward", median(backward, of->rounds), 5 * product);
    fflush(stdout);
    free(qkv), free(dqkv), free(out), free(dout), free(log_sum_exp), free(delta), free(first);
}

void print_attention(const measurement *of) {
    static const attention_case cases[] = {
        {"1 x 2048, 12 heads of 64", 1, 2048, 12, 64},
        {"16 x 256, 6 heads of 64", 16, 256, 6, 64},
    };
    printf("| attention | pass | ms | FLOP floor, ms | ratio |\n|---|---|--:|--:|--:|\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) measure_attention(of, &cases[i]);
}

// MARK: what is bound by memory

enum { ARRAYS = 4, PART = 65536, VOCABULARY = 50304, TOKENS = 1024 };

/// What a pass works on: arrays of n floats.
typedef struct {
    mr_context *context;
    int64_t n;
    float *arrays[ARRAYS];
    uint32_t targets[TOKENS];
    float weights[TOKENS], losses[TOKENS];
} workload;

static int64_t part_floats(const workload *of, int64_t task) {
    return of->n - task * PART < PART ? of->n - task * PART : PART;
}

static void copy_part(void *argument, int64_t task, int worker) {
    (void)worker;
    const workload *of = argument;
    memcpy(of->arrays[0] + task * PART, of->arrays[1] + task * PART, (size_t)part_floats(of, task) * sizeof(float));
}

typedef float wide __attribute__((vector_size(64)));

/// Stores that pass by the caches, so that no line is read before it is written.
static void stream_part(void *argument, int64_t task, int worker) {
    (void)worker;
    const workload *of = argument;
    wide *to = (wide *)(of->arrays[0] + task * PART);
    const wide *from = (const wide *)(of->arrays[1] + task * PART);
    for (int64_t i = 0; i < part_floats(of, task) / 16; i++) __builtin_nontemporal_store(from[i], to + i);
}

static volatile float sink;

static void read_part(void *argument, int64_t task, int worker) {
    (void)worker;
    const workload *of = argument;
    const wide *from = (const wide *)(of->arrays[0] + task * PART);
    wide sum[2] = {{0}, {0}};
    for (int64_t i = 0; i + 1 < part_floats(of, task) / 16; i += 2) sum[0] += from[i], sum[1] += from[i + 1];
    sink = (sum[0] + sum[1])[0];
}

static double time_parts(const workload *of, void (*work)(void *, int64_t, int)) {
    const double time = seconds();
    mr_parallel(of->context, (of->n + PART - 1) / PART, work, (void *)of);
    return seconds() - time;
}

static void adamw(workload *w) {
    const mr_adamw_parameters parameters = {1, 0.1f, 0.05f, 1e-4f, 1e-3f, 1.5f, 1e-8f};
    mr_adamw(w->context, w->n, parameters, w->arrays[0], w->arrays[1], w->arrays[2], w->arrays[3], NULL);
}

static void gradient_norm(workload *w) { sink = (float)mr_sum_squares(w->context, w->n, w->arrays[0]); }

static void cross_entropy(workload *w) {
    mr_cross_entropy(w->context, TOKENS, VOCABULARY, VOCABULARY, w->arrays[0], w->targets, w->weights, w->losses, true);
}

typedef struct {
    const char *name;
    int64_t n;
    int reads, writes;  // floats an element
    void (*work)(workload *);
} pass;

static void measure_pass(const measurement *of, const pass *p) {
    workload w = {.context = of->context, .n = p->n};
    for (int i = 0; i < ARRAYS; i++) w.arrays[i] = take(of->context, p->n);
    for (int64_t i = 0; i < p->n; i++) w.arrays[3][i] = fabsf(w.arrays[3][i]);  // AdamW's mean of squares
    for (int i = 0; i < TOKENS; i++) w.targets[i] = (uint32_t)(i * 49), w.weights[i] = 1.0f / TOKENS;
    double times[MOST_ROUNDS], copies[MOST_ROUNDS], streams[MOST_ROUNDS], reads[MOST_ROUNDS];
    for (int round = -1; round < of->rounds; round++) {  // round -1 warms up
        // The copies also bring back the logits that cross-entropy has replaced.
        const double stream = time_parts(&w, stream_part), copy = time_parts(&w, copy_part), read = time_parts(&w, read_part);
        const double begin = seconds();
        p->work(&w);
        const double end = seconds();
        if (round < 0) continue;
        streams[round] = stream, copies[round] = copy, reads[round] = read, times[round] = end - begin;
    }
    const double array = (double)p->n * sizeof(float), bytes = array * (p->reads + p->writes);
    const double copy = median(copies, of->rounds), stream = median(streams, of->rounds);
    const double bandwidth = p->writes == 0 ? array / median(reads, of->rounds) : 2 * array / fmin(copy, stream);
    const double time = median(times, of->rounds);
    printf("| %s | %.0f | %.2f | %.1f | %s %.1f | %.2f | %.2f |\n", p->name, bytes * 1e-6, time * 1e3, bytes / time * 1e-9,
           p->writes == 0 ? "read" : copy < stream ? "memcpy" : "streaming copy", bandwidth * 1e-9, bytes / bandwidth * 1e3,
           time * bandwidth / bytes);
    fflush(stdout);
    for (int i = 0; i < ARRAYS; i++) free(w.arrays[i]);
}

void print_passes(const measurement *of) {
    enum { LARGE = 1 << 25 };  // 128 MiB an array
    static const pass passes[] = {
        {"AdamW, 32 Mi parameters", LARGE, 4, 3, adamw},
        {"gradient norm, 32 Mi", LARGE, 1, 0, gradient_norm},
        {"cross-entropy and gradient, 1024 x 50304", (int64_t)TOKENS * VOCABULARY, 1, 1, cross_entropy},
    };
    printf("| pass | MB moved | ms | GB/s | bandwidth, GB/s | memory floor, ms | ratio |\n|---|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) measure_pass(of, &passes[i]);
}

// MARK: what an activation adds to its product

void print_activations(const measurement *of) {
    enum { HIDDEN = 3072, WIDTH = 768, KINDS = 3 };
    static const char *const names[KINDS] = {"none", "GELU", "GELU backward"};
    float *a = take(of->context, TOKENS * WIDTH), *b = take(of->context, WIDTH * HIDDEN);
    float *c = take(of->context, TOKENS * HIDDEN), *other = take(of->context, TOKENS * HIDDEN);
    double times[KINDS][MOST_ROUNDS];
    for (int round = -1; round < of->rounds; round++)  // round -1 warms up
        for (int kind = 0; kind < KINDS; kind++) {
            const mr_product product = {.m = TOKENS, .n = HIDDEN, .k = WIDTH, .a = a, .b = b, .lda = WIDTH, .ldb = HIDDEN,
                                        .c = c, .ldc = HIDDEN, .activation = (mr_activation)kind, .other = other,
                                        .ldother = HIDDEN};
            const double begin = seconds();
            mr_gemm(of->context, &product);
            if (round >= 0) times[kind][round] = seconds() - begin;
        }
    printf("| product 1024 x 3072 x 768 and | ms | more than alone, ms |\n|---|--:|--:|\n");
    const double alone = median(times[0], of->rounds);
    for (int kind = 0; kind < KINDS; kind++) {
        const double time = median(times[kind], of->rounds);
        printf("| %s | %.2f | %.2f |\n", names[kind], time * 1e3, (time - alone) * 1e3);
    }
    free(a), free(b), free(c), free(other);
}
