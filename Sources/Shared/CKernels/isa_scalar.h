// Opens the scalar target: include after every system header and before vector_ops.h and the bodies; close with isa_end.h.
#define NAME(x) x##_scalar
#define MR_ISA_IS_SCALAR 1
#define MR_ISA_HAS_DOT 0
#include "vector_ops.h"
