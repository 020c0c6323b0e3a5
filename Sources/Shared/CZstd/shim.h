// ZSTD_STATIC_LINKING_ONLY stays undefined: only the stable API of libzstd is used.
#include <zstd.h>
#include <zstd_errors.h>
