// The matrix product for neon: a tile of 6 × 16.
#include "gemm.h"
#include "vector.h"

#if defined(__aarch64__)
#include "isa_neon.h"
#define TILE_M 6
#define TILE_V 1
#include "gemm_body.h"
#include "isa_end.h"
#endif
