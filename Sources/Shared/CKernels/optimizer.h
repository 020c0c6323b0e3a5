// Between the portable half of the flat passes (optimizer.c) and their bodies, compiled once for each instruction set.
#ifndef MILLRACE_OPTIMIZER_H
#define MILLRACE_OPTIMIZER_H

#include "include/CKernels.h"

/// Elements of a block: the unit of a sum of squares (part of its definition) and of a task.
enum { MR_FLAT_BLOCK = 4096 };
/// Block sums that are gathered before they are added up.
enum { MR_FLAT_BATCH = 1024 };
/// Vectors and rounds of the task that does nothing but fused multiply-adds.
enum { MR_PEAK_STEPS = 8000 };

typedef struct {
    int64_t n;
    const float *x;
    float *y;
    double *sums;
    mr_magnitude *magnitudes;
    mr_update_squares *squares;  // NULL: not wanted
    mr_adamw_parameters parameters;
    mr_lion_parameters lion;
    mr_sgd_parameters sgd;
    mr_average_parameters average;
    float a, b;
    const float *g;
    float *p, *m, *v, *u;
} mr_flat_arguments;

typedef struct {
    void (*add)(void *argument, int64_t task, int worker);
    void (*sum_squares)(void *argument, int64_t task, int worker);
    void (*magnitude)(void *argument, int64_t task, int worker);
    void (*adamw)(void *argument, int64_t task, int worker);
    void (*lion)(void *argument, int64_t task, int worker);
    void (*sgd)(void *argument, int64_t task, int worker);
    void (*average)(void *argument, int64_t task, int worker);
    void (*combine)(void *argument, int64_t task, int worker);
    /// sums[task] = what keeps the work from being left out.
    void (*peak)(void *argument, int64_t task, int worker);
    /// Operations of such a task.
    double peak_operations;
} mr_flat_kernels;

extern const mr_flat_kernels mr_flat_kernels_scalar, mr_flat_kernels_avx2, mr_flat_kernels_avx512,
    mr_flat_kernels_neon;

#endif
