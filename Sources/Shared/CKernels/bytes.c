// Two loops over stored ids, what tok-pack does to every frame and every row beside decompressing and copying; the scan of
// what goes into a checkpoint; and one word to the allocator, whose header Swift does not import.
#include "include/CKernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

void mr_keep_freed_memory(void) {
#if defined(__GLIBC__)
    // One arena: each would keep buffers of its own, and long ones are not asked for often enough to be in each other's way.
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

void mr_prefetch(const void *bytes, size_t count) {
    const char *p = bytes;
    for (size_t offset = 0; offset < count; offset += 64) __builtin_prefetch(p + offset);
}

#define LARGEST(TYPE)                                                \
    const unsigned char *p = bytes;                                  \
    TYPE largest = 0;                                                \
    for (size_t index = 0; index < count; index++, p += sizeof(TYPE)) { \
        TYPE value;                                                  \
        memcpy(&value, p, sizeof value);                             \
        largest = value > largest ? value : largest;                 \
    }                                                                \
    return largest

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint32_t largest16_avx2(const void *bytes, size_t count) { LARGEST(uint16_t); }
__attribute__((target("avx2"))) static uint32_t largest32_avx2(const void *bytes, size_t count) { LARGEST(uint32_t); }
#endif

static uint32_t largest16(const void *bytes, size_t count) { LARGEST(uint16_t); }
static uint32_t largest32(const void *bytes, size_t count) { LARGEST(uint32_t); }

uint32_t mr_largest(const void *bytes, size_t count, int width) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        return width == 2 ? largest16_avx2(bytes, count) : largest32_avx2(bytes, count);
    }
#endif
    return width == 2 ? largest16(bytes, count) : largest32(bytes, count);
}

// By their bits, so that no flag of the compiler can reason a NaN away.
#define ALL_FINITE                                                      \
    uint32_t found = 0;                                                 \
    for (size_t index = 0; index < count; index++) {                    \
        uint32_t bits;                                                  \
        memcpy(&bits, values + index, sizeof bits);                     \
        found |= (bits & 0x7f800000u) == 0x7f800000u ? 1u : 0u;         \
    }                                                                   \
    return found == 0

#if defined(__x86_64__)
__attribute__((target("avx2"))) static bool all_finite_avx2(const float *values, size_t count) { ALL_FINITE; }
#endif

static bool all_finite(const float *values, size_t count) { ALL_FINITE; }

bool mr_all_finite(const float *values, size_t count) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return all_finite_avx2(values, count);
#endif
    return all_finite(values, count);
}
