// One logical vector of 16 floats on every instruction set: a zmm register, two ymm, four NEON q registers, or 16
// scalars. Kernels are written once against it (files *_body.h) and compiled once for each set (isa_*.h opens the
// target, NAME(x) gives the symbol), so equal bits hold by construction: lane layout and order of sums never depend on
// the hardware's width. Contraction is off: a fused multiply-add happens exactly where `fma16` is written.
#ifndef MILLRACE_VECTOR_H
#define MILLRACE_VECTOR_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF
// Vectors cross no call: every function that takes or gives one is INLINE, so no ABI can differ.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float f16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef double d8 __attribute__((vector_size(64)));

#define INLINE static inline __attribute__((always_inline, unused))

#endif
