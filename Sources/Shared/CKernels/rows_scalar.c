// The rows kernels for scalar: norms_body.h and rows_body.h say what they do.
#include <float.h>

#include "double_math.h"
#include "kernel_tables.h"
#include "vector.h"

#include "isa_scalar.h"

#include "math_body.h"
#include "norms_body.h"
#include "rows_body.h"

#include "isa_end.h"
