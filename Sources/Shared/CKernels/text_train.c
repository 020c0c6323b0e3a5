// Training of byte-level BPE (Sennrich et al., 2016): unique pre-tokens with their counts, then merge after merge of the
// most frequent pair. A queue holds pairs with the words they stand in; an entry whose count has changed since it went in
// is put back with the new one when it comes up. The order of merges, ties included, is that of Hugging Face's BpeTrainer:
// the higher count first, of equal ones the pair with the lower ids.
#include "text_scan.h"
#include "text_vocabulary.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t hash;
    uint64_t start;  // in the arena
    uint32_t length;
    uint64_t count;  // 0: empty
} word_entry;

struct mr_counter {
    mr_pattern pattern;
    uint8_t *pending;
    size_t pending_count, pending_capacity, retry;
    uint8_t *arena;
    size_t arena_count, arena_capacity;
    word_entry *words;
    size_t word_count, table_size;
    uint64_t total;
    size_t limit;
};

mr_counter *mr_counter_create(mr_pattern pattern, size_t memory_limit) {
    mr_counter *c = calloc(1, sizeof *c);
    if (!c) return 0;
    c->pattern = pattern;
    c->limit = memory_limit;
    c->table_size = 1 << 16;
    c->words = calloc(c->table_size, sizeof *c->words);
    if (!c->words) {
        free(c);
        return 0;
    }
    return c;
}

void mr_counter_destroy(mr_counter *c) {
    if (!c) return;
    free(c->pending);
    free(c->arena);
    free(c->words);
    free(c);
}

static int64_t grow(mr_counter *c) {
    size_t size = 2 * c->table_size;
    if (size * sizeof(word_entry) + c->arena_capacity > c->limit) return MR_COUNTER_FULL;
    word_entry *words = calloc(size, sizeof *words);
    if (!words) return MR_ENCODER_NO_MEMORY;
    for (size_t i = 0; i < c->table_size; i++) {
        if (c->words[i].count == 0) continue;
        size_t slot = c->words[i].hash & (size - 1);
        while (words[slot].count != 0) slot = (slot + 1) & (size - 1);
        words[slot] = c->words[i];
    }
    free(c->words);
    c->words = words;
    c->table_size = size;
    return 0;
}

static int64_t count_word(mr_counter *c, const uint8_t *bytes, size_t length) {
    uint64_t hash = hash_of_bytes(bytes, length);
    size_t slot = hash & (c->table_size - 1);
    while (c->words[slot].count != 0) {
        word_entry *word = &c->words[slot];
        if (word->hash == hash && word->length == length && memcmp(c->arena + word->start, bytes, length) == 0) {
            word->count++;
            return 0;
        }
        slot = (slot + 1) & (c->table_size - 1);
    }
    if (c->arena_count + length > c->arena_capacity) {
        size_t capacity = 2 * c->arena_capacity + length + 65536;
        if (capacity + c->table_size * sizeof(word_entry) > c->limit) return MR_COUNTER_FULL;
        uint8_t *arena = realloc(c->arena, capacity);
        if (!arena) return MR_ENCODER_NO_MEMORY;
        c->arena = arena;
        c->arena_capacity = capacity;
    }
    memcpy(c->arena + c->arena_count, bytes, length);
    c->words[slot] = (word_entry){hash, c->arena_count, (uint32_t)length, 1};
    c->arena_count += length;
    c->word_count++;
    return 2 * c->word_count > c->table_size ? grow(c) : 0;
}

