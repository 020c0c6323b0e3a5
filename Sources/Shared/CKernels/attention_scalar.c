// The attention kernels for scalar: attention_body.h says what they do.
#include <float.h>

#include "kernel_tables.h"
#include "vector.h"
#include "workspace.h"

#include "isa_scalar.h"

#include "math_body.h"
#include "attention_body.h"

#include "isa_end.h"
