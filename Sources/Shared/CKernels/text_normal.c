// Most text is in normal form already: it is copied up to a character that the form may change. From the character before
// that one up to the next that it leaves alone, text is decomposed, put in canonical order and composed again.
#include "text_normal.h"

#include "text_scan.h"
#include "unicode_forms.h"

#include <stdlib.h>
#include <string.h>

bool buffer_reserve(byte_buffer *buffer, size_t count, size_t padding) {
    size_t needed = buffer->count + count + padding;
    if (needed <= buffer->capacity) return true;
    size_t capacity = needed + needed / 2;
    uint8_t *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) return false;
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

bool buffer_append(byte_buffer *buffer, const uint8_t *bytes, size_t count) {
    if (!buffer_reserve(buffer, count, 0)) return false;
    if (count) memcpy(buffer->bytes + buffer->count, bytes, count);
    buffer->count += count;
    return true;
}

typedef struct {
    uint32_t *points;
    size_t count, capacity;
} point_buffer;

static bool push(point_buffer *points, uint32_t point) {
    if (points->count == points->capacity) {
        size_t capacity = points->capacity * 2 + 64;
        uint32_t *grown = realloc(points->points, capacity * sizeof *grown);
        if (!grown) return false;
        points->points = grown;
        points->capacity = capacity;
    }
    points->points[points->count++] = point;
    return true;
}

static uint8_t combining(uint32_t point) {
    return mr_combining_blocks[(uint32_t)mr_combining_index[point >> 8] << 8 | (point & 255)];
}

static bool is_moved(mr_form form, uint32_t point) {
    uint8_t flags = mr_form_flags_blocks[(uint32_t)mr_form_flags_index[point >> 8] << 8 | (point & 255)];
    return (flags & (form == MR_FORM_NFKC ? 2 : 1)) != 0;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

/// The index of a value in a sorted array, or −1.
static int64_t find_point(const uint32_t *points, size_t count, uint32_t point) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (points[middle] < point) low = middle + 1;
        else high = middle;
    }
    return low < count && points[low] == point ? (int64_t)low : -1;
}

static bool push_pool(point_buffer *points, const uint32_t *pool, size_t start, size_t end) {
    for (size_t i = start; i < end; i++)
        if (!push(points, pool[i])) return false;
    return true;
}

static bool decompose(mr_form form, uint32_t point, point_buffer *points) {
    if (point >= 0xac00 && point < 0xd7a4) {  // Hangul syllables (The Unicode Standard, 3.12)
        uint32_t index = point - 0xac00, tail = index % 28;
        return push(points, 0x1100 + index / 588) && push(points, 0x1161 + index % 588 / 28) &&
               (tail == 0 || push(points, 0x11a7 + tail));
    }
    if (form == MR_FORM_NFKC) {
        int64_t i = find_point(mr_compatible_points, COUNT(mr_compatible_points), point);
        if (i >= 0) return push_pool(points, mr_compatible_pool, mr_compatible_starts[i], mr_compatible_starts[i + 1]);
    }
    int64_t i = find_point(mr_canonical_points, COUNT(mr_canonical_points), point);
    if (i >= 0) return push_pool(points, mr_canonical_pool, mr_canonical_starts[i], mr_canonical_starts[i + 1]);
    return push(points, point);
}

static uint32_t composed(uint32_t first, uint32_t second) {
    if (first >= 0x1100 && first < 0x1113 && second >= 0x1161 && second < 0x1176)
        return 0xac00 + (first - 0x1100) * 588 + (second - 0x1161) * 28;
    if (first >= 0xac00 && first < 0xd7a4 && (first - 0xac00) % 28 == 0 && second > 0x11a7 && second < 0x11c3)
        return first + second - 0x11a7;
    uint64_t pair = (uint64_t)first << 32 | second;
    size_t low = 0, high = COUNT(mr_compose_pairs);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (mr_compose_pairs[middle] < pair) low = middle + 1;
        else high = middle;
    }
    return low < COUNT(mr_compose_pairs) && mr_compose_pairs[low] == pair ? mr_compose_points[low] : 0;
}

