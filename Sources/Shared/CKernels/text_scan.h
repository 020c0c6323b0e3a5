// Pre-tokens by hand-written scanners, one a family of regular expressions. Each function returns the end of the
// pre-token that begins at `p`, as the leftmost-first regular expression would; what the expression finds by backtracking
// is found here by remembering the last place where it could have gone another way, so that time is linear.
//
// The text ends at `limit`, where a byte 0xff stands: no ASCII loop runs over it, because it goes to the slow path,
// which knows the limit. Whoever looks at the end sets `hit`: as long as more text may come, such a pre-token is not certain.
#ifndef MILLRACE_TEXT_SCAN_H
#define MILLRACE_TEXT_SCAN_H

#include "include/text.h"
#include "unicode_tables.h"

#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const uint8_t *limit;
    bool last;     // no text follows the limit
    bool hit;      // a decision depended on the limit
    int segment;   // DeepSeek: what kind of characters the current segment holds
} scanner;

typedef struct {
    uint32_t class;
    uint32_t length;
} character;

#define IS(c, mask) ((1u << (c) & (mask)) != 0)
#define M(c) (1u << MR_CLASS_##c)
#define LETTER (M(UPPER) | M(LOWER) | M(LETTER))
#define SPACES (M(SPACE) | M(WHITE) | M(NEWLINE))
#define END M(END)
// Neither white space nor letter nor number: marks, punctuation, symbols, everything else.
#define REST (M(OTHER) | M(MARK) | M(PUNCTUATION) | M(SYMBOL))

/// The code point of the well-formed UTF-8 sequence at `p` (lead byte ≥ 0x80) and its length; length 0 when it is not
/// well-formed, −1 when the text ends inside it.
INLINE int decode(const uint8_t *p, const uint8_t *limit, uint32_t *point) {
    uint32_t lead = p[0];
    int64_t left = limit - p;
    if (lead < 0xc2 || lead > 0xf4) return 0;
    int length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (left < 2) return -1;
    uint32_t second = p[1];
    uint32_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint32_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) return 0;
    if (length == 2) {
        *point = (lead & 0x1f) << 6 | (second & 0x3f);
        return 2;
    }
    if (left < 3) return -1;
    if ((p[2] & 0xc0) != 0x80) return 0;
    if (length == 3) {
        *point = (lead & 0x0f) << 12 | (second & 0x3f) << 6 | (p[2] & 0x3f);
        return 3;
    }
    if (left < 4) return -1;
    if ((p[3] & 0xc0) != 0x80) return 0;
    *point = (lead & 0x07) << 18 | (second & 0x3f) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3f);
    return 4;
}

INLINE uint32_t class_of(uint32_t point) {
    return mr_class_blocks[(uint32_t)mr_class_index[point >> 8] << 8 | (point & 255)];
}

INLINE character peek_wide(scanner *s, const uint8_t *p, uint32_t *point) {
    if (p >= s->limit) {
        s->hit = true;
        return (character){MR_CLASS_END, 0};
    }
    int length = decode(p, s->limit, point);
    if (length > 0) return (character){class_of(*point), (uint32_t)length};
    if (length < 0 && !s->last) {
        s->hit = true;
        return (character){MR_CLASS_END, 0};
    }
    *point = 0xffffffff;
    return (character){MR_CLASS_OTHER, 1};
}

/// The character at `p`. Its class is END at the limit.
INLINE character peek(scanner *s, const uint8_t *p) {
    if (*p < 0x80) return (character){mr_class_blocks[*p], 1};
    uint32_t point;
    return peek_wide(s, p, &point);
}

/// The end of the run of characters of `mask` at `p`.
INLINE const uint8_t *run(scanner *s, const uint8_t *p, uint32_t mask) {
    for (;;) {
        while (*p < 0x80 && IS(mr_class_blocks[*p], mask)) p++;
        if (*p < 0x80) return p;
        character c = peek(s, p);
        if (!IS(c.class, mask)) return p;
        p += c.length;
    }
}

/// The run of newlines (with `slash` also of '/') at `p`.
INLINE const uint8_t *newlines(scanner *s, const uint8_t *p, bool slash) {
    while (*p == '\r' || *p == '\n' || (slash && *p == '/')) p++;
    if (p >= s->limit) s->hit = true;
    return p;
}

/// The length of 's, 't, 're, 've, 'm, 'll, 'd at `p`, which holds an apostrophe; 0 when there is none. Without regard
/// to case ſ (U+017F) counts as s.
INLINE int contraction(scanner *s, const uint8_t *p, bool any_case) {
    if (s->limit - p < 3) s->hit = true;
    uint32_t first = p[1], second = p + 1 < s->limit ? p[2] : 0xff;
    if (any_case && first == 0xc5 && second == 0xbf) return 3;
    if (any_case && first < 0x80) first |= 0x20;
    if (any_case && second < 0x80) second |= 0x20;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if ((first == 'r' || first == 'v') && second == 'e') return 3;
    if (first == 'l' && second == 'l') return 3;
    return 0;
}

