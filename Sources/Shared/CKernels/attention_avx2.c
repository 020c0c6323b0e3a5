// The attention kernels for avx2: attention_body.h says what they do.
#if defined(__x86_64__)
#include <float.h>

#include "kernel_tables.h"
#include "vector.h"
#include "workspace.h"

#include "isa_avx2.h"

#include "math_body.h"
#include "attention_body.h"

#include "isa_end.h"
#endif
