// Which instruction sets this processor has. The one place that asks.
#include "gemm.h"

bool mr_isa_supported(mr_isa isa) {
    switch (isa) {
    case MR_ISA_SCALAR: return true;
#if defined(__x86_64__)
    case MR_ISA_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case MR_ISA_AVX512_BF16:
        return mr_isa_supported(MR_ISA_AVX512) && __builtin_cpu_supports("avx512bf16") && mr_bf16_dots_are_exact();
    case MR_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if defined(__aarch64__)
    case MR_ISA_NEON: return true;
#endif
    default: return false;
    }
}

mr_isa mr_isa_best(void) {
    static const mr_isa widest_first[] = {MR_ISA_AVX512, MR_ISA_AVX2, MR_ISA_NEON};
#if defined(__x86_64__)
    if (mr_isa_supported(MR_ISA_AVX512_BF16) && mr_bf16_dots_are_faster()) return MR_ISA_AVX512_BF16;
#endif
    for (int i = 0; i < 3; i++)
        if (mr_isa_supported(widest_first[i])) return widest_first[i];
    return MR_ISA_SCALAR;
}
