// The matrix product beside OpenBLAS and the processor's own peak, and AdamW beside memcpy. All are measured in the same
// run, interleaved, so that a change of clock or a busy neighbour meets both sides; medians of several. Built and run by
// Benchmarks/kernels.sh.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "CKernels.h"

enum { ROUNDS = 9, PEAK_STEPS = 500000 };

/// The process's own CPU time (MILLRACE_BENCH_CPU_TIME=1: fair on a machine that others use) or the wall clock.
static clockid_t clock_used = CLOCK_MONOTONIC;

static double seconds(void) {
    struct timespec time;
    clock_gettime(clock_used, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times) {
    qsort(times, ROUNDS, sizeof *times, ascending);
    return times[ROUNDS / 2];
}

static void *take(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "kernels: cannot allocate %zu bytes\n", bytes);
        exit(71);
    }
    return memory;
}

// MARK: the peak: twelve chains of fused multiply-adds that touch no memory

static volatile float sink;
#define PEAK(name, width, attribute)                                                              \
    attribute static void name(void *argument, int64_t task, int worker) {                        \
        typedef float vector __attribute__((vector_size(width)));                                 \
        (void)argument, (void)worker;                                                             \
        vector sum[12], x = (vector){0} + 0.999f, y = (vector){0} + 0.001f;                       \
        for (int i = 0; i < 12; i++) sum[i] = (vector){0} + (float)(task + i);                    \
        for (int step = 0; step < PEAK_STEPS; step++) {                                           \
            for (int i = 0; i < 12; i++) sum[i] = __builtin_elementwise_fma(sum[i], x, y);        \
            __asm__ volatile("" ::: "memory");                                                    \
        }                                                                                         \
        for (int i = 1; i < 12; i++) sum[0] += sum[i];                                            \
        sink = sum[0][0];                                                                         \
    }

#if defined(__x86_64__)
PEAK(peak_avx512, 64, __attribute__((target("avx512f"))))
PEAK(peak_avx2, 32, __attribute__((target("avx2,fma"))))
#else
PEAK(peak_neon, 16, )
#endif

/// Seconds that one run of the chains takes on all threads together, and how many operations that is.
static double time_peak(mr_context *context, double *operations) {
    void (*work)(void *, int64_t, int);
    int lanes;
#if defined(__x86_64__)
    // The processor's peak, whatever instruction set the kernels were told to use.
    lanes = mr_isa_supported(MR_ISA_AVX512) ? 16 : 8;
    work = lanes == 16 ? peak_avx512 : peak_avx2;
#else
    lanes = 4;
    work = peak_neon;
#endif
    const int threads = mr_context_threads(context);
    *operations = 2.0 * 12 * lanes * PEAK_STEPS * threads;
    const double time = seconds();
    mr_parallel(context, threads, work, NULL);
    return seconds() - time;
}

// MARK: the matrix product

typedef void sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a,
                   int lda, const float *b, int ldb, float beta, float *c, int ldc);

static sgemm *open_blas(int threads) {
    void *library = dlopen("libopenblas.so.0", RTLD_NOW);
    if (library == NULL) return NULL;
    void (*set_threads)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
    if (set_threads != NULL) set_threads(threads);
    return (sgemm *)dlsym(library, "cblas_sgemm");
}

typedef struct {
    const char *name;
    bool transpose_a, transpose_b;
    int64_t m, n, k, period;
} shape;

static const shape shapes[] = {
    // Six layers, 384 wide, 16 x 256 tokens: forward, input gradient, weight gradients.
    {"small qkv", false, true, 4096, 1152, 384, 0},
    {"small attention out", false, true, 4096, 384, 384, 0},
    {"small gate and up", false, true, 4096, 2048, 384, 0},
    {"small down", false, true, 4096, 384, 1024, 0},
    {"small head", false, true, 4096, 512, 384, 0},
    {"small input gradient", false, false, 4096, 384, 2048, 0},
    {"small qkv weights", true, false, 1152, 384, 4096, 256},
    {"small gate weights", true, false, 2048, 384, 4096, 256},
    // GPT-2 124M at 256 and 1024 rows.
    {"gpt2 qkv", false, true, 256, 2304, 768, 0},
    {"gpt2 up", false, true, 1024, 3072, 768, 0},
    {"gpt2 down", false, true, 1024, 768, 3072, 0},
    {"gpt2 attention out", false, true, 1024, 768, 768, 0},
    {"gpt2 head", false, true, 256, 50304, 768, 0},
    {"gpt2 head weights", true, false, 50304, 768, 256, 256},
    // One token while generating text: bound by memory, not by arithmetic.
    {"one token qkv", false, true, 1, 2304, 768, 0},
};

