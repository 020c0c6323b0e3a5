// What a context holds for kernels: scratch of fixed size for each worker. Made once; nothing allocates in a kernel.
#ifndef MILLRACE_WORKSPACE_H
#define MILLRACE_WORKSPACE_H

#include "include/CKernels.h"

/// Floats of scratch a worker has: an attention tile pair of 32 queries and 64 keys at head width 256, or its own packed
/// operand of a matrix product.
enum { MR_SCRATCH_FLOATS = 131072 };
/// Floats of the packed operand that all workers share in a matrix product.
enum { MR_PANEL_FLOATS = MR_GEMM_KC * 8192 };

/// Worker's scratch, 64-byte aligned.
float *mr_context_scratch(mr_context *context, int worker);
/// The shared panel, 64-byte aligned.
float *mr_context_panel(mr_context *context);

#endif
