// The inner loops over text: cutting it into pre-tokens and merging their bytes into ids (byte-level BPE), and the
// normal forms NFC and NFKC. Nothing here knows a tokenizer's file: vocabularies, merges and the choice of a pattern are
// handed in. docs/formats/tokenizer.md says what each pattern means and how invalid UTF-8 is treated.
#ifndef MILLRACE_TEXT_H
#define MILLRACE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// How text is cut into pre-tokens: one scanner a family of regular expressions.
typedef enum {
    MR_PATTERN_NONE = 0,      // a segment is one pre-token
    MR_PATTERN_GPT2 = 1,      // GPT-2, r50k, p50k
    MR_PATTERN_CL100K = 2,    // cl100k, Llama 3: numbers in groups of three
    MR_PATTERN_QWEN = 3,      // as cl100k, numbers one by one
    MR_PATTERN_O200K = 4,     // o200k: case-aware words
    MR_PATTERN_TEKKEN = 5,    // as o200k without contractions, numbers one by one
    MR_PATTERN_DEEPSEEK = 6,  // DeepSeek V3: numbers, then Han and Kana, then the rest
    MR_PATTERN_CL100K_TIKTOKEN = 7,  // as cl100k, but white space that ends a segment is one pre-token
} mr_pattern;

typedef enum { MR_FORM_NONE = 0, MR_FORM_NFC = 1, MR_FORM_NFKC = 2 } mr_form;

/// A vocabulary with its merges: immutable once made, shared by any number of encoders on any threads.
typedef struct mr_vocabulary mr_vocabulary;

/// Token i is the bytes offsets[i] ..< offsets[i + 1] of `bytes` and has ids[i] < 2^24; every single byte must be a token,
/// no token may be empty or appear twice. With `merges` (triples left id, right id, merged id; the earlier the more
/// urgent) those are the pairs that merge; without, any two tokens whose bytes together are a token, the lower its id the
/// more urgent. `whole` means that a pre-token that is a token is not merged at all. Everything is copied. NULL when memory
/// runs out.
mr_vocabulary *mr_vocabulary_create(const uint8_t *bytes, const uint32_t *offsets, const uint32_t *ids, size_t count,
                                    const uint32_t *merges, size_t merge_count, bool whole);
void mr_vocabulary_destroy(mr_vocabulary *vocabulary);

/// What one thread needs to encode one text after the other: the text not yet encoded and a cache of pre-tokens.
typedef struct mr_encoder mr_encoder;

/// `vocabulary` must outlive the encoder. Ids come out as u32 when `wide`, else as u16, which every id must fit. NULL when memory runs out.
mr_encoder *mr_encoder_create(const mr_vocabulary *vocabulary, mr_pattern pattern, mr_form form, bool wide);
void mr_encoder_destroy(mr_encoder *encoder);

/// Adds text; `last` says that it ends here. The most ids that the next call of mr_encoder_pull can give. Both may give
/// instead MR_ENCODER_NO_MEMORY, or MR_ENCODER_TOO_LONG when one pre-token has more than MR_PRETOKEN_LIMIT bytes; after
/// either only mr_encoder_destroy is allowed.
int64_t mr_encoder_push(mr_encoder *encoder, const uint8_t *bytes, size_t count, bool last);
#define MR_ENCODER_NO_MEMORY -1
#define MR_ENCODER_TOO_LONG -2
#define MR_PRETOKEN_LIMIT ((size_t)64 << 20)

/// Ids of all text whose pre-tokens are certain by now (after a last push: of all of it).
/// `ids` has room for MR_ENCODER_SLACK more than mr_encoder_push said. How many were written.
int64_t mr_encoder_pull(mr_encoder *encoder, void *ids);
#define MR_ENCODER_SLACK 16

/// The ends of the pre-tokens of a whole text, at most `capacity` of them; how many there are. For tests and trainers.
/// `bytes` must be followed by 32 readable bytes, the first of them 0xff.
size_t mr_pretoken_ends(mr_pattern pattern, const uint8_t *bytes, size_t count, uint32_t *ends, size_t capacity);

/// Counts of unique pre-tokens, for training.
typedef struct mr_counter mr_counter;

/// `memory_limit` is for the unique pre-tokens and their table. NULL when memory runs out.
mr_counter *mr_counter_create(mr_pattern pattern, size_t memory_limit);
void mr_counter_destroy(mr_counter *counter);
/// Adds text; `last` says that it ends here. 0, MR_ENCODER_NO_MEMORY, MR_ENCODER_TOO_LONG, or MR_COUNTER_FULL when the
/// unique pre-tokens need more than the limit.
int64_t mr_counter_push(mr_counter *counter, const uint8_t *bytes, size_t count, bool last);
#define MR_COUNTER_FULL -3
uint64_t mr_counter_unique(const mr_counter *counter);
uint64_t mr_counter_total(const mr_counter *counter);

/// Merges (triples left id, right id, merged id) until the vocabulary has `vocabulary_size` ids or no pair comes up `least`
/// times; at most `merge_capacity`. Ids below `first` are others'; byte_ids are first … first + 255 in any order. How many
/// merges, or MR_ENCODER_NO_MEMORY.
int64_t mr_train(const mr_counter *counter, const uint32_t byte_ids[256], uint32_t first, uint32_t vocabulary_size,
                 uint64_t least, uint32_t *merges, size_t merge_capacity);

#ifdef __cplusplus
}
#endif

#endif
