// A counter-based generator: a number is a pure function of (seed, purpose, step, index), so nothing depends on who asks
// first or in which order. Four rounds of the splitmix64 finalizer (Steele, Lea & Flood 2014), each taking in one word.
#include "double_math.h"
#include "include/CKernels.h"

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

uint64_t mr_random_bits(uint64_t seed, uint64_t purpose, uint64_t step, uint64_t index) {
    uint64_t state = mix(seed + 0x9e3779b97f4a7c15ULL);
    state = mix(state ^ (purpose + 0xd1b54a32d192ed03ULL));
    state = mix(state ^ (step + 0x8cb92ba72f3d8dd7ULL));
    return mix(state + index * 0x9e3779b97f4a7c15ULL);
}

void mr_random_normal(uint64_t seed, uint64_t purpose, uint64_t step, uint64_t first, int64_t n, float deviation,
                      float *out) {
    for (int64_t i = 0; i < n; i++) {
        // Box & Muller 1958. An index takes one pair of uniforms and one of the two normals, so that any range of
        // indices can be filled alone.
        uint64_t index = first + (uint64_t)i;
        uint64_t a = mr_random_bits(seed, purpose, step, 2 * index);
        uint64_t b = mr_random_bits(seed, purpose, step, 2 * index + 1);
        double u = ((double)(a >> 11) + 1.0) * 0x1p-53;  // (0, 1]
        double angle = (double)(b >> 11) * 0x1p-53 * 6.28318530717958647693;
        double sine, cosine;
        double_sincos(angle, &sine, &cosine);
        out[i] = (float)(sqrt(-2.0 * double_log(u)) * cosine * (double)deviation);
    }
}
