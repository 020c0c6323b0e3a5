// The matrix product for scalar: a tile of 4 × 16.
#include "gemm.h"
#include "vector.h"

#include "isa_scalar.h"
#define TILE_M 4
#define TILE_V 1
#include "gemm_body.h"
#include "isa_end.h"

