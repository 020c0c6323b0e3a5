// The attention kernels for neon: attention_body.h says what they do.
#if defined(__aarch64__)
#include <float.h>

#include "kernel_tables.h"
#include "vector.h"
#include "workspace.h"

#include "isa_neon.h"

#include "math_body.h"
#include "attention_body.h"

#include "isa_end.h"
#endif