/// \s+(?!\S)|\s+ at `p`, before it \s*[\r\n]+ when `lines`, before that \s++$ when `whole_end`.
INLINE const uint8_t *spaces(scanner *s, const uint8_t *p, bool lines, bool whole_end) {
    const uint8_t *q = p, *last = p, *line = 0;
    for (;;) {
        character c = peek(s, q);
        if (!IS(c.class, SPACES)) {
            if (IS(c.class, END) && (whole_end || !line)) return q;
            break;
        }
        last = q;
        q += c.length;
        if (lines && c.class == MR_CLASS_NEWLINE) line = q;
    }
    if (line) return line;
    return last > p ? last : q;
}

INLINE const uint8_t *digits(scanner *s, const uint8_t *p, int most) {
    for (int count = 0; count < most; count++) {
        character c = peek(s, p);
        if (c.class != MR_CLASS_NUMBER) break;
        p += c.length;
    }
    return p;
}

/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
INLINE const uint8_t *scan_gpt2(scanner *s, const uint8_t *p) {
    const uint8_t *q = p;
    character c = peek(s, p);
    if (c.class == MR_CLASS_SPACE) {
        q++;
        c = peek(s, q);
    } else if (*p == '\'') {
        int length = contraction(s, p, false);
        if (length) return p + length;
    }
    if (IS(c.class, LETTER)) return run(s, q + c.length, LETTER);
    if (IS(c.class, REST)) return run(s, q + c.length, REST);
    if (c.class == MR_CLASS_NUMBER) return run(s, q + c.length, M(NUMBER));
    return spaces(s, p, false, false);
}

/// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,most}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
INLINE const uint8_t *scan_cl100k(scanner *s, const uint8_t *p, int most, bool whole_end) {
    character c = peek(s, p);
    const uint8_t *q = p + c.length;
    if (IS(c.class, LETTER)) return run(s, q, LETTER);
    if (c.class == MR_CLASS_NUMBER) return digits(s, p, most);
    if (c.class == MR_CLASS_NEWLINE) return spaces(s, p, true, whole_end);
    if (*p == '\'') {
        int length = contraction(s, p, true);
        if (length) return p + length;
    }
    character next = peek(s, q);
    if (IS(next.class, LETTER)) return run(s, q + next.length, LETTER);
    if (c.class == MR_CLASS_SPACE ? IS(next.class, REST) : IS(c.class, REST)) {
        return newlines(s, run(s, q, REST), false);
    }
    return spaces(s, p, true, whole_end);
}

/// The words of o200k: with A = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and B = [\p{Ll}\p{Lm}\p{Lo}\p{M}], A*B+ (then *lower is
/// true) or else A+B*, at `p`; NULL when there is neither. A* takes all it can; when nothing of B follows it gives back
/// up to the last character that is in both.
INLINE const uint8_t *cased(scanner *s, const uint8_t *p, bool *lower) {
    const uint8_t *q = p, *both = 0;
    character c;
    for (;;) {
        c = peek(s, q);
        if (!IS(c.class, M(UPPER) | M(LETTER) | M(MARK))) break;
        q += c.length;
        if (c.class != MR_CLASS_UPPER) both = q;
    }
    *lower = true;
    if (c.class == MR_CLASS_LOWER) return run(s, q + c.length, M(LOWER) | M(LETTER) | M(MARK));
    if (both) return both;
    *lower = false;
    return q > p ? q : 0;
}

/// [^\r\n\p{L}\p{N}]?A*B+(?i:'s|…)?|[^\r\n\p{L}\p{N}]?A+B*(?i:'s|…)?|\p{N}{1,most}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|
/// \s+(?!\S)|\s+ with A and B as above.
INLINE const uint8_t *scan_o200k(scanner *s, const uint8_t *p, int most, bool contractions) {
    character c = peek(s, p);
    const uint8_t *q = p + c.length, *word = 0;
    bool lower;
    if (IS(c.class, LETTER)) {
        word = cased(s, p, &lower);
    } else if (c.class == MR_CLASS_NUMBER) {
        return digits(s, p, most);
    } else if (c.class != MR_CLASS_NEWLINE) {
        word = cased(s, q, &lower);
        // A mark is a word by itself before it is the prefix of a word in capitals.
        if (c.class == MR_CLASS_MARK && (!word || !lower)) word = q;
    }
    if (word) {
        if (contractions) {
            if (*word == '\'') return word + contraction(s, word, true);
            if (word >= s->limit) s->hit = true;
        }
        return word;
    }
    if (c.class == MR_CLASS_SPACE ? IS(peek(s, q).class, REST) : IS(c.class, REST)) {
        return newlines(s, run(s, q, REST), true);
    }
    return spaces(s, p, true, false);
}

