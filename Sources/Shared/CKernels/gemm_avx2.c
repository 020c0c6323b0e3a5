// The matrix product for avx2: a tile of 6 × 16.
#include "gemm.h"
#include "vector.h"

#if defined(__x86_64__)
#include "isa_avx2.h"
#define TILE_M 6
#define TILE_V 1
#include "gemm_body.h"
#include "isa_end.h"
#endif
