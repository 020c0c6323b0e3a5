// What the parts of the kernel benchmark share: a clock, medians, memory like the engine's, the processor's own peak.
#ifndef MILLRACE_MEASURE_H
#define MILLRACE_MEASURE_H

#include <string.h>

#include "CKernels.h"

enum { MOST_ROUNDS = 99, NAME = 64 };

typedef struct {
    mr_context *context;
    int rounds;
    const char *precision;  // of the products
} measurement;

/// Counts the process's own CPU time instead of the wall clock: fair to one thread on a machine that others use.
void count_cpu_time(void);
const char *clock_name(void);
double seconds(void);
/// Sorts `values`.
double median(double *values, int count);

/// Memory in huge pages where the machine gives them, as the engine takes it, holding numbers in -1 ..< 1. Ends the process
/// when there is none.
float *take(mr_context *context, int64_t floats);

/// Gives each thread that computes a CPU of its own (Linux): the caller the first, others by their age. A scheduler with another
/// process to place puts two young threads on one CPU for longer than a measurement takes. To be called again when a rival
/// has started as many threads.
void bind_threads(const mr_context *context);

/// FLOP/s of chains of fused multiply-adds that touch no memory, on all threads together.
double peak_rate(mr_context *context);
/// The same of chains of VDPBF16PS, each lane of which is two products and two sums. 0: the processor has none.
double dot_peak_rate(mr_context *context);

/// x to the nearest bf16, ties to even; not for NaN.
static inline uint16_t bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/// products.c: the table of one precision. Children measure one shape for one contender and are started by the parent.
void print_products(const measurement *of, const char *program);
int measure_product(const measurement *of, int contender, int shape);
/// The first of these libraries that is there, or NULL. `names` ends with NULL.
void *library(const char *const *names);

/// onednn.c: contenders of products.c.
bool open_onednn(int threads, char name[NAME]);
void multiply_onednn(mr_context *context, const mr_product *product);
bool open_onednn_bf16(int threads, char name[NAME]);
void multiply_onednn_bf16(mr_context *context, const mr_product *product);

/// passes.c: attention beside its arithmetic, and what moves memory beside copies and reads.
void print_attention(const measurement *of);
void print_passes(const measurement *of);
/// What GELU costs inside a product.
void print_activations(const measurement *of);

#endif
