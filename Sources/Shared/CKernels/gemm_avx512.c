// The matrix product for avx512: a tile of 14 × 32.
#include "gemm.h"
#include "vector.h"

#if defined(__x86_64__)
#include "isa_avx512.h"
#define TILE_M 14
#define TILE_V 2
#include "gemm_body.h"
#include "isa_end.h"
#endif
