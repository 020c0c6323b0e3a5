// Flat passes for scalar.
#include "optimizer.h"
#include "vector.h"

#include "isa_scalar.h"
#include "optimizer_body.h"
#include "isa_end.h"
