// Vocabularies for byte-level BPE. A rank file says of each token only its rank; which pairs merge into it follows: every
// cut of a token into two tokens is one.
#include "text_vocabulary.h"

#include <stdlib.h>
#include <string.h>

static int shift_for(size_t count) {
    int bits = 4;
    while (((size_t)1 << bits) < 2 * count) bits++;
    return 64 - bits;
}

static void insert_pair(mr_vocabulary *v, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged) {
    size_t mask = ((size_t)1 << (64 - v->pair_shift)) - 1;
    uint64_t hash = pair_hash(left, right), bit = hash >> v->filter_shift;
    size_t slot = hash >> v->pair_shift;
    v->pair_filter[bit >> 6] |= 1ull << (bit & 63);
    while (v->pairs[slot].left != NO_TOKEN) {
        // A pair that a file lists twice has its later rank, as in a map that is filled in order.
        if (v->pairs[slot].left == left && v->pairs[slot].right == right) break;
        slot = (slot + 1) & mask;
    }
    v->pairs[slot] = (pair_entry){left, right, rank, merged};
}

static bool make_pairs(mr_vocabulary *v, size_t count) {
    v->pair_shift = shift_for(count);
    size_t size = (size_t)1 << (64 - v->pair_shift);
    v->pairs = malloc(size * sizeof(pair_entry));
    if (!v->pairs) return false;
    memset(v->pairs, 0xff, size * sizeof(pair_entry));
    // At least eight bits a pair: one in eight of what is no pair is looked up in vain.
    int bits = 64 - v->pair_shift + 2;
    v->filter_shift = 64 - bits;
    v->pair_filter = calloc(((size_t)1 << bits) / 64, 8);
    return v->pair_filter != 0;
}

/// Calls `insert_pair` (or counts) for every cut of every token into two tokens.
static size_t pairs_of_ranks(mr_vocabulary *v, bool insert) {
    size_t found = 0;
    for (size_t i = 0; i < v->count; i++) {
        const uint8_t *bytes = v->bytes + v->offsets[i];
        size_t length = v->offsets[i + 1] - v->offsets[i];
        for (size_t cut = 1; cut < length; cut++) {
            uint32_t left = find_token(v, bytes, cut);
            if (left == NO_TOKEN) continue;
            uint32_t right = find_token(v, bytes + cut, length - cut);
            if (right == NO_TOKEN) continue;
            found++;
            if (insert) insert_pair(v, left, right, v->ids[i], v->ids[i]);
        }
    }
    return found;
}

/// At least four bits for each token's byte, so that few borders are taken for crossed which are not.
static bool make_joins(mr_vocabulary *v) {
    v->join_shift = shift_for(2 * (size_t)v->offsets[v->count] + 64);
    v->joins = calloc(((size_t)1 << (64 - v->join_shift)) / 64, 8);
    if (!v->joins) return false;
    for (size_t i = 0; i < v->count; i++) {
        const uint8_t *begin = v->bytes + v->offsets[i], *end = v->bytes + v->offsets[i + 1];
        for (const uint8_t *border = begin + 1; border < end; border++) {
            bool before = border - begin > 1, behind = end - border > 1;
            uint64_t bit = join_place(v, before && behind ? JOIN_INSIDE : behind ? JOIN_BEGIN : before ? JOIN_END : JOIN_ALL, border);
            v->joins[bit >> 6] |= 1ull << (bit & 63);
        }
    }
    return true;
}

mr_vocabulary *mr_vocabulary_create(const uint8_t *bytes, const uint32_t *offsets, const uint32_t *ids, size_t count,
                                    const uint32_t *merges, size_t merge_count, bool whole) {
    mr_vocabulary *v = calloc(1, sizeof *v);
    if (!v) return 0;
    v->count = count;
    v->whole = whole;
    v->bytes = malloc(offsets[count] + 1);
    v->offsets = malloc((count + 1) * sizeof *offsets);
    v->ids = malloc((count + 1) * sizeof *ids);
    v->token_shift = shift_for(count);
    size_t size = (size_t)1 << (64 - v->token_shift);
    v->token_table = malloc(size * sizeof *v->token_table);
    if (!v->bytes || !v->offsets || !v->ids || !v->token_table) goto fail;
    memcpy(v->bytes, bytes, offsets[count]);
    memcpy(v->offsets, offsets, (count + 1) * sizeof *offsets);
    memcpy(v->ids, ids, count * sizeof *ids);
    memset((void *)v->token_table, 0xff, size * sizeof *v->token_table);
    memset(v->byte_ids, 0xff, sizeof v->byte_ids);
    for (size_t i = 0; i < count; i++) {
        size_t length = offsets[i + 1] - offsets[i];
        uint64_t hash = hash_of_bytes(v->bytes + offsets[i], length);
        size_t slot = hash >> v->token_shift;
        while (v->token_table[slot].index != NO_TOKEN) slot = (slot + 1) & (size - 1);
        v->token_table[slot] = (token_entry){(uint32_t)i, (uint32_t)hash};
        if (length == 1) v->byte_ids[v->bytes[offsets[i]]] = ids[i];
    }
    if (merges) {
        if (!make_pairs(v, merge_count)) goto fail;
        for (size_t i = 0; i < merge_count; i++)
            insert_pair(v, merges[3 * i], merges[3 * i + 1], (uint32_t)i, merges[3 * i + 2]);
    } else {
        if (!make_pairs(v, pairs_of_ranks(v, false))) goto fail;
        pairs_of_ranks(v, true);
    }
    if (!make_joins(v)) goto fail;
    v->byte_pairs = malloc(65536 * sizeof *v->byte_pairs);
    if (!v->byte_pairs) goto fail;
    for (uint32_t i = 0; i < 65536; i++) {
        const pair_entry *pair = find_pair(v, v->byte_ids[i >> 8], v->byte_ids[i & 255]);
        v->byte_pairs[i] = pair ? (byte_pair){pair->rank, pair->merged} : (byte_pair){NO_TOKEN, 0};
    }
    return v;
fail:
    mr_vocabulary_destroy(v);
    return 0;
}

void mr_vocabulary_destroy(mr_vocabulary *v) {
    if (!v) return;
    free(v->bytes);
    free(v->offsets);
    free(v->ids);
    free(v->token_table);
    free(v->pairs);
    free(v->pair_filter);
    free(v->joins);
    free(v->byte_pairs);
    free(v);
}
