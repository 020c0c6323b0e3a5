// The inner loops over metrics.jsonl: finding the values in flat JSON lines, and copying them into rows of text, without
// turning a number into a double and back. What is not plain (escapes, UTF-8, errors) is left to the strict parser.
#ifndef MILLRACE_FLAT_H
#define MILLRACE_FLAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MR_FLAT_MISSING = 0,
    MR_FLAT_NULL = 1,
    MR_FLAT_INTEGER = 2,  // at most 18 digits
    MR_FLAT_NUMBER = 3,   // with a fraction or an exponent, as JSON spells it, and in the range of doubles
    MR_FLAT_NAN = 4,
    MR_FLAT_INFINITY = 5,
    MR_FLAT_MINUS_INFINITY = 6,
    MR_FLAT_PLAIN = 7,    // a string of printable ASCII without quotes and backslashes; its place is without the quotes
    MR_FLAT_STRING = 8,   // any other string, decoded; never found here, but refused when a row is written
};

/// A value and where it lies.
typedef struct {
    int32_t key;
    int32_t kind;
    uint32_t offset;
    uint32_t length;
} mr_flat_cell;

/// A line: cells [first, first + count).
typedef struct {
    int64_t step;
    uint32_t first;
    uint32_t count;
    uint32_t offset;
    uint32_t length;  // with its newline
} mr_flat_line;

/// The keys known so far. Key k is text[starts[k] ..< starts[k + 1]], in quotes. bases[k] is the key whose companion k is,
/// or -1. successors[k + 1] is the key that came after k the last time (successors[0]: the first of a line). stamps[k] is
/// *stamp when the key was in the line that is being read.
typedef struct {
    const uint8_t *text;
    const uint32_t *starts;
    const int32_t *bases;
    int32_t *successors;
    uint32_t *stamps;
    uint32_t *stamp;
    int32_t count;
} mr_flat_keys;

/// Reads whole lines of bytes[begin ..< end]. Key 0 is `step`. Stops before a line that is not plain (*is_plain becomes 0), at
/// a line that has no end yet, or when lines or cells are full; *consumed is where. Returns the number of lines.
size_t mr_flat_lines(const uint8_t *bytes, size_t begin, size_t end, const mr_flat_keys *keys, mr_flat_cell *cells,
                     size_t cell_capacity, mr_flat_line *lines, size_t line_capacity, size_t *consumed, int *is_plain);

/// Writes a row: head (before the step), the step, then for each cell its label (labels[label_starts[i] ..< label_starts[i +
/// 1]]) and its value, then tail. Nothing and null are null in JSON, where strings get quotes, and empty otherwise. Returns the bytes
/// written, or 0 when `out` may be too small, or -1 when the row holds something that needs more thought: a MR_FLAT_STRING, a string that
/// CSV must quote, a number that is not finite in JSON.
long mr_flat_row(uint8_t *out, size_t capacity, int64_t step, const uint8_t *bytes, const mr_flat_cell *cells, size_t count,
                 const uint8_t *labels, const uint32_t *label_starts, const uint8_t *head, size_t head_length,
                 const uint8_t *tail, size_t tail_length, int is_json);

/// The double that a JSON number of `count` bytes is, when that is exact in one multiplication or division (Clinger 1990):
/// a mantissa under 2^53 and a power of ten up to 22. Returns 0 when it is not so easy.
int mr_flat_double(const uint8_t *text, size_t count, double *value);

#ifdef __cplusplus
}
#endif

#endif
