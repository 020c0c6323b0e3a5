// The matrix product of bf16 for processors with AVX-512 and VDPBF16PS: a tile of 14 × 32. And whether to use it.
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include "gemm.h"
#include "vector.h"

#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#include "isa_avx512bf16.h"
#define TILE_M 14
#define TILE_V 2
#include "gemm_body.h"

/// The nanoseconds of a few thousand dot products, or of as many fused multiply-adds, in chains that wait for nothing.
INLINE int64_t time_of(const bool dots) {
    int64_t best = INT64_MAX;
    for (int round = 0; round < 5; round++) {
        struct timespec begin, end;
        f16 sum[12], x = set16(1.0f);
        for (int i = 0; i < 12; i++) sum[i] = set16((float)i);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int step = 0; step < 500; step++) {
            __asm__ volatile("" : "+v"(x));
            for (int i = 0; i < 12; i++) sum[i] = dots ? dot16(x, x, sum[i]) : fma16(x, x, sum[i]);
        }
        for (int i = 0; i < 12; i++) __asm__ volatile("" : : "v"(sum[i]));
        clock_gettime(CLOCK_MONOTONIC, &end);
        const int64_t time = (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
        if (time < best) best = time;
    }
    return best;
}

bool mr_bf16_dots_are_faster(void) {
    // A dot product does the work of two; some processors take four times as long for it.
    return time_of(true) < 2 * time_of(false);
}

bool mr_bf16_dots_are_exact(void) {
    bool exact = true;
    const uint64_t before = set_flushing(true);
    for (uint32_t round = 0, state = 1; round < 64; round++) {
        uint32_t a[16], b[16];
        float sum[16], dots[16], chain[16];
        for (int i = 0; i < 16; i++) {
            // Signs and mantissas at random, exponents so near to each other that every product and sum rounds.
            a[i] = (state = state * 1664525 + 1013904223), b[i] = (state = state * 1664525 + 1013904223);
            a[i] = (a[i] & 0x807f807f) | (0x3e803f80 + (a[i] >> 5 & 0x01800180));
            b[i] = (b[i] & 0x807f807f) | (0x3f803e80 + (b[i] >> 5 & 0x01800180));
            sum[i] = (float)(int32_t)(state = state * 1664525 + 1013904223) * 0x1p-29f;
        }
        f16 x, y, low_x, low_y, high_x, high_y;
        memcpy(&x, a, sizeof x);
        memcpy(&y, b, sizeof y);
        low_x = (f16)((i16)x << 16), low_y = (f16)((i16)y << 16);
        high_x = (f16)((i16)x & (int32_t)0xffff0000), high_y = (f16)((i16)y & (int32_t)0xffff0000);
        store16(dots, dot16(x, y, load16(sum)));
        store16(chain, fma16(low_x, low_y, fma16(high_x, high_y, load16(sum))));
        if (memcmp(dots, chain, sizeof dots) != 0) exact = false;
    }
    restore_flushing(before);
    return exact;
}
#include "isa_end.h"
#endif
