// A vocabulary as the inner loops read it: tokens by their bytes, merges by their pair, both in open-addressing tables
// that are at most half full.
#ifndef MILLRACE_TEXT_VOCABULARY_H
#define MILLRACE_TEXT_VOCABULARY_H

#include "include/text.h"

#define NO_TOKEN UINT32_MAX

typedef struct {
    uint32_t left, right;  // left = NO_TOKEN: empty
    uint32_t rank, merged;
} pair_entry;

typedef struct {
    uint32_t index;  // of a token, or NO_TOKEN: empty
    uint32_t tag;    // of its hash: most that is not there is told so without a look at the token
} token_entry;

typedef struct {
    uint32_t rank, merged;  // rank = NO_TOKEN: no pair
} byte_pair;

struct mr_vocabulary {
    uint8_t *bytes;
    uint32_t *offsets;
    uint32_t *ids;
    size_t count;
    token_entry *token_table;
    int token_shift;        // 64 − log2 of its size
    pair_entry *pairs;
    int pair_shift;
    uint64_t *pair_filter;  // a bit a pair, by its hash: what is not set is no pair
    int filter_shift;
    byte_pair *byte_pairs;  // of the tokens of two bytes: how every merge begins
    uint64_t *joins;        // a bit for each way in which a token goes on from byte to byte, by its hash
    int join_shift;
    bool whole;
    uint32_t byte_ids[256];
};

/// Where a token stands that goes over a border: it is the two bytes beside it, begins with them, ends with them, or neither.
enum { JOIN_ALL, JOIN_BEGIN, JOIN_END, JOIN_INSIDE };

/// The place of the bit for the bytes beside a border: two, or of a token that goes on there a third behind or before, or both.
static inline uint64_t join_place(const mr_vocabulary *v, uint64_t place, const uint8_t *border) {
    uint64_t key = place << 32 | (uint32_t)border[-1] << 8 | (uint32_t)border[0] << 16;
    if (place == JOIN_END || place == JOIN_INSIDE) key |= border[-2];
    if (place == JOIN_BEGIN || place == JOIN_INSIDE) key |= (uint32_t)border[1] << 24;
    return ((key ^ key << 21) * 0x9e3779b97f4a7c15) >> v->join_shift;
}

static inline bool joins(const mr_vocabulary *v, uint64_t place, const uint8_t *border) {
    uint64_t bit = join_place(v, place, border);
    return v->joins[bit >> 6] >> (bit & 63) & 1;
}

/// Whether a token may go over a border inside begin ..< end; no token is missed.
static inline bool may_join(const mr_vocabulary *v, const uint8_t *begin, const uint8_t *border, const uint8_t *end) {
    bool before = border - begin > 1, behind = end - border > 1;
    return joins(v, JOIN_ALL, border) || (behind && joins(v, JOIN_BEGIN, border)) ||
           (before && joins(v, JOIN_END, border)) || (before && behind && joins(v, JOIN_INSIDE, border));
}

static inline uint64_t hash_of_bytes(const uint8_t *bytes, size_t count) {
    uint64_t hash = count * 0x9e3779b97f4a7c15;
    while (count >= 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccd;
        hash ^= hash >> 32;
        bytes += 8;
        count -= 8;
    }
    uint64_t word = 0;
    __builtin_memcpy(&word, bytes, count);
    hash = (hash ^ word) * 0xff51afd7ed558ccd;
    return (hash ^ hash >> 29) * 0x9e3779b97f4a7c15;
}

/// The id of the token that is these bytes, or NO_TOKEN.
static inline uint32_t find_token(const mr_vocabulary *v, const uint8_t *bytes, size_t count) {
    size_t mask = ((size_t)1 << (64 - v->token_shift)) - 1;
    uint64_t hash = hash_of_bytes(bytes, count);
    for (size_t slot = hash >> v->token_shift;; slot = (slot + 1) & mask) {
        uint32_t index = v->token_table[slot].index;
        if (index == NO_TOKEN) return NO_TOKEN;
        if (v->token_table[slot].tag != (uint32_t)hash) continue;
        size_t length = v->offsets[index + 1] - v->offsets[index];
        if (length == count && __builtin_memcmp(v->bytes + v->offsets[index], bytes, count) == 0) return v->ids[index];
    }
}

static inline uint64_t pair_hash(uint32_t left, uint32_t right) {
    uint64_t key = (uint64_t)left << 32 | right;
    key = (key ^ key >> 29) * 0x9e3779b97f4a7c15;
    return (key ^ key >> 32) * 0xff51afd7ed558ccd;
}

/// How two neighbours merge, or NULL.
static inline const pair_entry *find_pair(const mr_vocabulary *v, uint32_t left, uint32_t right) {
    size_t mask = ((size_t)1 << (64 - v->pair_shift)) - 1;
    uint64_t hash = pair_hash(left, right), bit = hash >> v->filter_shift;
    if (!(v->pair_filter[bit >> 6] >> (bit & 63) & 1)) return 0;
    for (size_t slot = hash >> v->pair_shift;; slot = (slot + 1) & mask) {
        const pair_entry *entry = &v->pairs[slot];
        if (entry->left == left && entry->right == right) return entry;
        if (entry->left == NO_TOKEN) return 0;
    }
}

#endif
