// Text to ids: pre-tokens, then merges. Nearly every pre-token of ordinary text has been seen a moment ago, so two caches
// answer first: one of pre-tokens of up to 15 bytes with ids of up to 16, one of up to 30 bytes with ids of up to 32. A
// key is the bytes themselves, padded with zeros, and their number; an entry fills half a cache line or one and holds the
// ids as they are written. Pre-tokens go through in batches, so that the memory they need is on its way while others are
// scanned.
//
// A long pre-token, and one of a script that leaves no space between words, would be new nearly always. It is taken in parts: no
// token of the vocabulary goes over their borders, so no merge does, and the parts are known.
//
// What the caches do not know is merged: by looking through all pairs while they are few, with a heap from then on.
#include "text_normal.h"
#include "text_scan.h"
#include "text_vocabulary.h"

#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ids and keys are stored as they lie in memory: little-endian"
#endif

enum { PADDING = 32, BATCH = 64, SHORT_BITS = 17, LONG_BITS = 16, FEW = 48, RETRY = 1 << 18 };

typedef struct {
    uint64_t keys[2][2];  // the last byte of a key holds the number of bytes and, above it, the number of ids − 1
    uint8_t ids[2][16];
} short_line;

typedef struct {
    uint64_t key[4];  // the last two bytes hold the number of bytes and the number of ids
    uint8_t ids[32];
} long_line;

struct mr_encoder {
    const mr_vocabulary *vocabulary;
    mr_pattern pattern;
    mr_form form;
    bool wide;
    bool last;
    int64_t failure;
    byte_buffer raw;      // not normalized yet
    byte_buffer pending;  // normalized, not encoded; `start` bytes of it are done with
    size_t start;
    size_t retry;  // do not scan before this much is pending: a long pre-token is not scanned again for every piece
    short_line *shorts;
    long_line *longs;
    uint8_t *scratch;  // of merges
    size_t scratch_size;
};

mr_encoder *mr_encoder_create(const mr_vocabulary *vocabulary, mr_pattern pattern, mr_form form, bool wide) {
    mr_encoder *e = calloc(1, sizeof *e);
    if (!e) return 0;
    e->vocabulary = vocabulary;
    e->pattern = pattern;
    e->form = form;
    e->wide = wide;
    e->shorts = aligned_alloc(64, sizeof(short_line) << SHORT_BITS);
    e->longs = aligned_alloc(64, sizeof(long_line) << LONG_BITS);
    if (!e->shorts || !e->longs) {
        mr_encoder_destroy(e);
        return 0;
    }
    memset(e->shorts, 0, sizeof(short_line) << SHORT_BITS);
    memset(e->longs, 0, sizeof(long_line) << LONG_BITS);
    return e;
}

void mr_encoder_destroy(mr_encoder *e) {
    if (!e) return;
    free(e->raw.bytes);
    free(e->pending.bytes);
    free(e->shorts);
    free(e->longs);
    free(e->scratch);
    free(e);
}

int64_t mr_encoder_push(mr_encoder *e, const uint8_t *bytes, size_t count, bool last) {
    byte_buffer *pending = &e->pending;
    if (e->start > 0) {
        memmove(pending->bytes, pending->bytes + e->start, pending->count - e->start);
        pending->count -= e->start;
        e->start = 0;
    }
    if (e->form == MR_FORM_NONE) {
        if (!buffer_append(pending, bytes, count)) return MR_ENCODER_NO_MEMORY;
    } else {
        if (!buffer_append(&e->raw, bytes, count)) return MR_ENCODER_NO_MEMORY;
        size_t sure = last ? e->raw.count : normal_boundary(e->raw.bytes, e->raw.count);
        if (sure > 0 && !normalize(e->form, e->raw.bytes, sure, pending)) return MR_ENCODER_NO_MEMORY;
        if (sure > 0) memmove(e->raw.bytes, e->raw.bytes + sure, e->raw.count - sure);
        e->raw.count -= sure;
        if (e->raw.count > MR_PRETOKEN_LIMIT) return MR_ENCODER_TOO_LONG;
    }
    e->last = last;
    if (!last && pending->count < e->retry) return 0;
    if (!buffer_reserve(pending, 0, PADDING)) return MR_ENCODER_NO_MEMORY;
    memset(pending->bytes + pending->count, 0xff, PADDING);
    return (int64_t)pending->count;
}

