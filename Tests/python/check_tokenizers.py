#!/usr/bin/env python3
"""Ids of tok-shard encode beside those of tiktoken and of Hugging Face's tokenizers: equal, or the first place where not.

Vocabularies and text come from corpora.py. --quick takes a megabyte of each script instead of everything (over 100 MB).
Every comparison also decodes the ids again. Run by `make tokenizers`, which puts tok-shard on the PATH.
"""
import argparse
import base64
import json
import os
import random
import resource
import subprocess
import sys
import tempfile

import numpy
import regex
import tiktoken
import tokenizers

import corpora

failures = 0


class Vocabulary:
    """One vocabulary as both sides know it: `reference` gives the ids of a str."""

    def __init__(self, name, path, reference, special=None, core=None, split=None, form=None, options=()):
        self.name, self.path, self.reference, self.special = name, path, reference, special
        self.core, self.split, self.form, self.options = core, split, form, list(options)

    def encode(self, *files, special=False):
        command = ["tok-shard", "encode", "--tokenizer", self.path, "--format", "ids-u32", *self.options]
        command += ["--allow-special"] * special + list(files)
        return numpy.frombuffer(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, dtype="<u4")

    def decode(self, ids):
        command = ["tok-shard", "decode", "--tokenizer", self.path, "--format", "ids-u32", *self.options, "-"]
        return subprocess.run(command, check=True, input=ids.tobytes(), stdout=subprocess.PIPE).stdout


GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
QWEN = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def read_ranks(path):
    with open(path, "rb") as file:
        return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in file if line.strip())}


def rank_vocabulary(name, path, known=None, pattern=None, special=None, form=None, options=()):
    if known:
        from tiktoken_ext import openai_public

        # The definition that tiktoken itself has, with the file that lies here in place of the download.
        openai_public.load_tiktoken_bpe = lambda *_, **__: read_ranks(path)
        definition = getattr(openai_public, known)()
        pattern, special = definition["pat_str"], definition["special_tokens"]
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=read_ranks(path), special_tokens=special)
    normal = (lambda text: text) if not form else (lambda text: form(text))
    return Vocabulary(
        name, path, lambda text: encoding.encode_ordinary(normal(text)), core=encoding._core_bpe,
        special=lambda text: encoding.encode(text, allowed_special="all"), split=pattern, form=form, options=options)


def json_vocabulary(name, path, form=None):
    """`form`: applied to text before the reference sees it, and what decoding must give."""
    loaded = tokenizers.Tokenizer.from_file(path)
    loaded.encode_special_tokens = True
    marked = tokenizers.Tokenizer.from_file(path)
    before = form or (lambda text: text)
    return Vocabulary(
        name, path, lambda text: loaded.encode(before(text), add_special_tokens=False).ids,
        special=lambda text: marked.encode(before(text), add_special_tokens=False).ids,
        form=form or (loaded.normalizer and loaded.normalizer.normalize_str))


def gpt2_ranks(folder):
    """GPT-2's ids by bytes, for tiktoken: the ids in order of the merges are the ranks."""
    with open(os.path.join(folder, "encoder.json")) as file:
        vocabulary = json.load(file)
    alphabet = {chr(c): c for c in [*range(33, 127), *range(161, 173), *range(174, 256)]}
    for index, byte in enumerate(b for b in range(256) if b not in alphabet.values()):
        alphabet[chr(256 + index)] = byte
    return {bytes(alphabet[c] for c in token): rank for token, rank in vocabulary.items() if token != "<|endoftext|>"}


