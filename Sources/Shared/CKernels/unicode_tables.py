#!/usr/bin/env python3
"""Writes unicode_tables.h (classes of characters) and unicode_forms.h (NFC and NFKC) beside this file.

Needs the pinned data, which come as a Python package: pip install unicodedata2==16.0.0. Unicode 16.0 is what the regular
expressions of tiktoken 0.14 and tokenizers 0.23 know; another version would cut text with newer letters otherwise.
`make tokenizers` compares every code point's class with both.
"""
import os
import unicodedata2 as data

VERSION = "16.0.0"
assert data.unidata_version == VERSION, f"expected Unicode {VERSION}, found {data.unidata_version}"
HERE = os.path.dirname(os.path.abspath(__file__))
POINTS = range(0x110000)
CLASSES = ["OTHER", "UPPER", "LOWER", "LETTER", "MARK", "NUMBER", "PUNCTUATION", "SYMBOL", "WHITE", "NEWLINE", "SPACE", "END"]
# White_Space of PropList.txt, which \s is.
WHITE = set([*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])


def class_of(point):
    category = data.category(chr(point))
    if point == 32:
        return "SPACE"
    if point in (10, 13):
        return "NEWLINE"
    if point in WHITE:
        return "WHITE"
    if category in ("Lu", "Lt"):
        return "UPPER"
    if category == "Ll":
        return "LOWER"
    if category in ("Lm", "Lo"):
        return "LETTER"
    return {"M": "MARK", "N": "NUMBER", "P": "PUNCTUATION", "S": "SYMBOL"}.get(category[0], "OTHER")


def rows(values, form="{}"):
    """The values in lines of at most 120 characters."""
    lines, line = [], "   "
    for value in values:
        text = " " + form.format(value) + ","
        if len(line) + len(text) > 120:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join(lines + [line])


def two_stage(name, values):
    """The table as an index of blocks of 256."""
    blocks, index = [], []
    for start in range(0, len(values), 256):
        block = tuple(values[start : start + 256])
        if block not in blocks:
            blocks.append(block)
        index.append(blocks.index(block))
    assert len(blocks) < 65536
    kind = "uint8_t" if len(blocks) <= 256 else "uint16_t"
    flat = [value for block in blocks for value in block]
    return (
        f"static const {kind} {name}_index[{len(index)}] = {{\n{rows(index)}\n}};\n"
        f"static const uint8_t {name}_blocks[{len(flat)}] = {{\n{rows(flat)}\n}};\n"
    )


def array(kind, name, values, form="{}"):
    return f"static const {kind} {name}[{len(values)}] = {{\n{rows(values, form)}\n}};\n"


def write(name, guard, summary, body):
    with open(os.path.join(HERE, name), "w") as file:
        file.write(
            f"// Made by unicode_tables.py from Unicode {VERSION}; do not edit. {summary}\n"
            f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n// clang-format off\n{body}\n#endif\n"
        )


def classes():
    body = "enum {\n" + "".join(f"    MR_CLASS_{name} = {index},\n" for index, name in enumerate(CLASSES)) + "};\n\n"
    body += two_stage("mr_class", [CLASSES.index(class_of(point)) for point in POINTS])
    write("unicode_tables.h", "MILLRACE_UNICODE_TABLES_H", "Classes of characters, by code point.", body)


def forms():
    def fixed(form, point):
        text = chr(point)
        return 0xD800 <= point < 0xE000 or data.normalize(form, text) == text

    compositions = {}
    for point in POINTS:
        parts = data.decomposition(chr(point)).split()
        # A canonical decomposition in two that NFC undoes; what it does not undo is excluded from composition.
        if len(parts) == 2 and not parts[0].startswith("<") and data.normalize("NFC", chr(point)) == chr(point):
            compositions[int(parts[0], 16) << 32 | int(parts[1], 16)] = point
    seconds = {pair & 0xFFFFFFFF for pair in compositions} | {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    flags = []
    for point in POINTS:
        moves = data.combining(chr(point)) != 0 or point in seconds
        flags.append((1 if moves or not fixed("NFC", point) else 0) | (2 if moves or not fixed("NFKC", point) else 0))
    body = "// Bit 0: NFC may change the character or join it to what comes before; bit 1: NFKC may.\n"
    body += two_stage("mr_form_flags", flags)
    body += "// Canonical combining classes.\n" + two_stage("mr_combining", [data.combining(chr(p)) for p in POINTS])
    for form, name in (("NFD", "canonical"), ("NFKD", "compatible")):
        points, starts, pool = [], [0], []
        for point in POINTS:
            if 0xAC00 <= point < 0xD7A4 or 0xD800 <= point < 0xE000:
                continue
            text = data.normalize(form, chr(point))
            if form == "NFKD" and text == data.normalize("NFD", chr(point)):
                continue
            if text != chr(point):
                points.append(point)
                pool += [ord(c) for c in text]
                starts.append(len(pool))
        body += f"// {form} of what it changes" + (", where it differs from NFD" if form == "NFKD" else "") + ".\n"
        body += array("uint32_t", f"mr_{name}_points", points, "0x{:x}")
        body += array("uint16_t", f"mr_{name}_starts", starts)
        body += array("uint32_t", f"mr_{name}_pool", pool, "0x{:x}")
    pairs = sorted(compositions)
    body += "// Pairs that compose, sorted, and into what.\n"
    body += array("uint64_t", "mr_compose_pairs", pairs, "0x{:x}")
    body += array("uint32_t", "mr_compose_points", [compositions[pair] for pair in pairs], "0x{:x}")
    write("unicode_forms.h", "MILLRACE_UNICODE_FORMS_H", "Normal forms.", body)


classes()
forms()