static void measure_gemm(mr_context *context, sgemm *blas, const shape *s) {
    const int64_t lda = s->transpose_a ? s->m : s->k, ldb = s->transpose_b ? s->k : s->n;
    float *a = take((size_t)(s->m * s->k) * sizeof *a), *b = take((size_t)(s->n * s->k) * sizeof *b);
    float *c = take((size_t)(s->m * s->n) * sizeof *c);
    mr_random_normal(1, 1, 0, 0, s->m * s->k, 1, a);
    mr_random_normal(1, 2, 0, 0, s->n * s->k, 1, b);
    memset(c, 0, (size_t)(s->m * s->n) * sizeof *c);
    double ours[ROUNDS], theirs[ROUNDS], peaks[ROUNDS], peak_operations = 0;
    const double operations = 2.0 * (double)s->m * (double)s->n * (double)s->k;
    const int repeats = operations < 1e9 ? (int)(1e9 / operations) + 1 : 1;
    for (int round = -1; round < ROUNDS; round++) {  // round -1 warms both up
        const double peak_time = time_peak(context, &peak_operations);
        if (round >= 0) peaks[round] = peak_time;
        double time = seconds();
        for (int i = 0; i < repeats; i++)
            mr_gemm(context, s->transpose_a, s->transpose_b, s->m, s->n, s->k, a, lda, b, ldb, c, s->n, false, s->period);
        if (round >= 0) ours[round] = (seconds() - time) / repeats;
        if (blas == NULL) continue;
        time = seconds();
        for (int i = 0; i < repeats; i++)
            blas(101, s->transpose_a ? 112 : 111, s->transpose_b ? 112 : 111, (int)s->m, (int)s->n, (int)s->k, 1, a,
                 (int)lda, b, (int)ldb, 0, c, (int)s->n);
        if (round >= 0) theirs[round] = (seconds() - time) / repeats;
    }
    const double rate = operations / median(ours);
    printf("%-22s %c%c %6lld %6lld %5lld %9.1f %7.1f %7.1f", s->name, s->transpose_a ? 'T' : 'N', s->transpose_b ? 'T' : 'N',
           (long long)s->m, (long long)s->n, (long long)s->k, rate * 1e-9,
           peak_operations / median(peaks) * 1e-9, 100 * rate * median(peaks) / peak_operations);
    if (blas == NULL)
        printf("   not run       -\n");
    else
        printf(" %9.1f %7.2f\n", operations / median(theirs) * 1e-9, rate * median(theirs) / operations);
    fflush(stdout);
    free(a), free(b), free(c);
}

// MARK: AdamW, which moves seven floats a parameter (reads p, m, v, g; writes p, m, v)

static void copy_part(void *argument, int64_t task, int worker) {
    (void)worker;
    float **both = argument;
    memcpy(both[1] + task * 65536, both[0] + task * 65536, 65536 * sizeof(float));
}

static void measure_adamw(mr_context *context) {
    const int64_t n = INT64_C(512) * 65536;  // 128 MiB an array: larger than any cache
    float *arrays[4];
    for (int i = 0; i < 4; i++) {
        arrays[i] = take((size_t)n * sizeof(float));
        for (int64_t j = 0; j < n; j++) arrays[i][j] = 0.25f;
    }
    const mr_adamw_parameters parameters = {1, 0.1f, 0.05f, 1e-4f, 1e-3f, 1.5f, 1e-8f};
    double ours[ROUNDS], copies[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double time = seconds();
        mr_adamw(context, n, parameters, arrays[0], arrays[1], arrays[2], arrays[3]);
        ours[round] = seconds() - time;
        time = seconds();
        mr_parallel(context, n / 65536, copy_part, arrays);
        copies[round] = seconds() - time;
    }
    const double bytes = (double)n * sizeof(float);
    const double rate = 7 * bytes / median(ours), copy = 2 * bytes / median(copies);
    printf("adamw %.1f GB/s, memcpy %.1f GB/s, ratio %.2f\n", rate * 1e-9, copy * 1e-9, rate / copy);
    for (int i = 0; i < 4; i++) free(arrays[i]);
}

int main(int count, char **arguments) {
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
    const int threads = count > 1 ? atoi(arguments[1]) : 0;
    const char *chosen = getenv("MILLRACE_ISA"), *cpu = getenv("MILLRACE_BENCH_CPU_TIME");
    if (cpu != NULL && strcmp(cpu, "1") == 0) clock_used = CLOCK_PROCESS_CPUTIME_ID;
    mr_isa isa = mr_isa_best();
    for (int i = 0; i < 4; i++)
        if (chosen != NULL && strcmp(chosen, names[i]) == 0) isa = (mr_isa)i;
    mr_context *context = mr_context_create(threads, isa);
    if (context == NULL) {
        fprintf(stderr, "kernels: cannot start %d threads of %s\n", threads, names[isa]);
        return 64;
    }
    if (clock_used != CLOCK_MONOTONIC && mr_context_threads(context) > 1) {
        fprintf(stderr, "kernels: MILLRACE_BENCH_CPU_TIME needs one thread\n");
        return 64;
    }
    if (count > 2 && strcmp(arguments[2], "--peak") == 0) {
        // The best of many short runs, GFLOP/s alone on a line: what a whole tool is held against.
        double best = 0;
        for (int run = 0; run < 20; run++) {
            double operations, time = time_peak(context, &operations);
            if (operations / time > best) best = operations / time;
        }
        printf("%.1f\n", best * 1e-9);
        return 0;
    }
    sgemm *blas = open_blas(mr_context_threads(context));
    printf("%s, %d threads, %s clock; OpenBLAS %s\n\n", names[isa], mr_context_threads(context),
           clock_used == CLOCK_MONOTONIC ? "wall" : "cpu",
           blas ? "beside it" : "not run: libopenblas0-pthread is missing");
    printf("%-22s %2s %6s %6s %5s %9s %7s %7s %9s %7s\n", "product", "", "m", "n", "k", "GFLOP/s", "peak", "% peak", "OpenBLAS",
           "ratio");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) measure_gemm(context, blas, &shapes[i]);
    printf("\n");
    measure_adamw(context);
    mr_context_destroy(context);
    return 0;
}