def made_vocabulary(folder, pattern, ignore):
    """A file in the style of Llama 3, made here: the pattern, whole tokens without merges, a marker of the beginning."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=ignore))
    pre = tokenizers.pre_tokenizers
    made.pre_tokenizer = pre.Sequence([
        pre.Split(tokenizers.Regex(pattern), behavior="isolated", invert=False),
        pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = tokenizers.decoders.ByteLevel()
    files = [corpora.corpus(script, 1_000_000) for script in corpora.PACKAGES]
    made.train(files, tokenizers.trainers.BpeTrainer(
        vocab_size=8000, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
        initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])
    path = os.path.join(folder, f"made-{ignore}.json")
    made.save(path)
    if ignore:
        # A token that no merge leads to: with ignore_merges it is found whole.
        with open(path) as file:
            data = json.load(file)
        data["model"]["vocab"]["Ġunreachableword"] = 8000
        with open(path, "w") as file:
            json.dump(data, file)
    return path


def report(name, fine, detail=""):
    global failures
    failures += not fine
    print(f"{'ok  ' if fine else 'FAIL'} {name}{detail}", flush=True)


def processor_time():
    """Seconds that finished child processes took: a busy machine does not lengthen them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare_training(folder, quick):
    """The vocabulary and merges of train-tokenizer beside those of BpeTrainer, ids of both, on the same lines."""
    pre = tokenizers.pre_tokenizers
    paths = []
    for script in corpora.PACKAGES:
        with open(corpora.corpus(script, 1_000_000), "rb") as file:
            paths.append(os.path.join(folder, "train-" + script))
            with open(paths[-1], "wb") as target:
                target.write(file.read()[: 300_000 if quick else 1_000_000].decode(errors="ignore").encode())
    made = os.path.join(folder, "trained.json")
    for name, steps in (("gpt2", pre.ByteLevel(add_prefix_space=False)), ("cl100k", pre.Sequence([
            pre.Split(tokenizers.Regex(LLAMA3), behavior="isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]))):
        subprocess.run(["tok-shard", "train-tokenizer", "--output", made, "--vocab-size", "6000", "--pattern", name,
                        "--special", "<|endoftext|>", "--special", "<|pad|>", "--lines", *paths], check=True)
        theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
        theirs.pre_tokenizer = steps
        theirs.train(paths, tokenizers.trainers.BpeTrainer(
            vocab_size=6000, special_tokens=["<|endoftext|>", "<|pad|>"], initial_alphabet=pre.ByteLevel.alphabet(),
            show_progress=False))
        with open(made) as file:
            ours = json.load(file)["model"]
        model = json.loads(theirs.to_str())["model"]
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        report(f"train-tokenizer --pattern {name}: vocabulary and merges",
               ours["vocab"] == model["vocab"] and ours["merges"] == merges, f": {len(merges)} merges")
        loaded = tokenizers.Tokenizer.from_file(made)
        with open(paths[0], encoding="utf-8", newline="") as file:
            text = file.read()[:200_000]
        vocabulary = Vocabulary(name, made, lambda text: loaded.encode(text).ids)
        report(f"train-tokenizer --pattern {name}: loaded by tokenizers, ids",
               loaded.encode(text).ids == theirs.encode(text).ids)
        compare(vocabulary, "of the trained file", text.encode(), folder)


def compare(vocabulary, what, data, folder, expected=None, reference=None, special=False, chunk=None):
    """Encodes `data` (bytes) and compares with `expected` or what the reference says of the text, in chunks when given."""
    pieces = [data]
    if chunk:
        pieces, start = [], 0
        while start < len(data):
            end = data.find(b"\n", min(start + chunk, len(data) - 1)) + 1 or len(data)
            pieces.append(data[start:end])
            start = end
    paths = []
    for index, piece in enumerate(pieces):
        paths.append(os.path.join(folder, f"piece-{index}"))
        with open(paths[-1], "wb") as file:
            file.write(piece)
    began = processor_time()
    found = vocabulary.encode(*paths, special=special)
    spent = processor_time() - began
    if expected is None:
        reference = reference or (vocabulary.special if special else vocabulary.reference)
        expected = numpy.concatenate([numpy.array(reference(piece.decode()), dtype="<u4") for piece in pieces])
    fine = len(found) == len(expected) and bool((found == expected).all())
    detail = f": {len(data)} bytes, {len(found)} ids, {spent:.2f} s"
    if not fine:
        shared = min(len(found), len(expected))
        first = int(numpy.argmax(found[:shared] != expected[:shared])) if (found[:shared] != expected[:shared]).any() else shared
        context = vocabulary.decode(found[max(0, first - 5) : first])
        detail += f"; differs at id {first} after {context!r}: found {found[first:first + 5]}, expected {expected[first:first + 5]}"
    report(f"{vocabulary.name}: {what}", fine, detail)
    normal = vocabulary.form(data.decode()).encode() if vocabulary.form and not chunk else data
    if not vocabulary.form or not chunk:
        report(f"{vocabulary.name}: {what} decoded", vocabulary.decode(found) == normal)
    return spent


def every_character():
    """Each code point beside letters, digits, spaces and itself."""
    parts = []
    for point in range(0x110000):
        if 0xD800 <= point < 0xE000:
            continue
        c = chr(point)
        parts.append(f"a{c}B 1{c} {c}{c}\n")
    return "".join(parts).encode()


def fuzz(seed, count):
    """Texts of characters that patterns treat differently."""
    rng = random.Random(seed)
    alphabet = list("aAzZ09 '\t\r\n/.,!-_$+<|>") + ["  ", "\n\n", "'s", "'LL", "'ſ", "'re", " '", "é", "É", "ǅ", "ʰ", "中", "文", "の",
        "ー", "・", "\u3099", "\u0301", "\u0300\u0327", "٣", "Ⅷ", "½", "—", "€", "🎉", "\u200d", "\u00a0", "\u3000", "\u0085", "\u2028",
        "\u180e", "\ufeff", "\x00", "\x1c", "\x7f", "한", "ᄒ", "ᅡ", "ﬁ", "２", "ſ", "К", "к", "\u0378", "\U000e0001", "𝐀", "𐐀", "𐐨"]
    return ["".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 40))) for _ in range(count)]


def invalid(vocabulary, data):
    """Our policy for invalid UTF-8, spelled out: an invalid byte is a character outside every class. Python's
    surrogateescape makes each such byte a lone surrogate, which is none of letter, number, mark, sign and space."""
    pieces = regex.findall(vocabulary.split, data.decode("utf-8", "surrogateescape"))
    ids = []
    for piece in pieces:
        ids += vocabulary.core.encode_single_piece(piece.encode("utf-8", "surrogateescape"))
    return numpy.array(ids, dtype="<u4")


def adversarial(quick):
    rng = random.Random(5)
    n = 20_000 if quick else 200_000
    return {
        "one letter": "a" * n, "two letters": "ab" * (n // 2), "spaces": " " * n, "newlines": "\n" * n,
        "spaces and a word": " " * (n - 1) + "x", "random letters": "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=n)),
        "capitals": "A" * n, "letter, capitals": "ªA" * (n // 3), "digits": "1" * n, "signs": "." * n,
        "mixed signs": "".join(rng.choices("!@#$%^&*()", k=n)), "Han": "中" * (n // 3), "emoji": "🎉" * (n // 4),
        "marks": "\u0301\u0327" * (n // 4), "controls": "\x01" * n, "slashes": "/\n" * (n // 2),
        "the": "the" * (n // 3), "equal signs": "=" * n,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="names of vocabularies, separated by commas")
    arguments = parser.parse_args()
    megabyte = 1_000_000
    limits = {script: megabyte if arguments.quick else 66 * megabyte for script in corpora.PACKAGES}
    with tempfile.TemporaryDirectory() as folder:
        gpt2 = corpora.vocabulary("gpt2/vocab.bpe")
        ranks = gpt2_ranks(os.path.dirname(gpt2))
        r50k = os.path.join(folder, "r50k_base.tiktoken")
        with open(r50k, "w") as file:
            for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
                file.write(f"{base64.b64encode(token).decode()} {rank}\n")
        import unicodedata2

        def nfc(text):
            return unicodedata2.normalize("NFC", text)

        # tokenizers 0.23 has the compatibility forms of an older Unicode (docs/formats/tokenizer.md); text in normal form it
        # leaves alone.
        def nfkc(text):
            return unicodedata2.normalize("NFKC", text)

        everything = [
            lambda: rank_vocabulary("r50k", r50k, known="r50k_base"),
            lambda: rank_vocabulary("gpt2 (vocab.bpe)", gpt2, None, GPT2, {"<|endoftext|>": 50256}),
            lambda: rank_vocabulary("p50k", corpora.vocabulary("p50k_base.tiktoken"), known="p50k_base"),
            lambda: rank_vocabulary("cl100k", corpora.vocabulary("cl100k_base.tiktoken"), known="cl100k_base"),
            lambda: rank_vocabulary("o200k", corpora.vocabulary("o200k_base.tiktoken"), known="o200k_base"),
            lambda: rank_vocabulary(
                "qwen", corpora.vocabulary("qwen.tiktoken"), None, QWEN,
                {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}, form=nfc),
            lambda: rank_vocabulary(
                "cl100k with --pattern qwen", corpora.vocabulary("cl100k_base.tiktoken"), None, QWEN, {"<|endoftext|>": 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260},
                options=["--pattern", "qwen"]),
            lambda: json_vocabulary("deepseek", corpora.vocabulary("deepseek/tokenizer.json")),
            lambda: json_vocabulary("anthropic", corpora.vocabulary("anthropic/tokenizer.json"), nfkc),
            lambda: json_vocabulary("made as llama 3", made_vocabulary(folder, LLAMA3, True)),
            lambda: json_vocabulary("made as qwen 2", made_vocabulary(folder, QWEN, False)),
        ]
        read = globals()["read_ranks"]
        globals()["read_ranks"] = lambda path: ranks if path == gpt2 else read(path)
        if not arguments.only:
            compare_training(folder, arguments.quick)
        characters = every_character()
        for make in everything:
            vocabulary = make()
            if arguments.only and vocabulary.name not in arguments.only.split(","):
                continue
            is_rank = vocabulary.core is not None
            chunk = None if is_rank else 500_000
            if not (arguments.quick and not is_rank):
                compare(vocabulary, "every character", characters, folder, chunk=chunk)
            cases = fuzz(1, 300 if arguments.quick else 2000)
            compare(vocabulary, "fuzz", "".join(cases).encode(), folder)
            paths = []
            for index, case in enumerate(cases):
                paths.append(os.path.join(folder, f"fuzz-{index}"))
                with open(paths[-1], "wb") as file:
                    file.write(case.encode())
            expected = [id for case in cases for id in vocabulary.reference(case)]
            report(f"{vocabulary.name}: fuzz, one by one", vocabulary.encode(*paths).tolist() == expected)
            for script, limit in limits.items():
                with open(corpora.corpus(script, limit), "rb") as file:
                    compare(vocabulary, script, file.read(), folder, chunk=chunk)
            if is_rank and not vocabulary.form:
                rng = random.Random(9)
                text = bytearray("".join(fuzz(2, 3000)).encode())
                for _ in range(len(text) // 20):
                    text[rng.randrange(len(text))] = rng.randrange(256)
                compare(vocabulary, "invalid UTF-8", bytes(text), folder, expected=invalid(vocabulary, bytes(text)))
            if vocabulary.special:
                text = "a<|endoftext|>b <|im_start|>x<|end_of_text|><|fim_prefix|> <EOT><｜end▁of▁sentence｜>1<|endof<｜User｜>"
                compare(vocabulary, "special tokens", (text * 20).encode(), folder, special=True)
                compare(vocabulary, "special tokens as text", (text * 20).encode(), folder)
            empty = os.path.join(folder, "empty")
            open(empty, "w").close()
            began = processor_time()
            vocabulary.encode(empty)
            start = processor_time() - began
            slowest = ("", 0)
            for what, text in adversarial(arguments.quick).items():
                spent = compare(vocabulary, "adversarial " + what, text.encode(), folder)
                beyond = spent - start
                # Side by side, because loading the vocabulary takes most of it and others may be using the machine.
                for _ in range(5 if beyond > 0.05 else 0):
                    began = processor_time()
                    vocabulary.encode(empty)
                    middle = processor_time()
                    vocabulary.encode(os.path.join(folder, "piece-0"))
                    beyond = min(beyond, processor_time() - middle - (middle - began))
                slowest = max(slowest, (what, beyond), key=lambda item: item[1])
            report(f"{vocabulary.name}: slowest adversarial text", slowest[1] < 0.1,
                   f": {slowest[0]}, {slowest[1] * 1000:.0f} ms of processor time beyond that of an empty text")
    print(f"tokenizers: {failures} failures" if failures else "tokenizers: all agree")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
