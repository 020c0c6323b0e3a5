// The rows kernels for avx2: norms_body.h and rows_body.h say what they do.
#if defined(__x86_64__)
#include <float.h>

#include "double_math.h"
#include "kernel_tables.h"
#include "vector.h"

#include "isa_avx2.h"

#include "math_body.h"
#include "norms_body.h"
#include "rows_body.h"

#include "isa_end.h"
#endif
