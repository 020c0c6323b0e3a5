// NFC and NFKC over a byte buffer (Unicode Standard Annex 15). Invalid bytes stay as they are and separate what stands
// around them.
#ifndef MILLRACE_TEXT_NORMAL_H
#define MILLRACE_TEXT_NORMAL_H

#include "include/text.h"

typedef struct {
    uint8_t *bytes;
    size_t count, capacity;
} byte_buffer;

/// Makes room for `count` more bytes, and `padding` behind them.
bool buffer_reserve(byte_buffer *buffer, size_t count, size_t padding);
bool buffer_append(byte_buffer *buffer, const uint8_t *bytes, size_t count);

/// Appends the normal form of a text to `output`. False when memory runs out.
bool normalize(mr_form form, const uint8_t *bytes, size_t count, byte_buffer *output);
/// The largest p ≤ count such that the text before p can be normalized without knowing what follows p.
size_t normal_boundary(const uint8_t *bytes, size_t count);

#endif