int64_t mr_counter_push(mr_counter *c, const uint8_t *bytes, size_t count, bool last) {
    const size_t padding = 32;
    if (c->pending_count + count + padding > c->pending_capacity) {
        size_t capacity = (c->pending_count + count + padding) * 3 / 2;
        uint8_t *pending = realloc(c->pending, capacity);
        if (!pending) return MR_ENCODER_NO_MEMORY;
        c->pending = pending;
        c->pending_capacity = capacity;
    }
    if (count) memcpy(c->pending + c->pending_count, bytes, count);
    c->pending_count += count;
    if (!last && c->pending_count < c->retry) return 0;
    memset(c->pending + c->pending_count, 0xff, padding);
    scanner s = {c->pending + c->pending_count, last, false, 0};
    const uint8_t *p = c->pending;
    while (p < s.limit) {
        s.hit = false;
        const uint8_t *end = scan(&s, p, c->pattern);
        if (s.hit && !last) break;
        if ((size_t)(end - p) > MR_PRETOKEN_LIMIT) return MR_ENCODER_TOO_LONG;
        int64_t failure = count_word(c, p, (size_t)(end - p));
        if (failure) return failure;
        c->total++;
        p = end;
    }
    size_t left = (size_t)(s.limit - p);
    memmove(c->pending, p, left);
    c->pending_count = left;
    c->retry = left > (1 << 18) ? 2 * left : 0;
    return left > MR_PRETOKEN_LIMIT ? MR_ENCODER_TOO_LONG : 0;
}

uint64_t mr_counter_unique(const mr_counter *c) { return c->word_count; }
uint64_t mr_counter_total(const mr_counter *c) { return c->total; }

// MARK: merges

typedef struct {
    uint32_t *items;
    uint32_t count, capacity;
} list;

static bool list_add(list *l, uint32_t item) {
    if (l->count > 0 && l->items[l->count - 1] == item) return true;
    if (l->count == l->capacity) {
        uint32_t capacity = l->capacity * 2 + 2;
        uint32_t *items = realloc(l->items, capacity * sizeof *items);
        if (!items) return false;
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->count++] = item;
    return true;
}

typedef struct {
    uint32_t left, right;  // left = UINT32_MAX: empty
    int64_t count;
    list words;    // where it came up since it was last queued
    bool touched;  // it stands in the list of those
} pair_count;

typedef struct {
    int64_t count;
    uint32_t left, right;
    list words;
} queued;

typedef struct {
    pair_count *table;
    size_t count, size;
    queued *heap;
    size_t heap_count, heap_capacity;
    uint64_t *touched;  // pairs, as left << 32 | right
    size_t touched_count, touched_capacity;
} trainer;

static pair_count *find_count(trainer *t, uint32_t left, uint32_t right) {
    if (2 * (t->count + 1) > t->size) {
        size_t size = t->size ? 2 * t->size : 1 << 16;
        pair_count *table = malloc(size * sizeof *table);
        if (!table) return 0;
        for (size_t i = 0; i < size; i++) table[i] = (pair_count){UINT32_MAX, 0, 0, {0, 0, 0}, false};
        for (size_t i = 0; i < t->size; i++) {
            if (t->table[i].left == UINT32_MAX) continue;
            uint64_t key = ((uint64_t)t->table[i].left << 32 | t->table[i].right) * 0x9e3779b97f4a7c15;
            size_t slot = (key ^ key >> 32) & (size - 1);
            while (table[slot].left != UINT32_MAX) slot = (slot + 1) & (size - 1);
            table[slot] = t->table[i];
        }
        free(t->table);
        t->table = table;
        t->size = size;
    }
    uint64_t key = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15;
    size_t slot = (key ^ key >> 32) & (t->size - 1);
    while (t->table[slot].left != UINT32_MAX) {
        if (t->table[slot].left == left && t->table[slot].right == right) return &t->table[slot];
        slot = (slot + 1) & (t->size - 1);
    }
    t->count++;
    t->table[slot].left = left;
    t->table[slot].right = right;
    return &t->table[slot];
}

static bool change(trainer *t, uint32_t left, uint32_t right, int64_t count, uint32_t word) {
    pair_count *pair = find_count(t, left, right);
    if (!pair) return false;
    pair->count += count;
    if (count < 0) return true;
    if (!pair->touched) {
        if (t->touched_count == t->touched_capacity) {
            size_t capacity = t->touched_capacity * 2 + 1024;
            uint64_t *touched = realloc(t->touched, capacity * sizeof *touched);
            if (!touched) return false;
            t->touched = touched;
            t->touched_capacity = capacity;
        }
        t->touched[t->touched_count++] = (uint64_t)left << 32 | right;
        pair->touched = true;
    }
    return list_add(&pair->words, word);
}

