// CRC-32C by the processor's own instruction, eight bytes at a time: SSE 4.2 and the optional CRC extension of ARMv8, which
// every arm64 server and Mac has. Where it is missing the caller has tables. The instruction takes three cycles and a new
// one can begin in each, so long inputs go in three lanes; a lane's register is moved past the bytes of the next one by a
// table (the register is linear in what it held before: Kounavis and Berry 2005).
#include "include/CKernels.h"

#include <string.h>

#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
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

TARGET uint32_t mr_crc32c(uint32_t previous, const void *bytes, size_t count) {
    const unsigned char *p = bytes;
    uint32_t crc = ~previous;
    for (; count >= 3 * LANE; count -= 3 * LANE, p += 3 * LANE) {
        uint32_t second = 0, third = 0;
        for (int step = 0; step < LANE; step += 8) {
            crc = STEP8(crc, word_at(p + step));
            second = STEP8(second, word_at(p + LANE + step));
            third = STEP8(third, word_at(p + 2 * LANE + step));
        }
        crc = move_past_lane(move_past_lane(crc) ^ second) ^ third;
    }
    for (; count >= 8; count -= 8, p += 8) crc = STEP8(crc, word_at(p));
    for (; count > 0; count--, p++) crc = STEP1(crc, *p);
    return ~crc;
}
#else
uint32_t mr_crc32c(uint32_t previous, const void *bytes, size_t count) {
    (void)bytes;
    (void)count;
    return previous;
}
#endif
