#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <dirent.h>
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { PEAK_STEPS = 500000, PEAK_RUNS = 5, CHAINS = 12, FILL = 65536, HUGE = 1 << 21 };

static clockid_t clock_used = CLOCK_MONOTONIC;

void count_cpu_time(void) { clock_used = CLOCK_PROCESS_CPUTIME_ID; }
const char *clock_name(void) { return clock_used == CLOCK_MONOTONIC ? "wall clock" : "CPU time"; }

double seconds(void) {
    struct timespec time;
    clock_gettime(clock_used, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    return (values[count / 2] + values[(count - 1) / 2]) / 2;
}

typedef struct {
    float *memory;
    int64_t floats;
} filling;

static void fill_part(void *argument, int64_t task, int worker) {
    (void)worker;
    const filling *of = argument;
    uint32_t state = (uint32_t)task * 2654435761u + 1;
    for (int64_t i = task * FILL; i < (task + 1) * FILL && i < of->floats; i++) {
        state = state * 1664525u + 1013904223u;
        of->memory[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

float *take(mr_context *context, int64_t floats) {
    const size_t bytes = ((size_t)floats * sizeof(float) + HUGE - 1) / HUGE * HUGE;
    filling of = {aligned_alloc(HUGE, bytes), floats};
    if (of.memory == NULL) {
        fprintf(stderr, "kernels: cannot allocate %zu bytes\n", bytes);
        exit(71);
    }
#if defined(__linux__)
    madvise(of.memory, bytes, MADV_HUGEPAGE);
#endif
    mr_parallel(context, (floats + FILL - 1) / FILL, fill_part, &of);
    return of.memory;
}

void bind_threads(const mr_context *context) {
#if defined(__linux__)
    static cpu_set_t usable;
    static int cpus[CPU_SETSIZE], count = 0;
    if (count == 0) {
        sched_getaffinity(0, sizeof usable, &usable);
        for (int i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &usable)) cpus[count++] = i;
    }
    const int workers = mr_context_threads(context) - 1;
    DIR *threads = workers < count ? opendir("/proc/self/task") : NULL;
    if (threads == NULL) return;
    int index = 0;  // the folder is in order of age
    for (const struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        const pid_t thread = atoi(entry->d_name);
        if (thread == 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpus[thread == getpid() || workers == 0 ? 0 : 1 + index++ % workers], &one);
        sched_setaffinity(thread, sizeof one, &one);
    }
    closedir(threads);
#else
    (void)context;
#endif
}

// MARK: the peak. Chains start at values that only a run knows: a compiler folds one that it knows to start at the fixed point.

static volatile float chain_start = 0.25f, sink;
#define PEAK(name, width, attribute, next)                                                         \
    attribute static void name(void *argument, int64_t task, int worker) {                         \
        typedef float vector __attribute__((vector_size(width)));                                  \
        (void)argument, (void)task, (void)worker;                                                  \
        vector sum[CHAINS], x = (vector){0} + 0.999f, y = (vector){0} + 0.001f;                    \
        for (int i = 0; i < CHAINS; i++) sum[i] = (vector){0} + chain_start;                       \
        for (int step = 0; step < PEAK_STEPS; step++) {                                            \
            for (int i = 0; i < CHAINS; i++) sum[i] = next(sum[i], x, y);                          \
            __asm__ volatile("" ::: "memory");                                                     \
        }                                                                                          \
        for (int i = 1; i < CHAINS; i++) sum[0] += sum[i];                                         \
        sink = sum[0][0];                                                                          \
    }

#if defined(__x86_64__)
#define NEXT_DOT(sum, x, y) (vector)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(y))
PEAK(peak_avx512, 64, __attribute__((target("avx512f"))), __builtin_elementwise_fma)
PEAK(peak_dots, 64, __attribute__((target("avx512f,avx512bf16"))), NEXT_DOT)
PEAK(peak_avx2, 32, __attribute__((target("avx2,fma"))), __builtin_elementwise_fma)
#else
PEAK(peak_neon, 16, , __builtin_elementwise_fma)
#endif

static double rate_of(mr_context *context, void (*work)(void *, int64_t, int), int operations) {
    const int threads = mr_context_threads(context);
    double times[PEAK_RUNS];
    for (int run = -1; run < PEAK_RUNS; run++) {  // run -1 wakes the threads
        const double time = seconds();
        mr_parallel(context, threads, work, NULL);
        if (run >= 0) times[run] = seconds() - time;
    }
    return 1.0 * operations * CHAINS * PEAK_STEPS * threads / median(times, PEAK_RUNS);
}

double peak_rate(mr_context *context) {
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
    return rate_of(context, work, 2 * lanes);
}

double dot_peak_rate(mr_context *context) {
#if defined(__x86_64__)
    if (mr_isa_supported(MR_ISA_AVX512_BF16)) return rate_of(context, peak_dots, 4 * 16);
#endif
    (void)context;
    return 0;
}