static bool before(const queued *a, const queued *b) {
    if (a->count != b->count) return a->count > b->count;
    if (a->left != b->left) return a->left < b->left;
    return a->right < b->right;
}

static bool enqueue(trainer *t, queued entry) {
    if (t->heap_count == t->heap_capacity) {
        size_t capacity = t->heap_capacity * 2 + 1024;
        queued *heap = realloc(t->heap, capacity * sizeof *heap);
        if (!heap) return false;
        t->heap = heap;
        t->heap_capacity = capacity;
    }
    size_t at = t->heap_count++;
    while (at > 0 && before(&entry, &t->heap[(at - 1) / 2])) {
        t->heap[at] = t->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    t->heap[at] = entry;
    return true;
}

static void settle(trainer *t, queued entry) {
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= t->heap_count) break;
        if (child + 1 < t->heap_count && before(&t->heap[child + 1], &t->heap[child])) child++;
        if (!before(&t->heap[child], &entry)) break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = entry;
}

static bool queue_touched(trainer *t) {
    for (size_t i = 0; i < t->touched_count; i++) {
        pair_count *pair = find_count(t, (uint32_t)(t->touched[i] >> 32), (uint32_t)t->touched[i]);
        queued entry = {pair->count, pair->left, pair->right, pair->words};
        pair->words = (list){0, 0, 0};
        pair->touched = false;
        if (pair->count <= 0) free(entry.words.items);
        else if (!enqueue(t, entry)) return false;
    }
    t->touched_count = 0;
    return true;
}

typedef struct {
    uint64_t start;
    uint32_t count;
    int64_t weight;
} word;

/// Tokens by their bytes, to find a token that two ways lead to.
typedef struct {
    uint8_t *bytes;
    size_t byte_count, byte_capacity;
    uint64_t *starts;  // of each id from `first` on; one more than there are
    uint32_t *table;   // id − first, or UINT32_MAX
    size_t table_size;
    uint32_t first, count;
} tokens;

static uint32_t token_named(tokens *k, const uint8_t *name, size_t length, bool *is_new) {
    size_t slot = hash_of_bytes(name, length) & (k->table_size - 1);
    for (; k->table[slot] != UINT32_MAX; slot = (slot + 1) & (k->table_size - 1)) {
        uint32_t i = k->table[slot];
        if (k->starts[i + 1] - k->starts[i] == length && memcmp(k->bytes + k->starts[i], name, length) == 0) {
            *is_new = false;
            return k->first + i;
        }
    }
    if (k->byte_count + length > k->byte_capacity) {
        size_t capacity = k->byte_capacity * 2 + length + 4096;
        uint8_t *bytes = realloc(k->bytes, capacity);
        if (!bytes) return UINT32_MAX;
        k->bytes = bytes;
        k->byte_capacity = capacity;
    }
    memcpy(k->bytes + k->byte_count, name, length);
    k->byte_count += length;
    k->table[slot] = k->count;
    k->starts[++k->count] = k->byte_count;
    *is_new = true;
    return k->first + k->count - 1;
}

