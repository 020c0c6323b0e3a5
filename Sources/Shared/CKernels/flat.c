// See include/flat.h. A line of metrics looks like the one before it: each key is first compared with the key that
// followed its predecessor the last time, and only then looked for. Every loop over a line ends at its newline, which is no
// byte of any token.
#include "flat.h"

#include <string.h>

static const uint8_t *skip_spaces(const uint8_t *p) {
    while (*p == ' ' || *p == '\t') p++;
    return p;
}

static int is_digit(uint8_t byte) { return (uint8_t)(byte - '0') < 10; }

static uint64_t load(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

/// Past the digits at p, eight at a time: a byte b is a digit when b ^ '0' is at most 9, so that adding 0x76 to it leaves the
/// high bit clear. A carry disturbs later bytes only, and the first that is no digit is what counts (little-endian, as all of our
/// machines are). Bytes past the line may be read: the buffer is padded.
static const uint8_t *skip_digits(const uint8_t *p) {
    for (;;) {
        uint64_t word = load(p) ^ 0x3030303030303030u;
        uint64_t others = ((word + 0x7676767676767676u) | word) & 0x8080808080808080u;
        if (others != 0) return p + (__builtin_ctzll(others) >> 3);
        p += 8;
    }
}

/// Past a number, or NULL for what is no number or no simple one.
static const uint8_t *number(const uint8_t *p, int32_t *kind) {
    const uint8_t *start = p;
    *kind = MR_FLAT_INTEGER;
    if (*p == '-') p++;
    const uint8_t *digits = p;
    if (*p == '0') {
        p++;
    } else if (is_digit(*p)) {
        p = skip_digits(p);
    } else {
        return NULL;
    }
    if (p - digits > 18) return NULL;
    if (*p == '.') {
        *kind = MR_FLAT_NUMBER;
        p++;
        if (!is_digit(*p)) return NULL;
        p = skip_digits(p);
    }
    if ((*p | 0x20) == 'e') {
        *kind = MR_FLAT_NUMBER;
        p++;
        if (*p == '+' || *p == '-') p++;
        const uint8_t *exponent = p;
        while (is_digit(*p)) p++;
        if (p == exponent || p - exponent > 2) return NULL;
    }
    return p - start > 64 ? NULL : p;
}

static int equals(const uint8_t *left, const uint8_t *right, size_t count) { return memcmp(left, right, count) == 0; }

/// The same for keys in quotes, inline.
static inline int is_key(const uint8_t *left, const uint8_t *right, size_t count) {
    if (count < 8) return equals(left, right, count);
    for (size_t i = 0; i + 8 < count; i += 8) {
        if (load(left + i) != load(right + i)) return 0;
    }
    return load(left + count - 8) == load(right + count - 8);
}

/// The key at p, whose opening quote is there; -1 for one that is not known. `end` is that of the line.
static int32_t find_key(const mr_flat_keys *keys, int32_t guess, const uint8_t *p, const uint8_t *end) {
    size_t room = (size_t)(end - p);
    if (guess >= 0) {
        size_t length = keys->starts[guess + 1] - keys->starts[guess];
        if (length <= room && is_key(p, keys->text + keys->starts[guess], length)) return guess;
    }
    for (int32_t key = 0; key < keys->count; key++) {
        size_t length = keys->starts[key + 1] - keys->starts[key];
        if (length <= room && is_key(p, keys->text + keys->starts[key], length)) return key;
    }
    return -1;
}

static int32_t nonfinite_kind(const uint8_t *text, size_t length) {
    if (length == 3 && equals(text, (const uint8_t *)"nan", 3)) return MR_FLAT_NAN;
    if (length == 3 && equals(text, (const uint8_t *)"inf", 3)) return MR_FLAT_INFINITY;
    if (length == 4 && equals(text, (const uint8_t *)"-inf", 4)) return MR_FLAT_MINUS_INFINITY;
    return -1;
}

/// Gives the nulls that have companions their values and takes the companions out. Returns the cells left, or -1.
static long resolve(const mr_flat_keys *keys, mr_flat_cell *cells, long count, const uint8_t *bytes) {
    for (long i = 0; i < count; i++) {
        int32_t base = keys->bases[cells[i].key];
        if (base < 0) continue;
        int32_t kind = cells[i].kind == MR_FLAT_PLAIN ? nonfinite_kind(bytes + cells[i].offset, cells[i].length) : -1;
        long j = 0;
        while (j < count && cells[j].key != base) j++;
        if (kind < 0 || j == count || cells[j].kind != MR_FLAT_NULL) return -1;
        cells[j].kind = kind;
    }
    long kept = 0;
    for (long i = 0; i < count; i++) {
        if (keys->bases[cells[i].key] < 0) cells[kept++] = cells[i];
    }
    return kept;
}

/// The line at `p` that ends before the newline at `end`: its cells, or -1 when it is not plain.
static long read_line(const uint8_t *bytes, const uint8_t *p, const uint8_t *end, const mr_flat_keys *keys,
                      mr_flat_cell *cells, int64_t *step) {
    long count = 0;
    int has_step = 0;
    int has_companions = 0;
    int32_t previous = -1;
    uint32_t stamp = ++*keys->stamp;
    p = skip_spaces(p);
    if (*p++ != '{') return -1;
    for (;;) {
        p = skip_spaces(p);
        if (*p != '"') return -1;
        int32_t key = find_key(keys, keys->successors[previous + 1], p, end);
        if (key < 0 || keys->stamps[key] == stamp) return -1;
        keys->stamps[key] = stamp;
        keys->successors[previous + 1] = key;
        previous = key;
        p = skip_spaces(p + (keys->starts[key + 1] - keys->starts[key]));
        if (*p++ != ':') return -1;
        p = skip_spaces(p);
        const uint8_t *value = p;
        int32_t kind;
        size_t trim = 0;
        if (*p == '"') {
            value = ++p;
            while ((uint8_t)(*p - 0x20) < 0x5f && *p != '"' && *p != '\\') p++;
            if (*p != '"') return -1;
            p++;
            trim = 1;
            kind = MR_FLAT_PLAIN;
        } else if (*p == 'n') {
            if (end - p < 4 || !equals(p, (const uint8_t *)"null", 4)) return -1;
            p += 4;
            kind = MR_FLAT_NULL;
        } else {
            p = number(p, &kind);
            if (p == NULL) return -1;
        }
        if (key == 0) {
            if (kind != MR_FLAT_INTEGER || *value == '-') return -1;
            int64_t number = 0;
            for (const uint8_t *digit = value; digit < p; digit++) number = number * 10 + (*digit - '0');
            *step = number;
            has_step = 1;
        } else {
            if (keys->bases[key] >= 0) has_companions = 1;
            cells[count++] = (mr_flat_cell){key, kind, (uint32_t)(value - bytes), (uint32_t)((size_t)(p - value) - trim)};
        }
        p = skip_spaces(p);
        if (*p == ',') {
            p++;
        } else if (*p == '}') {
            break;
        } else {
            return -1;
        }
    }
    p = skip_spaces(p + 1);
    if (*p == '\r') p++;
    if (p != end || !has_step) return -1;
    return has_companions ? resolve(keys, cells, count, bytes) : count;
}

size_t mr_flat_lines(const uint8_t *bytes, size_t begin, size_t end, const mr_flat_keys *keys, mr_flat_cell *cells,
                     size_t cell_capacity, mr_flat_line *lines, size_t line_capacity, size_t *consumed, int *is_plain) {
    size_t count = 0;
    size_t used = 0;
    size_t position = begin;
    *is_plain = 1;
    // A line has each key once at most, so that a line's cells always fit.
    while (count < line_capacity && used + (size_t)keys->count <= cell_capacity && position < end) {
        const uint8_t *newline = memchr(bytes + position, '\n', end - position);
        if (newline == NULL) break;
        size_t length = (size_t)(newline - (bytes + position)) + 1;
        int64_t step = 0;
        long found = length > 1 << 20 ? -1 : read_line(bytes, bytes + position, newline, keys, cells + used, &step);
        if (found < 0) {
            *is_plain = 0;
            break;
        }
        lines[count++] = (mr_flat_line){step, (uint32_t)used, (uint32_t)found, (uint32_t)position, (uint32_t)length};
        used += (size_t)found;
        position += length;
    }
    *consumed = position;
    return count;
}

static size_t write_integer(uint8_t *out, int64_t value) {
    uint8_t digits[20];
    size_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < count; i++) out[i] = digits[count - 1 - i];
    return count;
}

