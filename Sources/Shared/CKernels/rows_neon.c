// The rows kernels for neon: norms_body.h and rows_body.h say what they do.
#if defined(__aarch64__)
#include <float.h>

#include "double_math.h"
#include "kernel_tables.h"
#include "vector.h"

#include "isa_neon.h"

#include "math_body.h"
#include "norms_body.h"
#include "rows_body.h"

#include "isa_end.h"
#endif
