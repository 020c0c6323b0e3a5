// Flat passes for neon.
#include "optimizer.h"
#include "vector.h"

#if defined(__aarch64__)
#include "isa_neon.h"
#include "optimizer_body.h"
#include "isa_end.h"
#endif