// MARK: merges

/// Room for `size` bytes.
static uint8_t *scratch(mr_encoder *e, size_t size) {
    if (size > e->scratch_size) {
        free(e->scratch);
        e->scratch = malloc(size);
        e->scratch_size = e->scratch ? size : 0;
    }
    return e->scratch;
}

/// Merges 2 … FEW bytes: of all neighbours the most urgent pair, of equal ones the first, until none is left.
static size_t merge_few(const mr_vocabulary *v, const uint8_t *bytes, size_t count, uint32_t *ids) {
    uint32_t ranks[FEW], merged[FEW];
    for (size_t i = 0; i < count; i++) ids[i] = v->byte_ids[bytes[i]];
    for (size_t i = 0; i + 1 < count; i++) {
        byte_pair pair = v->byte_pairs[bytes[i] << 8 | bytes[i + 1]];
        ranks[i] = pair.rank;
        merged[i] = pair.merged;
    }
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NO_TOKEN) break;
        ids[best] = merged[best];
        count--;
        // Pair i is that of ids i and i + 1: pair best + 1 was the neighbour's, pair best is looked up anew.
        for (size_t i = best + 1; i < count; i++) {
            ids[i] = ids[i + 1];
            ranks[i - 1] = ranks[i];
            merged[i - 1] = merged[i];
        }
        if (best > 0) {
            const pair_entry *pair = find_pair(v, ids[best - 1], ids[best]);
            ranks[best - 1] = pair ? pair->rank : NO_TOKEN;
            merged[best - 1] = pair ? pair->merged : 0;
        }
        if (best + 1 < count) {
            const pair_entry *pair = find_pair(v, ids[best], ids[best + 1]);
            ranks[best] = pair ? pair->rank : NO_TOKEN;
            merged[best] = pair ? pair->merged : 0;
        }
    }
    return count;
}

static void sift_down(uint64_t *heap, size_t count, size_t at) {
    uint64_t value = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= value) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = value;
}

static void sift_up(uint64_t *heap, size_t at) {
    uint64_t value = heap[at];
    while (at > 0 && heap[(at - 1) / 2] > value) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = value;
}

