// CRC-32C by the processor's own instruction, eight bytes at a time: SSE 4.2 and the optional CRC extension of ARMv8, which
// every arm64 server and Mac has. Where it is missing the caller has tables.
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
TARGET uint32_t mr_crc32c(uint32_t previous, const void *bytes, size_t count) {
    const unsigned char *p = bytes;
    uint32_t crc = ~previous;
    for (; count >= 8; count -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        crc = STEP8(crc, word);
    }
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
