// Flat passes for avx512.
#include "optimizer.h"
#include "vector.h"

#if defined(__x86_64__)
#include "isa_avx512.h"
#include "optimizer_body.h"
#include "isa_end.h"
#endif
