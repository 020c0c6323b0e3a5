// What the processors can do: the denominator of "fraction of peak". Measured, because no table knows the clock that this
// machine runs at, and where the processors are somebody else's too.
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include "dispatch.h"
#include "optimizer.h"

#include <time.h>

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

double mr_peak_rate(mr_context *context) {
    const mr_flat_kernels *kernels = MR_KERNELS(mr_flat_kernels, context);
    const int threads = mr_context_threads(context);
    double sums[1024], best = 0;
    float x[16];
    for (int i = 0; i < 16; i++) x[i] = 1.0f;
    mr_flat_arguments arguments = {.x = x, .sums = sums};
    const double begin = seconds();
    // The first ones wake the threads.
    for (int round = 0; round < 3 || seconds() - begin < 0.01; round++) {
        const double before = seconds();
        mr_parallel(context, threads, kernels->peak, &arguments);
        const double rate = threads * kernels->peak_operations / (seconds() - before);
        if (rate > best) best = rate;
    }
    return best;
}