/// Short texts are what rows are made of: two fixed copies of 16 bytes are quicker than a call. Both sides have room for 32.
static void copy(uint8_t *out, const uint8_t *from, size_t count, int has_room) {
    if (count <= 32 && has_room) {
        memcpy(out, from, 16);
        memcpy(out + 16, from + 16, 16);
    } else {
        memcpy(out, from, count);
    }
}

long mr_flat_row(uint8_t *out, size_t capacity, int64_t step, const uint8_t *bytes, const mr_flat_cell *cells, size_t count,
                 const uint8_t *labels, const uint32_t *label_starts, const uint8_t *head, size_t head_length,
                 const uint8_t *tail, size_t tail_length, int is_json) {
    const char *nothing = is_json ? "null" : "";
    size_t nothing_length = is_json ? 4 : 0;
    size_t position = head_length;
    if (capacity < head_length + tail_length + 64) return 0;
    memcpy(out, head, head_length);
    position += write_integer(out + position, step);
    for (size_t i = 0; i < count; i++) {
        const mr_flat_cell cell = cells[i];
        size_t label_length = label_starts[i + 1] - label_starts[i];
        if (capacity - position < label_length + cell.length + tail_length + 96) return 0;
        if (label_length == 1) {
            out[position] = labels[label_starts[i]];
        } else {
            memcpy(out + position, labels + label_starts[i], label_length);
        }
        position += label_length;
        const char *name = NULL;
        switch (cell.kind) {
        case MR_FLAT_MISSING:
        case MR_FLAT_NULL:
            memcpy(out + position, nothing, nothing_length);
            position += nothing_length;
            continue;
        case MR_FLAT_NAN: name = "nan"; break;
        case MR_FLAT_INFINITY: name = "inf"; break;
        case MR_FLAT_MINUS_INFINITY: name = "-inf"; break;
        case MR_FLAT_PLAIN:
            if (is_json) {
                out[position++] = '"';
            } else if (memchr(bytes + cell.offset, ',', cell.length) ||
                       (cell.length > 0 && (bytes[cell.offset] == ' ' || bytes[cell.offset + cell.length - 1] == ' '))) {
                return -1;
            }
            break;
        case MR_FLAT_STRING: return -1;
        default: break;
        }
        if (name != NULL) {
            if (is_json) return -1;
            size_t length = strlen(name);
            memcpy(out + position, name, length);
            position += length;
            continue;
        }
        copy(out + position, bytes + cell.offset, cell.length, 1);
        position += cell.length;
        if (is_json && cell.kind == MR_FLAT_PLAIN) out[position++] = '"';
    }
    memcpy(out + position, tail, tail_length);
    return (long)(position + tail_length);
}