enum { SEGMENT_OTHER, SEGMENT_HAN_KANA, SEGMENT_NUMBER };

/// Like `peek`, but a character of another kind of segment is the end.
INLINE character peek_segment(scanner *s, const uint8_t *p, int *segment) {
    if (*p < 0x80) {
        uint32_t class = mr_class_blocks[*p];
        *segment = class == MR_CLASS_NUMBER ? SEGMENT_NUMBER : SEGMENT_OTHER;
        return (character){*segment == s->segment ? class : MR_CLASS_END, 1};
    }
    uint32_t point = 0;
    character c = peek_wide(s, p, &point);
    if (c.class == MR_CLASS_END) return c;
    bool han_kana = (point >= 0x4e00 && point <= 0x9fa5) || (point >= 0x3040 && point <= 0x30ff);
    *segment = han_kana ? SEGMENT_HAN_KANA : c.class == MR_CLASS_NUMBER ? SEGMENT_NUMBER : SEGMENT_OTHER;
    if (*segment != s->segment) c.class = MR_CLASS_END;
    return c;
}

INLINE const uint8_t *run_segment(scanner *s, const uint8_t *p, uint32_t mask) {
    for (;;) {
        int segment;
        character c = peek_segment(s, p, &segment);
        if (!IS(c.class, mask)) return p;
        p += c.length;
    }
}

INLINE const uint8_t *spaces_segment(scanner *s, const uint8_t *p) {
    const uint8_t *q = p, *last = p, *line = 0;
    for (;;) {
        int segment;
        character c = peek_segment(s, q, &segment);
        if (!IS(c.class, SPACES)) {
            if (line) return line;
            if (IS(c.class, END)) return q;
            break;
        }
        last = q;
        q += c.length;
        if (c.class == MR_CLASS_NEWLINE) line = q;
    }
    return last > p ? last : q;
}

INLINE bool is_ascii_letter(uint8_t byte) { return (uint8_t)((byte | 0x20) - 'a') < 26; }

/// \p{N}{1,3}, then [一-龥぀-ゟ゠-ヿ]+, then in what lies between
/// [!-/:-~ without letters and digits][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|
/// \s+(?!\S)|\s+, each as its own pre-token; what none of them matches is one between two matches.
INLINE const uint8_t *scan_deepseek(scanner *s, const uint8_t *p) {
    const uint32_t words = LETTER | M(MARK), signs = M(PUNCTUATION) | M(SYMBOL);
    s->segment = SEGMENT_OTHER;
    int segment = SEGMENT_OTHER;
    character c = peek_segment(s, p, &segment);
    if (segment == SEGMENT_NUMBER) return digits(s, p, 3);
    if (segment != s->segment) {
        s->segment = segment;
        c = peek_segment(s, p, &segment);
    }
    const uint8_t *q = p + c.length;
    if (IS(c.class, words)) return run_segment(s, q, words);
    if (c.class == MR_CLASS_NEWLINE) return spaces_segment(s, p);
    if (IS(c.class, signs)) {
        if (*p < 0x80) {
            const uint8_t *letters = q;
            while (is_ascii_letter(*letters)) letters++;
            if (letters >= s->limit) s->hit = true;
            if (letters > q) return letters;
        }
        q = run_segment(s, q, signs);
        return s->segment == SEGMENT_OTHER ? newlines(s, q, false) : q;
    }
    character next = peek_segment(s, q, &segment);
    if (IS(next.class, words)) return run_segment(s, q + next.length, words);
    if (c.class == MR_CLASS_SPACE && IS(next.class, signs)) {
        return newlines(s, run_segment(s, q, signs), false);
    }
    if (IS(c.class, SPACES)) return spaces_segment(s, p);
    // Outside every class: up to the next match, which may begin with the last of these characters.
    while (next.class == MR_CLASS_OTHER) {
        character after = peek_segment(s, q + next.length, &segment);
        if (IS(after.class, words)) break;
        q += next.length;
        next = after;
    }
    return q;
}

INLINE const uint8_t *scan(scanner *s, const uint8_t *p, mr_pattern pattern) {
    switch (pattern) {
    case MR_PATTERN_GPT2: return scan_gpt2(s, p);
    case MR_PATTERN_CL100K: return scan_cl100k(s, p, 3, false);
    case MR_PATTERN_CL100K_TIKTOKEN: return scan_cl100k(s, p, 3, true);
    case MR_PATTERN_QWEN: return scan_cl100k(s, p, 1, false);
    case MR_PATTERN_O200K: return scan_o200k(s, p, 3, true);
    case MR_PATTERN_TEKKEN: return scan_o200k(s, p, 1, false);
    case MR_PATTERN_DEEPSEEK: return scan_deepseek(s, p);
    case MR_PATTERN_NONE: break;
    }
    s->hit = true;
    return s->limit;
}

#endif
