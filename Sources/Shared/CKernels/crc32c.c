// CRC-32C by the processor's own instruction, eight bytes at a time: SSE 4.2 and the optional CRC extension of ARMv8, which
// every arm64 server and Mac has. Where it is missing the caller has tables. The instruction takes three cycles and a new
// one can begin in each, so long inputs go in three lanes; a lane's register is moved past the bytes of the next one by a
// table (the register is linear in what it held before: Kounavis and Berry 2005). With AVX-512's carry-less products 256 bytes
// are folded at once (Gopal et al. 2009, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ").
#include "include/CKernels.h"

#include <string.h>

#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET __attribute__((target("sse4.2")))
#define STEP8(crc, word) ((uint32_t)__builtin_ia32_crc32di(crc, word))
#define STEP1(crc, byte) __builtin_ia32_crc32qi(crc, byte)
#elif defined(__aarch64__)
#define TARGET __attribute__((target("crc")))
#define STEP8(crc, word) __builtin_arm_crc32cd(crc, word)
#define STEP1(crc, byte) __builtin_arm_crc32cb(crc, byte)
#endif

bool mr_crc32c_supported(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2");
#elif defined(__linux__) && defined(__aarch64__)
    return (getauxval(AT_HWCAP) & 1 << 7) != 0;  // HWCAP_CRC32
#elif defined(__APPLE__) && defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

#if defined(STEP8)
enum { LANE = 512 };
/* What each byte of a register has become after LANE zero bytes. */
static uint32_t past_lane[4][256];

/* Before main, because it must be there for every thread; four microseconds. */
TARGET __attribute__((constructor)) static void make_past_lane(void) {
    if (!mr_crc32c_supported()) return;
    for (int byte = 0; byte < 4; byte++) {
        for (int bit = 0; bit < 8; bit++) {
            uint32_t crc = (uint32_t)1 << (8 * byte + bit);
            for (int step = 0; step < LANE; step += 8) crc = STEP8(crc, (uint64_t)0);
            for (int value = 1 << bit; value < 2 << bit; value++) {
                past_lane[byte][value] = past_lane[byte][value ^ 1 << bit] ^ crc;
            }
        }
    }
}

static inline uint32_t move_past_lane(uint32_t crc) {
    return past_lane[0][crc & 255] ^ past_lane[1][crc >> 8 & 255] ^ past_lane[2][crc >> 16 & 255] ^ past_lane[3][crc >> 24];
}

static inline uint64_t word_at(const unsigned char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

TARGET static uint32_t crc_in_words(uint32_t crc, const unsigned char *p, size_t count) {
    for (; count >= 8; count -= 8, p += 8) crc = STEP8(crc, word_at(p));
    for (; count > 0; count--, p++) crc = STEP1(crc, *p);
    return crc;
}

TARGET static uint32_t crc_in_lanes(uint32_t crc, const unsigned char *p, size_t count) {
    for (; count >= 3 * LANE; count -= 3 * LANE, p += 3 * LANE) {
        uint32_t second = 0, third = 0;
        for (int step = 0; step < LANE; step += 8) {
            crc = STEP8(crc, word_at(p + step));
            second = STEP8(second, word_at(p + LANE + step));
            third = STEP8(third, word_at(p + 2 * LANE + step));
        }
        crc = move_past_lane(move_past_lane(crc) ^ second) ^ third;
    }
    return crc_in_words(crc, p, count);
}

#if defined(__x86_64__)
#define FOLDING __attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.2")))

/* 128 bits are a polynomial, bit 0 of the lower half being x^127. Moved past D bits its halves are multiplied by x^(64 + D)
   and x^D; a product of two reflected halves comes out multiplied by x, so the factors are those powers over x, modulo the
   CRC's polynomial, each in the upper half of 64 bits. Two each for 256 and for 64 bytes. */
static uint64_t past_256[2], past_64[2];
static bool folds;

static uint64_t power_of_x(int exponent) {
    uint32_t power = (uint32_t)1 << 31;
    while (exponent-- > 0) power = power >> 1 ^ (power & 1 ? 0x82F63B78 : 0);
    return (uint64_t)power << 32;
}

__attribute__((constructor)) static void make_folds(void) {
    for (int half = 0; half < 2; half++) {
        past_256[half] = power_of_x(8 * 256 + (half ? -1 : 63));
        past_64[half] = power_of_x(8 * 64 + (half ? -1 : 63));
    }
    folds = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq") && mr_crc32c_supported();
}

FOLDING static inline __m512i fold(__m512i lanes, __m512i factors, __m512i next) {
    const __m512i low = _mm512_clmulepi64_epi128(lanes, factors, 0x00);
    const __m512i high = _mm512_clmulepi64_epi128(lanes, factors, 0x11);
    return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

/* `count` is 256 or more. */
FOLDING static uint32_t crc_by_folding(uint32_t crc, const unsigned char *p, size_t count) {
    const __m512i far = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)past_256[1], (long long)past_256[0]));
    const __m512i near = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)past_64[1], (long long)past_64[0]));
    __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + 64);
    __m512i c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    for (p += 256, count -= 256; count >= 256; p += 256, count -= 256) {
        a = fold(a, far, _mm512_loadu_si512(p));
        b = fold(b, far, _mm512_loadu_si512(p + 64));
        c = fold(c, far, _mm512_loadu_si512(p + 128));
        d = fold(d, far, _mm512_loadu_si512(p + 192));
    }
    d = fold(fold(fold(a, near, b), near, c), near, d);
    for (; count >= 64; p += 64, count -= 64) d = fold(d, near, _mm512_loadu_si512(p));
    unsigned char rest[64];
    _mm512_storeu_si512(rest, d);
    return crc_in_words(crc_in_words(0, rest, sizeof rest), p, count);
}
#endif

uint32_t mr_crc32c(uint32_t previous, const void *bytes, size_t count) {
#if defined(__x86_64__)
    if (folds && count >= 256) return ~crc_by_folding(~previous, bytes, count);
#endif
    return ~crc_in_lanes(~previous, bytes, count);
}

uint32_t mr_crc32c_lanes(uint32_t previous, const void *bytes, size_t count) {
    return ~crc_in_lanes(~previous, bytes, count);
}
#else
uint32_t mr_crc32c(uint32_t previous, const void *bytes, size_t count) {
    (void)bytes;
    (void)count;
    return previous;
}

uint32_t mr_crc32c_lanes(uint32_t previous, const void *bytes, size_t count) { return mr_crc32c(previous, bytes, count); }
#endif