/// Sorts runs of combining marks by class, stably. Insertion would be quadratic on a long hostile run: a merge of the
/// 256 classes by counting is not.
static bool order(point_buffer *points) {
    for (size_t i = 0; i < points->count;) {
        if (combining(points->points[i]) == 0) {
            i++;
            continue;
        }
        size_t end = i;
        bool sorted = true;
        while (end < points->count && combining(points->points[end]) != 0) {
            if (end > i && combining(points->points[end - 1]) > combining(points->points[end])) sorted = false;
            end++;
        }
        if (!sorted) {
            size_t starts[257] = {0}, count = end - i;
            uint32_t *ordered = malloc(count * sizeof *ordered);
            if (!ordered) return false;
            for (size_t k = i; k < end; k++) starts[combining(points->points[k]) + 1]++;
            for (int k = 1; k < 257; k++) starts[k] += starts[k - 1];
            for (size_t k = i; k < end; k++) ordered[starts[combining(points->points[k])]++] = points->points[k];
            memcpy(points->points + i, ordered, count * sizeof *ordered);
            free(ordered);
        }
        i = end;
    }
    return true;
}

static void compose(point_buffer *points) {
    int64_t starter = -1;
    int previous = 0;  // the class of the last character kept after the starter
    size_t kept = 0;
    for (size_t i = 0; i < points->count; i++) {
        uint32_t point = points->points[i];
        int class = combining(point);
        if (starter >= 0) {
            bool blocked = kept > (size_t)starter + 1 && previous >= class;
            uint32_t whole = blocked ? 0 : composed(points->points[starter], point);
            if (whole) {
                points->points[starter] = whole;
                continue;
            }
        }
        if (class == 0) starter = (int64_t)kept;
        previous = class;
        points->points[kept++] = point;
    }
    points->count = kept;
}

static bool append_point(byte_buffer *output, uint32_t point) {
    uint8_t bytes[4];
    size_t count;
    if (point < 0x80) {
        bytes[0] = (uint8_t)point;
        count = 1;
    } else if (point < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | point >> 6);
        bytes[1] = (uint8_t)(0x80 | (point & 0x3f));
        count = 2;
    } else if (point < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | point >> 12);
        bytes[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (point & 0x3f));
        count = 3;
    } else {
        bytes[0] = (uint8_t)(0xf0 | point >> 18);
        bytes[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        bytes[3] = (uint8_t)(0x80 | (point & 0x3f));
        count = 4;
    }
    return buffer_append(output, bytes, count);
}

bool normalize(mr_form form, const uint8_t *bytes, size_t count, byte_buffer *output) {
    const uint8_t *limit = bytes + count, *p = bytes, *copied = bytes, *previous = 0;
    point_buffer points = {0, 0, 0};
    bool ok = buffer_reserve(output, count, 0);
    while (ok && p < limit) {
        uint32_t point = *p;
        int length = point < 0x80 ? 1 : decode(p, limit, &point);
        if (length <= 0) {  // an invalid byte joins nothing
            previous = 0;
            p++;
            continue;
        }
        if (!is_moved(form, point)) {
            previous = p;
            p += length;
            continue;
        }
        const uint8_t *begin = previous ? previous : p;
        ok = buffer_append(output, copied, (size_t)(begin - copied));
        points.count = 0;
        const uint8_t *q = begin;
        for (bool first = true; ok && q < limit; first = false) {
            point = *q;
            length = point < 0x80 ? 1 : decode(q, limit, &point);
            if (length <= 0 || (!(first && previous) && !is_moved(form, point))) break;
            ok = decompose(form, point, &points);
            q += length;
        }
        ok = ok && order(&points);
        if (!ok) break;
        compose(&points);
        for (size_t i = 0; ok && i < points.count; i++) ok = append_point(output, points.points[i]);
        p = copied = q;
        previous = 0;
    }
    ok = ok && buffer_append(output, copied, (size_t)(limit - copied));
    free(points.points);
    return ok;
}

size_t normal_boundary(const uint8_t *bytes, size_t count) {
    // ASCII characters and those of U+4000 … U+9FFF (lead bytes E4 … E9) begin anew: no form joins them to what comes before.
    for (size_t p = count; p > 0; p--)
        if (bytes[p - 1] < 0x80 || (bytes[p - 1] >= 0xe4 && bytes[p - 1] <= 0xe9)) return p - 1;
    return 0;
}