int mr_flat_double(const uint8_t *text, size_t count, double *value) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    size_t i = 0;
    int is_negative = 0;
    if (i < count && text[i] == '-') {
        is_negative = 1;
        i++;
    }
    uint64_t mantissa = 0;
    int exponent = 0;
    int digits = 0;
    int seen_point = 0;
    for (; i < count; i++) {
        uint8_t byte = text[i];
        if (byte == '.') {
            seen_point = 1;
            continue;
        }
        if (!is_digit(byte)) break;
        if (++digits > 18) return 0;
        mantissa = mantissa * 10 + (uint64_t)(byte - '0');
        if (seen_point) exponent--;
    }
    if (i < count) {  // an exponent of at most two digits
        i++;
        int sign = 1;
        if (i < count && (text[i] == '-' || text[i] == '+')) sign = text[i++] == '-' ? -1 : 1;
        int power = 0;
        if (count - i > 3) return 0;
        for (; i < count; i++) power = power * 10 + (text[i] - '0');
        exponent += sign * power;
    }
    if (mantissa >> 53 != 0 || exponent < -22 || exponent > 22) return 0;
    double result = (double)mantissa;
    result = exponent < 0 ? result / powers[-exponent] : result * powers[exponent];
    *value = is_negative ? -result : result;
    return 1;
}
