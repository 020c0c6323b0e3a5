// The thread pool and the workspace. Workers wait for the next parallel region by spinning for a bounded time (a region
// follows the last within microseconds inside a step), then sleep; they never spin when threads outnumber CPUs, where a
// spinning thread steals from a working one. Threads draw tasks from a counter and the caller waits for tasks to be done,
// not for workers to arrive: one that wakes late, or not at all, holds nobody up.
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include "workspace.h"

enum { CACHE_LINE = 128, SPIN_NANOSECONDS = 50000, INDEX_BITS = 40 };
#define INDEX_MASK ((UINT64_C(1) << INDEX_BITS) - 1)

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

    /// The region's number above INDEX_BITS bits of its next task; all ones there: no region is open. A task is drawn
    /// by exchanging this word, so a thread that read the fields below for one region never draws from another.
    _Alignas(CACHE_LINE) _Atomic uint64_t draw;
    _Atomic int64_t tasks;
    _Atomic(void (*)(void *, int64_t, int)) work;
    _Atomic(void *) argument;
    _Alignas(CACHE_LINE) _Atomic int64_t done;         // tasks of the region that have returned
    _Alignas(CACHE_LINE) atomic_uint_fast32_t region;  // counts regions; a change wakes the workers
    _Alignas(CACHE_LINE) atomic_uint_fast32_t ended;   // counts regions whose last task has returned
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
    uint64_t draw = atomic_load(&context->draw);
    for (;;) {
        const uint64_t index = draw & INDEX_MASK;
        const int64_t tasks = atomic_load_explicit(&context->tasks, memory_order_relaxed);
        void (*work)(void *, int64_t, int) = atomic_load_explicit(&context->work, memory_order_relaxed);
        void *argument = atomic_load_explicit(&context->argument, memory_order_relaxed);
        if (index == INDEX_MASK || (int64_t)index >= tasks) return;
        if (!atomic_compare_exchange_weak(&context->draw, &draw, draw + 1)) continue;
        work(argument, (int64_t)index, worker);
        if (atomic_fetch_add(&context->done, 1) + 1 == tasks) {
            pthread_mutex_lock(&context->mutex);
            atomic_fetch_add(&context->ended, 1);
            if (context->caller_sleeps) pthread_cond_signal(&context->end);
            pthread_mutex_unlock(&context->mutex);
            return;
        }
        draw = atomic_load(&context->draw);
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
    }
}

/// Opens the next region and wakes those who sleep.
static void announce(mr_context *context) {
    pthread_mutex_lock(&context->mutex);
    atomic_fetch_add_explicit(&context->region, 1, memory_order_release);
    if (context->sleepers > 0) pthread_cond_broadcast(&context->begin);
    pthread_mutex_unlock(&context->mutex);
}

/// Waits until the count of ended regions differs from `seen`, spinning first.
static void await_end(mr_context *context, uint_fast32_t seen) {
    if (context->spins) {
        int64_t deadline = nanoseconds() + SPIN_NANOSECONDS;
        do {
            for (int i = 0; i < 64; i++) {
                if (atomic_load_explicit(&context->ended, memory_order_acquire) != seen) return;
                pause_briefly();
            }
        } while (nanoseconds() < deadline);
    }
    pthread_mutex_lock(&context->mutex);
    context->caller_sleeps = true;
    while (atomic_load_explicit(&context->ended, memory_order_acquire) == seen)
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
    const uint_fast32_t ended = atomic_load(&context->ended);
    const uint64_t region = (atomic_load(&context->draw) >> INDEX_BITS) + 1;
    atomic_store(&context->tasks, tasks);
    atomic_store(&context->work, work);
    atomic_store(&context->argument, argument);
    atomic_store(&context->done, 0);
    atomic_store(&context->draw, region << INDEX_BITS);
    announce(context);
    run_tasks(context, 0);
    await_end(context, ended);
    atomic_store(&context->draw, region << INDEX_BITS | INDEX_MASK);
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
    atomic_init(&context->draw, INDEX_MASK);
    context->scratch = aligned_alloc(64, (size_t)threads * MR_SCRATCH_FLOATS * sizeof(float));
    context->panel = aligned_alloc(64, (size_t)MR_PANEL_FLOATS * sizeof(float));
    context->handles = calloc((size_t)threads, sizeof *context->handles);
    context->arguments = calloc((size_t)threads, sizeof *context->arguments);
    pthread_mutex_init(&context->mutex, NULL);
    pthread_cond_init(&context->begin, NULL);
    pthread_cond_init(&context->end, NULL);
    bool ready = context->scratch != NULL && context->panel != NULL && context->handles != NULL &&
                 context->arguments != NULL;
    // Signals belong to the threads that asked for them: workers take none.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int worker = 1; ready && worker < threads; worker++) {
        context->arguments[worker] = (worker_argument){context, worker};
        ready = pthread_create(&context->handles[worker], NULL, run_worker, &context->arguments[worker]) == 0;
        if (ready) context->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
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
