#!/usr/bin/env python3
"""Turns unpacked Debian packages into documents: one JSON object a line, {"source": …, "text": …}, on stdout.

    debian_prose.py ROOT        ROOT is where `dpkg-deb -x` put the packages

    WordNet   each synset: its words, then its gloss with the example sentences
    FOLDOC    each entry of the Free On-line Dictionary of Computing
    Perl      each section (=head1) of each manual page in POD, code included, mark-up removed

Order is fixed (sorted paths, file order), so the same packages give the same bytes. Standard library only.
"""

import glob
import gzip
import html
import json
import os
import re
import sys

SHORTEST = 40  # characters; shorter documents are headings, aliases and empty sections


def wordnet(root):
    """data.{noun,verb,adj,adv}: `offset file type count(hex) {word id}×count pointers… | gloss`; two spaces open the
    licence lines at the head."""
    for path in sorted(glob.glob(os.path.join(root, "usr/share/wordnet/data.*"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("  ") or " | " not in line:
                    continue
                fields, _, gloss = line.partition(" | ")
                fields = fields.split(" ")
                words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                names = ", ".join(re.sub(r"\([a-z]+\)$", "", word).replace("_", " ") for word in words)
                yield f"{names}: {' '.join(gloss.split())}"


def foldoc(root):
    """dictd's text: an entry is a line at the margin followed by an indented body; {braces} mark cross-references."""
    for path in sorted(glob.glob(os.path.join(root, "usr/share/dictd/foldoc.dict.dz"))):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            heading, body = None, []
            for line in [*file, "end of file\n"]:
                if line[0].isspace():
                    body.append(re.sub(r"[{}]", "", line.strip()))
                    continue
                text = "\n".join(body).strip()
                if heading and text and not heading.startswith("00-database"):
                    yield f"{heading}\n\n{text}"
                heading, body = line.strip(), []


def perl(root):
    for path in sorted(glob.glob(os.path.join(root, "usr/share/perl/**/*.pod"), recursive=True)):
        with open(path, encoding="utf-8", errors="replace") as file:
            yield from pod_sections(file.read())


def pod_sections(text):
    for section in re.split(r"(?m)^(?==head1\b)", text):
        lines, skipping = [], False
        for line in section.split("\n"):
            if line.startswith("="):
                command, _, rest = line.partition(" ")
                skipping = command in ("=begin", "=for", "=encoding") or (skipping and command != "=end")
                if command.startswith("=head") or (command == "=item" and rest.strip() not in ("", "*")):
                    lines.append(plain(rest))
            elif not skipping:
                lines.append(line.rstrip() if line.startswith((" ", "\t")) else plain(line.rstrip()))
        yield re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def plain(line):
    """Removes POD's B<…>, C<< … >>, L<text|target>, from the inside out; X<…> (index) goes altogether."""
    before = None
    while before != line:
        before = line
        line = re.sub(r"[XZ]<[^<>]*>", "", line)
        line = re.sub(r"E<(\w+)>", lambda match: html.unescape(f"&{match[1]};") if match[1] not in ("sol", "verbar")
                      else "/|"[match[1] == "verbar"], line)
        line = re.sub(r"L<([^<>|]*\|)?([^<>]*)>", lambda match: (match[1] or match[2] + "|")[:-1], line)
        line = re.sub(r"[BCFIS](?:<< ([^<>]*) >>|<([^<>]*)>)", lambda match: match[1] or match[2] or "", line)
    return line


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        print("usage: debian_prose.py ROOT", file=sys.stderr)
        return 64
    for source, documents in (("wordnet", wordnet), ("foldoc", foldoc), ("perl", perl)):
        count = size = 0
        for text in documents(sys.argv[1]):
            if len(text) < SHORTEST:
                continue
            print(json.dumps({"source": source, "text": text}, ensure_ascii=False))
            count, size = count + 1, size + len(text.encode())
        print(f"debian_prose: {source}: {count} documents, {size / 1e6:.1f} MB", file=sys.stderr)
        if count == 0:
            print(f"debian_prose.py: no documents from {source} under '{sys.argv[1]}'", file=sys.stderr)
            return 65
    return 0


if __name__ == "__main__":
    sys.exit(main())