int64_t mr_train(const mr_counter *c, const uint32_t byte_ids[256], uint32_t first, uint32_t vocabulary_size,
                 uint64_t least, uint32_t *merges, size_t merge_capacity) {
    trainer t = {0};
    tokens k = {0};
    int64_t result = MR_ENCODER_NO_MEMORY;
    size_t merge_count = 0;
    word *words = malloc((c->word_count + 1) * sizeof *words);
    uint32_t *symbols = malloc((c->arena_count + 1) * sizeof *symbols);
    uint8_t *name = 0;
    size_t name_capacity = 0;
    size_t room = vocabulary_size > first ? vocabulary_size - first : 0;
    room = room < 256 ? 256 : room;
    k.table_size = 1024;
    while (k.table_size < 2 * room) k.table_size *= 2;
    k.first = first;
    k.table = malloc(k.table_size * sizeof *k.table);
    k.starts = calloc(room + 2, sizeof *k.starts);
    if (!words || !symbols || !k.table || !k.starts) goto done;
    memset(k.table, 0xff, k.table_size * sizeof *k.table);
    bool is_new;
    // Ids first … first + 255 are the bytes, in the order that byte_ids says.
    for (uint32_t id = 0; id < 256; id++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint8_t one = (uint8_t)byte;
            if (byte_ids[byte] == first + id && token_named(&k, &one, 1, &is_new) == UINT32_MAX) goto done;
        }
    size_t count = 0;
    for (size_t i = 0; i < c->table_size; i++) {
        const word_entry *entry = &c->words[i];
        if (entry->count == 0) continue;
        words[count] = (word){entry->start, entry->length, (int64_t)entry->count};
        for (size_t j = 0; j < entry->length; j++)
            symbols[entry->start + j] = byte_ids[c->arena[entry->start + j]];
        for (size_t j = 0; j + 1 < entry->length; j++)
            if (!change(&t, symbols[entry->start + j], symbols[entry->start + j + 1], (int64_t)entry->count,
                        (uint32_t)count))
                goto done;
        count++;
    }
    if (!queue_touched(&t)) goto done;
    while (k.count + first < vocabulary_size && t.heap_count > 0) {
        queued top = t.heap[0];
        pair_count *pair = find_count(&t, top.left, top.right);
        if (!pair) goto done;
        if (top.count != pair->count) {
            top.count = pair->count;
            settle(&t, top);
            continue;
        }
        if (top.count < 1 || (uint64_t)top.count < least) break;
        if (merge_count == merge_capacity) break;
        queued last = t.heap[--t.heap_count];
        if (t.heap_count > 0) settle(&t, last);
        uint32_t left = top.left - first, right = top.right - first;
        size_t left_length = k.starts[left + 1] - k.starts[left], right_length = k.starts[right + 1] - k.starts[right];
        if (left_length + right_length > name_capacity) {
            name_capacity = 2 * (left_length + right_length);
            free(name);
            name = malloc(name_capacity);
            if (!name) goto done;
        }
        memcpy(name, k.bytes + k.starts[left], left_length);
        memcpy(name + left_length, k.bytes + k.starts[right], right_length);
        uint32_t merged = token_named(&k, name, left_length + right_length, &is_new);
        if (merged == UINT32_MAX) goto done;
        merges[3 * merge_count] = top.left;
        merges[3 * merge_count + 1] = top.right;
        merges[3 * merge_count + 2] = merged;
        merge_count++;
        for (uint32_t n = 0; n < top.words.count; n++) {
            uint32_t index = top.words.items[n];
            word *w = &words[index];
            uint32_t *s = symbols + w->start;
            uint32_t kept = 0;
            for (uint32_t i = 0; i < w->count; kept++) {
                if (s[i] != top.left || i + 1 >= w->count || s[i + 1] != top.right) {
                    s[kept] = s[i++];
                    continue;
                }
                if (kept > 0 && !(change(&t, s[kept - 1], top.left, -w->weight, index) &&
                                  change(&t, s[kept - 1], merged, w->weight, index)))
                    goto done;
                i += 2;
                s[kept] = merged;
                if (i < w->count && !(change(&t, top.right, s[i], -w->weight, index) &&
                                      change(&t, merged, s[i], w->weight, index)))
                    goto done;
            }
            w->count = kept;
        }
        free(top.words.items);
        if (!queue_touched(&t)) goto done;
    }
    result = (int64_t)merge_count;
done:
    for (size_t i = 0; i < t.heap_count; i++) free(t.heap[i].words.items);
    for (size_t i = 0; i < t.size; i++)
        if (t.table[i].left != UINT32_MAX) free(t.table[i].words.items);
    free(t.heap);
    free(t.table);
    free(t.touched);
    free(k.bytes);
    free(k.starts);
    free(k.table);
    free(words);
    free(symbols);
    free(name);
    return result;
}