/// Merges any number of bytes in O(n log n): a heap of (rank, position); an entry counts only while the pair at its
/// position still has its rank. The ids stand in the first words of the scratch memory; −1 when memory runs out.
static int64_t merge_many(mr_encoder *e, const uint8_t *bytes, size_t count, uint32_t **result) {
    const mr_vocabulary *v = e->vocabulary;
    // A merge takes one entry out, and two in at most; there are fewer merges than bytes.
    size_t heap_capacity = 3 * count;
    uint8_t *memory = scratch(e, heap_capacity * 8 + count * 20);
    if (!memory) return MR_ENCODER_NO_MEMORY;
    uint64_t *heap = (uint64_t *)memory;
    uint32_t *ids = (uint32_t *)(heap + heap_capacity), *next = ids + count, *previous = next + count;
    uint32_t *ranks = previous + count, *merged = ranks + count;
    size_t entries = 0;
    for (size_t i = 0; i < count; i++) {
        ids[i] = v->byte_ids[bytes[i]];
        next[i] = (uint32_t)i + 1;
        previous[i] = (uint32_t)i - 1;
    }
    for (size_t i = 0; i < count; i++) {
        byte_pair pair = {NO_TOKEN, 0};
        if (i + 1 < count) pair = v->byte_pairs[bytes[i] << 8 | bytes[i + 1]];
        ranks[i] = pair.rank;
        merged[i] = pair.merged;
        if (pair.rank != NO_TOKEN) heap[entries++] = (uint64_t)pair.rank << 32 | i;
    }
    for (size_t i = entries / 2; i-- > 0;) sift_down(heap, entries, i);
    while (entries > 0) {
        uint32_t rank = (uint32_t)(heap[0] >> 32), i = (uint32_t)heap[0];
        heap[0] = heap[--entries];
        if (entries > 0) sift_down(heap, entries, 0);
        if (ranks[i] != rank) continue;
        uint32_t gone = next[i];
        ids[i] = merged[i];
        next[i] = next[gone];
        ranks[gone] = NO_TOKEN;
        if (next[i] < count) previous[next[i]] = i;
        for (int side = 0; side < 2; side++) {
            uint32_t left = side == 0 ? previous[i] : i;
            if (side == 0 && i == 0) continue;
            const pair_entry *pair = next[left] < count ? find_pair(v, ids[left], ids[next[left]]) : 0;
            ranks[left] = pair ? pair->rank : NO_TOKEN;
            merged[left] = pair ? pair->merged : 0;
            if (pair) {
                heap[entries] = (uint64_t)pair->rank << 32 | left;
                sift_up(heap, entries++);
            }
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i = next[i]) ids[kept++] = ids[i];
    *result = ids;
    return (int64_t)kept;
}

// MARK: caches

static const uint64_t low_masks[17][2] = {
#define LOW(n) ((1ull << (8 * (n))) - 1)
    {0, 0},
    {LOW(1), 0},     {LOW(2), 0},     {LOW(3), 0},     {LOW(4), 0},     {LOW(5), 0},     {LOW(6), 0},     {LOW(7), 0},
    {~0ull, 0},      {~0ull, LOW(1)}, {~0ull, LOW(2)}, {~0ull, LOW(3)}, {~0ull, LOW(4)}, {~0ull, LOW(5)}, {~0ull, LOW(6)},
    {~0ull, LOW(7)}, {~0ull, ~0ull},
};
#define SHORT_KEY ((1ull << 60) - 1)  // without the number of ids
#define LONG_KEY ((1ull << 56) - 1)
enum { SHORT_LIMIT = 15, LONG_LIMIT = 30 };

/// A pre-token on its way, with the place in a cache where it may be known.
typedef struct {
    const uint8_t *bytes;
    size_t count;
    bool is_part;
    uint64_t low, high;  // the key of a short one
    void *line;
} piece;

INLINE void load_short(mr_encoder *e, piece *piece) {
    uint64_t words[2];
    memcpy(words, piece->bytes, 16);
    piece->low = words[0] & low_masks[piece->count][0];
    piece->high = (words[1] & low_masks[piece->count][1]) | (uint64_t)piece->count << 56;
    uint64_t hash = (piece->low ^ (piece->high * 0x9e3779b97f4a7c15)) * 0xff51afd7ed558ccd;
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15;
    piece->line = &e->shorts[hash >> (64 - SHORT_BITS)];
    __builtin_prefetch(piece->line);
}

/// The key of a pre-token of up to LONG_LIMIT bytes in the cache of long ones, and its line.
INLINE long_line *load_long(mr_encoder *e, const uint8_t *bytes, size_t count, uint64_t key[4]) {
    size_t first = count < 16 ? count : 16;
    memcpy(key, bytes, 32);
    key[0] &= low_masks[first][0];
    key[1] &= low_masks[first][1];
    key[2] &= low_masks[count - first][0];
    key[3] = (key[3] & low_masks[count - first][1]) | (uint64_t)count << 48;
    uint64_t hash = ((key[0] ^ key[2] * 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd) ^
                    ((key[1] ^ key[3] * 0xc4ceb9fe1a85ec53) * 0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 32) * 0xff51afd7ed558ccd;
    return &e->longs[hash >> (64 - LONG_BITS)];
}

INLINE uint8_t *store(uint8_t *out, const uint32_t *ids, size_t count, bool wide) {
    if (wide) {
        memcpy(out, ids, count * 4);
        return out + count * 4;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t id = (uint16_t)ids[i];
        memcpy(out + 2 * i, &id, 2);
    }
    return out + count * 2;
}

/// The ids of a pre-token or a part of one that no cache knows. `cached` becomes false when they hold for one of both only: a token
/// that no merges lead to stays whole as a pre-token, and not as a part.
static int64_t encode_piece(mr_encoder *e, const piece *piece, uint32_t few[FEW], uint32_t **ids, bool *cached) {
    const mr_vocabulary *v = e->vocabulary;
    *ids = few;
    *few = v->byte_ids[*piece->bytes];
    int64_t count = piece->count == 1     ? 1
                    : piece->count <= FEW ? (int64_t)merge_few(v, piece->bytes, piece->count, few)
                                          : merge_many(e, piece->bytes, piece->count, ids);
    if (count <= 1 || !v->whole) return count;
    uint32_t token = find_token(v, piece->bytes, piece->count);
    if (token == NO_TOKEN) return count;
    *cached = false;
    if (piece->is_part) return count;
    *ids = few;
    *few = token;
    return 1;
}

/// A pre-token that the cache of short ones does not know. NULL, with e->failure set, when it cannot be encoded.
static __attribute__((noinline)) uint8_t *encode_slow(mr_encoder *e, const piece *piece, uint8_t *out, bool wide) {
    size_t width = wide ? 4 : 2;
    uint32_t few[FEW], *ids;
    uint64_t key[4];
    long_line *line = 0;
    if (piece->count <= LONG_LIMIT) {
        line = load_long(e, piece->bytes, piece->count, key);
        if (line->key[0] == key[0] && line->key[1] == key[1] && line->key[2] == key[2] &&
            (line->key[3] & LONG_KEY) == key[3]) {
            memcpy(out, line->ids, 32);
            return out + (line->key[3] >> 56) * width;
        }
    }
    bool cached = true;
    int64_t count = encode_piece(e, piece, few, &ids, &cached);
    if (count < 0) {
        e->failure = count;
        return 0;
    }
    uint8_t *after = store(out, ids, (size_t)count, wide);
    if (!cached) return after;
    if (piece->count <= SHORT_LIMIT && (size_t)count * width <= 16) {
        short_line *near = piece->line;
        memcpy(near->keys[1], near->keys[0], 16);
        memcpy(near->ids[1], near->ids[0], 16);
        near->keys[0][0] = piece->low;
        near->keys[0][1] = piece->high | (uint64_t)(count - 1) << 60;
        memcpy(near->ids[0], out, (size_t)count * width);
    } else if (line && (size_t)count * width <= 32) {
        memcpy(line->key, key, 32);
        line->key[3] |= (uint64_t)count << 56;
        memcpy(line->ids, out, (size_t)count * width);
    }
    return after;
}

/// Whether a pre-token is taken in parts: from U+3000 on (Han, kana, hangul) its first byte is so high.
INLINE bool has_parts(const uint8_t *bytes, size_t count) { return bytes[0] >= 0xe3 || count > LONG_LIMIT; }

/// The end of the part that begins at `begin`: the next border of a character that no token goes over.
INLINE const uint8_t *part_end(const mr_vocabulary *v, const uint8_t *begin, const uint8_t *end) {
    for (const uint8_t *border = begin + 1; border < end; border++)
        if ((*border & 0xc0) != 0x80 && !may_join(v, begin, border, end)) return border;
    return end;
}

INLINE int64_t pull(mr_encoder *e, uint8_t *out, bool wide, mr_pattern pattern) {
    scanner s = {e->pending.bytes + e->pending.count, e->last, false, 0};
    const uint8_t *p = e->pending.bytes + e->start;
    const uint8_t *whole = p, *part = p;  // where the last pre-token began, and what is left of it, up to p
    uint8_t *begin = out;
    size_t width = wide ? 4 : 2;
    piece pieces[BATCH];
    bool ended = false;
    while (!ended) {
        int count = 0;
        while (count < BATCH) {
            const uint8_t *end = p;
            if (part == p) {
                if (p >= s.limit) {
                    ended = true;
                    break;
                }
                s.hit = false;
                end = scan(&s, p, pattern);
                if (s.hit && !e->last) {
                    ended = true;
                    break;
                }
                if (end - p > MR_PRETOKEN_LIMIT) return e->failure = MR_ENCODER_TOO_LONG;
                whole = p;
                p = end;
            }
            piece *next = &pieces[count++];
            next->bytes = part;
            if (has_parts(part, (size_t)(end - part))) end = part_end(e->vocabulary, part, end);
            next->count = (size_t)(end - part);
            next->is_part = part != whole || end != p;
            part = end;
            if (next->count <= SHORT_LIMIT) {
                load_short(e, next);
            } else if (next->count <= LONG_LIMIT) {
                uint64_t key[4];
                __builtin_prefetch(load_long(e, next->bytes, next->count, key));
            }
        }
        for (int i = 0; i < count; i++) {
            piece *piece = &pieces[i];
            if (piece->count <= SHORT_LIMIT) {
                const short_line *line = piece->line;
                // 16 bytes are written, however many ids they hold: there is room, and the next ids go over the rest.
                if (line->keys[0][0] == piece->low && (line->keys[0][1] & SHORT_KEY) == piece->high) {
                    memcpy(out, line->ids[0], 16);
                    out += ((line->keys[0][1] >> 60) + 1) * width;
                    continue;
                }
                if (line->keys[1][0] == piece->low && (line->keys[1][1] & SHORT_KEY) == piece->high) {
                    memcpy(out, line->ids[1], 16);
                    out += ((line->keys[1][1] >> 60) + 1) * width;
                    continue;
                }
            }
            out = encode_slow(e, piece, out, wide);
            if (!out) return e->failure;
        }
    }
    e->start = (size_t)(p - e->pending.bytes);
    return (int64_t)((size_t)(out - begin) / width);
}

INLINE int64_t pull_pattern(mr_encoder *e, uint8_t *out, bool wide) {
    switch (e->pattern) {
    case MR_PATTERN_GPT2: return pull(e, out, wide, MR_PATTERN_GPT2);
    case MR_PATTERN_CL100K: return pull(e, out, wide, MR_PATTERN_CL100K);
    case MR_PATTERN_CL100K_TIKTOKEN: return pull(e, out, wide, MR_PATTERN_CL100K_TIKTOKEN);
    case MR_PATTERN_QWEN: return pull(e, out, wide, MR_PATTERN_QWEN);
    case MR_PATTERN_O200K: return pull(e, out, wide, MR_PATTERN_O200K);
    case MR_PATTERN_TEKKEN: return pull(e, out, wide, MR_PATTERN_TEKKEN);
    case MR_PATTERN_DEEPSEEK: return pull(e, out, wide, MR_PATTERN_DEEPSEEK);
    case MR_PATTERN_NONE: break;
    }
    return pull(e, out, wide, MR_PATTERN_NONE);
}

int64_t mr_encoder_pull(mr_encoder *e, void *ids) {
    if (!e->last && e->pending.count < e->retry) return 0;
    int64_t count = e->wide ? pull_pattern(e, ids, true) : pull_pattern(e, ids, false);
    if (count < 0) return count;
    size_t left = e->pending.count - e->start;
    if (e->last) {
        e->pending.count = 0;
        e->start = 0;
        e->retry = 0;
    } else {
        e->retry = left > RETRY ? 2 * left : 0;
        if (left > MR_PRETOKEN_LIMIT) return MR_ENCODER_TOO_LONG;
    }
    return count;
}

size_t mr_pretoken_ends(mr_pattern pattern, const uint8_t *bytes, size_t count, uint32_t *ends, size_t capacity) {
    scanner s = {bytes + count, true, false, 0};
    const uint8_t *p = bytes;
    size_t found = 0;
    while (p < s.limit) {
        p = scan(&s, p, pattern);
        if (found < capacity) ends[found] = (uint32_t)(p - bytes);
        found++;
    }
    return found;
}
