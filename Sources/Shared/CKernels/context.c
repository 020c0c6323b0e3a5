// The thread pool and the workspace. Workers wait for the next parallel region by spinning for a bounded time (a region
// follows the last within microseconds inside a step), then sleep; they never spin when threads outnumber CPUs, where a
// spinning thread steals from a working one. Measured beside concurrentPerform and task groups: an empty region of two
// threads costs about 0.2 µs while spinning (Benchmarks/README.md).
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include "workspace.h"

enum { CACHE_LINE = 128, SPIN_NANOSECONDS = 50000 };

typedef struct {
    mr_context *context;
    int worker;
} worker_argument;

struct mr_context {
    int threads;
    mr_isa isa;
    bool spins;
    float *scratch;
    float *panel;

    void (*work)(void *argument, int64_t task, int worker);
    void *argument;
    int64_t tasks;

    _Alignas(CACHE_LINE) atomic_int_fast64_t next;     // the next task of the region
    _Alignas(CACHE_LINE) atomic_uint_fast32_t region;  // counts regions; a change wakes the workers
    _Alignas(CACHE_LINE) atomic_int_fast32_t busy;     // workers still inside the region
    atomic_bool closing;

    pthread_mutex_t mutex;
    pthread_cond_t begin, end;
    int sleepers;  // guarded by mutex
    bool caller_sleeps;

    pthread_t *handles;
    worker_argument *arguments;
    int started;
};

static int usable_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

static int64_t nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void run_tasks(mr_context *context, int worker) {
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&context->next, 1, memory_order_relaxed);
        if (task >= context->tasks) return;
        context->work(context->argument, task, worker);
    }
}

/// Waits until the region counter differs from `seen`, spinning first; returns its new value.
static uint_fast32_t await_region(mr_context *context, uint_fast32_t seen) {
    uint_fast32_t region;
    if (context->spins) {
        int64_t deadline = nanoseconds() + SPIN_NANOSECONDS;
        do {
            for (int i = 0; i < 64; i++) {
                region = atomic_load_explicit(&context->region, memory_order_acquire);
                if (region != seen) return region;
                pause_briefly();
            }
        } while (nanoseconds() < deadline);
    }
    pthread_mutex_lock(&context->mutex);
    context->sleepers++;
    while ((region = atomic_load_explicit(&context->region, memory_order_acquire)) == seen)
        pthread_cond_wait(&context->begin, &context->mutex);
    context->sleepers--;
    pthread_mutex_unlock(&context->mutex);
    return region;
}

static void *run_worker(void *pointer) {
    worker_argument *self = pointer;
    mr_context *context = self->context;
    uint_fast32_t seen = 0;
    for (;;) {
        seen = await_region(context, seen);
        if (atomic_load_explicit(&context->closing, memory_order_acquire)) return NULL;
        run_tasks(context, self->worker);
        if (atomic_fetch_sub_explicit(&context->busy, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&context->mutex);
            if (context->caller_sleeps) pthread_cond_signal(&context->end);
            pthread_mutex_unlock(&context->mutex);
        }
    }
}

/// Opens the next region and wakes those who sleep.
static void announce(mr_context *context) {
    pthread_mutex_lock(&context->mutex);
    atomic_fetch_add_explicit(&context->region, 1, memory_order_release);
    if (context->sleepers > 0) pthread_cond_broadcast(&context->begin);
    pthread_mutex_unlock(&context->mutex);
}

static void await_workers(mr_context *context) {
    int64_t deadline = context->spins ? nanoseconds() + SPIN_NANOSECONDS : 0;
    for (;;) {
        for (int i = 0; i < 64; i++) {
            if (atomic_load_explicit(&context->busy, memory_order_acquire) == 0) return;
            if (!context->spins) break;
            pause_briefly();
        }
        if (!context->spins || nanoseconds() >= deadline) break;
    }
    pthread_mutex_lock(&context->mutex);
    context->caller_sleeps = true;
    while (atomic_load_explicit(&context->busy, memory_order_acquire) != 0)
        pthread_cond_wait(&context->end, &context->mutex);
    context->caller_sleeps = false;
    pthread_mutex_unlock(&context->mutex);
}

void mr_parallel(mr_context *context, int64_t tasks, void (*work)(void *argument, int64_t task, int worker),
                 void *argument) {
    if (tasks <= 0) return;
    if (context->threads == 1 || tasks == 1) {
        for (int64_t task = 0; task < tasks; task++) work(argument, task, 0);
        return;
    }
    context->work = work;
    context->argument = argument;
    context->tasks = tasks;
    atomic_store_explicit(&context->next, 0, memory_order_relaxed);
    atomic_store_explicit(&context->busy, context->threads - 1, memory_order_relaxed);
    announce(context);
    run_tasks(context, 0);
    await_workers(context);
}

mr_context *mr_context_create(int threads, mr_isa isa) {
    if (!mr_isa_supported(isa) || threads < 0 || threads > 1024) return NULL;
    int processors = usable_processors();
    if (threads == 0) threads = processors;
    mr_context *context = aligned_alloc(CACHE_LINE, (sizeof *context + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    if (context == NULL) return NULL;
    memset(context, 0, sizeof *context);
    context->threads = threads;
    context->isa = isa;
    context->spins = threads <= processors;
    context->scratch = aligned_alloc(64, (size_t)threads * MR_SCRATCH_FLOATS * sizeof(float));
    context->panel = aligned_alloc(64, (size_t)MR_PANEL_FLOATS * sizeof(float));
    context->handles = calloc((size_t)threads, sizeof *context->handles);
    context->arguments = calloc((size_t)threads, sizeof *context->arguments);
    pthread_mutex_init(&context->mutex, NULL);
    pthread_cond_init(&context->begin, NULL);
    pthread_cond_init(&context->end, NULL);
    bool ready = context->scratch != NULL && context->panel != NULL && context->handles != NULL &&
                 context->arguments != NULL;
    for (int worker = 1; ready && worker < threads; worker++) {
        context->arguments[worker] = (worker_argument){context, worker};
        ready = pthread_create(&context->handles[worker], NULL, run_worker, &context->arguments[worker]) == 0;
        if (ready) context->started++;
    }
    if (!ready) {
        mr_context_destroy(context);
        return NULL;
    }
    return context;
}

void mr_context_destroy(mr_context *context) {
    if (context == NULL) return;
    atomic_store_explicit(&context->closing, true, memory_order_release);
    announce(context);
    for (int worker = 1; worker <= context->started; worker++) pthread_join(context->handles[worker], NULL);
    pthread_cond_destroy(&context->end);
    pthread_cond_destroy(&context->begin);
    pthread_mutex_destroy(&context->mutex);
    free(context->arguments);
    free(context->handles);
    free(context->panel);
    free(context->scratch);
    free(context);
}

int mr_context_threads(const mr_context *context) { return context->threads; }
mr_isa mr_context_isa(const mr_context *context) { return context->isa; }

size_t mr_context_bytes(const mr_context *context) {
    return ((size_t)context->threads * MR_SCRATCH_FLOATS + MR_PANEL_FLOATS) * sizeof(float);
}

float *mr_context_scratch(mr_context *context, int worker) {
    return context->scratch + (size_t)worker * MR_SCRATCH_FLOATS;
}

float *mr_context_panel(mr_context *context) { return context->panel; }
