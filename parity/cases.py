"""The cases: what is trained on what, by which recipe; and how each is made, with the tools and without a network.

A case is a directory with config.json, batches.stream, source/ (the parameters it began from, unless `train-step` drew
them), run/ and gradients/. Everything follows from the seeds below; nothing is committed. A feature that a step can
have appears in at least one case, and where it costs nothing in several together: bugs like company.

    python -m parity.cases list
    python -m parity.cases make NAME DIR     makes one case below DIR, with the tools on PATH
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy

from parity import batch_stream, models

STEPS = 10


class CaseError(Exception):
    """A tool failed, or a case is not what its description says."""


@dataclasses.dataclass(frozen=True)
class Case:
    """`documents` are (count, shortest, longest); `end` is the id that ends documents, or None: then their first
    positions are masked. `recipe` and `work` are flags of train-step, `pack` of tok-pack. `branches` is a factor of the
    matrices that write into the residual stream."""

    name: str
    about: str
    model: dict
    documents: tuple
    rows: int = 8
    length: int = 64
    end: int | None = 0
    pack: tuple = ()
    recipe: tuple = ("--learning-rate", "1e-3", "--warmup", "3")
    work: tuple = ()
    mask: bool = False
    drawn: bool = False
    prefix: bool = True
    text: bool = False
    padded_end: bool = False
    branches: float = 1.0
    seed: int = 1

    @property
    def config(self):
        return models.configuration(**self.model)

    @property
    def chaotic(self):
        """Whether two programs that round the same operands to bf16 cannot be held against each other (compare.py)."""
        return "bf16" in self.recipe and self.branches == 1


LONG, SHORT, MIXED = (120, 40, 200), (900, 2, 14), (400, 2, 100)
SMALL = {"V": 512, "C": 64, "L": 2, "H": 4}
LLAMA = SMALL | {"family": "llama", "KV": 2}
GPT2 = SMALL | {"family": "gpt2", "positions": 64}
BF16, FAINT = ("--precision", "bf16"), 2.0**-13
QWEN3 = SMALL | {"family": "qwen3", "L": 3, "C": 96, "KV": 2, "d": 32, "I": 260, "tied": False, "theta": 1e6}


def _recipe(rate, *flags):
    return ("--learning-rate", rate, *flags)


CASES = [
    Case(
        "llama-base", "L4 C128 V512, tied; clipping active, warm-up, cosine",
        {"family": "llama", "V": 512, "C": 128, "L": 4, "H": 4}, LONG, recipe=_recipe("3e-4", "--warmup", "3"),
    ),
    Case(
        "gpt2-base", "L4 C128 V512, tied; clipping active, several documents a row, a loss mask",
        {"family": "gpt2", "V": 512, "C": 128, "L": 4, "H": 4}, MIXED, pack=("--pack", "best-fit"), mask=True,
        recipe=_recipe("3e-4", "--warmup", "3"),
    ),
    Case(
        "llama-large", "L6 C256 V4096, untied; grouped heads; clipping active; no end-of-document id",
        {"family": "llama", "V": 4096, "C": 256, "L": 6, "H": 8, "KV": 4, "I": 688, "tied": False}, LONG, end=None,
        recipe=_recipe("1e-4"),
    ),
    Case(
        "gpt2-large", "L6 C256 V4096, tied; rows of 128; clipping active; no end-of-document id",
        {"family": "gpt2", "V": 4096, "C": 256, "L": 6, "H": 8}, LONG, rows=4, length=128, end=None,
        recipe=_recipe("1e-4"),
    ),
    Case(
        "qwen2", "q, k, v biases; grouped heads, tied; a loss mask",
        {"family": "qwen2", "V": 512, "L": 3, "C": 96, "H": 4, "KV": 2, "I": 260, "epsilon": 1e-6}, MIXED, mask=True,
    ),
    Case("qwen3", "heads of queries and keys normalized; heads wider than C / H; untied", QWEN3, MIXED),
    Case(
        "qwen3-strong-decay", "clipped to 0.05, decay 1, 2 lanes of 2 micro-batches each", QWEN3, MIXED, mask=True,
        recipe=_recipe("1e-3", "--clip", "0.05", "--weight-decay", "1", "--lanes", "2"),
        work=("--micro-batches", "4"),
    ),
    Case(
        "llama-biases", "attention_bias and mlp_bias; clipping off; another beta1, beta2 and epsilon",
        LLAMA | {"attention_bias": True, "mlp_bias": True}, MIXED,
        recipe=_recipe("3e-4", "--clip", "0", "--beta1", "0.8", "--beta2", "0.99", "--epsilon", "1e-6"),
    ),
    Case(
        "llama-one-key-head", "one key head for six, odd sizes, rows of 96 with many short documents",
        {"family": "llama", "V": 331, "C": 72, "L": 2, "H": 6, "KV": 1, "d": 12, "I": 100, "theta": 5e5}, SHORT,
        rows=5, length=96, pack=("--pack", "best-fit"),
    ),
    Case(
        "llama-long", "one row of 512: attention over many blocks of keys, rotation by large angles", LLAMA
        | {"positions": 512}, (30, 300, 900), rows=1, length=512,
    ),
    Case(
        "llama-concat", "documents cut at row ends; the last batch is half padding", LLAMA, (64, 76, 76),
        pack=("--pack", "concat", "--order", "sequential"), padded_end=True,
    ),
    Case(
        "llama-cross-document", "attention crosses the borders of documents", LLAMA, MIXED, pack=("--cross-document",)
    ),
    Case(
        "llama-micro-batches", "4 micro-batches with unequal numbers of targets, some with none", LLAMA, MIXED,
        mask=True, work=("--micro-batches", "4"),
    ),
    Case(
        "llama-lanes", "4 lanes with unequal numbers of targets, some with none", LLAMA, MIXED, mask=True,
        recipe=_recipe("1e-3", "--lanes", "4", "--warmup", "3"),
    ),
    Case(
        "llama-drawn", "parameters drawn by train-step; a constant rate, no warm-up; clipping allowed, never active",
        LLAMA, LONG, drawn=True, recipe=_recipe("1e-3", "--minimum-learning-rate", "1e-3", "--clip", "1000"),
    ),
    Case(
        "llama-bytes", "text through the byte tokenizer; the model knows more ids than the data; no decay", LLAMA,
        MIXED, text=True, recipe=_recipe("1e-3", "--weight-decay", "0", "--warmup", "10"),
    ),
    Case(
        "gpt2-micro-batches", "4 micro-batches, some without targets; many short documents; names without prefix",
        GPT2, SHORT, mask=True, work=("--micro-batches", "4"), prefix=False,
    ),
    Case(
        "gpt2-drawn", "parameters drawn by train-step; the schedule's floor is reached at step 6", GPT2, LONG,
        drawn=True,
        recipe=_recipe("3e-4", "--warmup", "2", "--schedule-steps", "6", "--minimum-learning-rate", "1e-4"),
    ),
    Case(
        "gpt2-lanes-untied", "2 lanes, 3 micro-batches of unequal rows; the head a matrix of its own; n_inner not 4 C",
        GPT2 | {"tied": False, "I": 200, "epsilon": 1e-4}, MIXED, recipe=_recipe("1e-3", "--lanes", "2"),
        work=("--micro-batches", "3"),
    ),
    Case(
        "llama-bf16", "bf16: grouped heads, biases, tied", LLAMA | {"attention_bias": True, "mlp_bias": True}, MIXED,
        recipe=_recipe("3e-5", *BF16), branches=FAINT,
    ),
    Case(
        "gpt2-bf16", "bf16: rows of padding, tied, odd sizes",
        {"family": "gpt2", "V": 331, "C": 60, "L": 2, "H": 3, "positions": 64, "I": 250}, (64, 76, 76),
        pack=("--pack", "concat", "--order", "sequential"), padded_end=True, recipe=_recipe("3e-5", *BF16),
        branches=FAINT,
    ),
    Case(
        "qwen2-bf16", "bf16: rows of 300, longer than a block of a sum; a loss mask, 2 micro-batches",
        {"family": "qwen2", "V": 512, "L": 2, "C": 64, "H": 4, "KV": 2, "I": 300, "positions": 300}, MIXED, rows=2,
        length=300, mask=True, recipe=_recipe("3e-5", *BF16), work=("--micro-batches", "2"), branches=FAINT,
    ),
    Case(
        "qwen3-bf16", "bf16: untied; 2 lanes of 2 micro-batches each", QWEN3 | {"L": 2}, MIXED,
        recipe=_recipe("3e-5", "--lanes", "2", *BF16), work=("--micro-batches", "4"), branches=FAINT,
    ),
    Case(
        "llama-bf16-whole", "bf16: branches of the usual size, held against what rounds nothing", LLAMA | {"L": 4},
        MIXED, recipe=_recipe("3e-4", *BF16),
    ),
    Case(
        "gpt2-bf16-whole", "bf16: branches of the usual size, held against what rounds nothing", GPT2 | {"L": 4}, MIXED,
        recipe=_recipe("3e-4", *BF16),
    ),
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}


def run_tool(arguments, stdin=None, stdout=None, environment=None):
    """Runs a tool found on PATH; its first line of standard error becomes the message when it fails."""
    try:
        with open(stdin or os.devnull, "rb") as source:
            done = subprocess.run(
                arguments, stdin=source, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                env=environment,
            )  # fmt: skip
    except FileNotFoundError as error:
        raise CaseError(f"'{arguments[0]}': not found on PATH") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise CaseError(f"'{' '.join(arguments[:2])}' exited {done.returncode}: {lines[0]}")
    return done.stdout


def write_corpus(case, path):
    """Documents of ids with a few frequent ones, so that rows hold the same id often and embeddings add up."""
    random = numpy.random.default_rng(case.seed)
    count, shortest, longest = case.documents
    vocabulary = case.model["V"]
    first = 0 if case.end is None else 1
    ranks = numpy.arange(vocabulary - first) + 2
    shares = 1 / ranks / (1 / ranks).sum()
    documents = []
    for _ in range(count):
        size = random.integers(shortest, longest + 1)
        documents.append(random.choice(vocabulary - first, size, p=shares) + first)
    if case.text:
        lines = (" ".join(f"word{id}" for id in document[: len(document) // 6 + 1]) for document in documents)
        content = "".join(f"{line}\n\n" for line in lines).encode()
    elif case.end is None:
        content = "".join(" ".join(map(str, document)) + "\n" for document in documents).encode()
    else:
        content = b"".join(numpy.append(document, case.end).astype("<u2").tobytes() for document in documents)
    with open(path, "wb") as file:
        file.write(content)


def make_stream(case, directory, steps=STEPS, write=write_corpus):
    """Corpus, dataset and batches.stream."""
    corpus, dataset = os.path.join(directory, "corpus"), os.path.join(directory, "dataset")
    write(case, corpus)
    if case.text:
        form = ["--tokenizer", "bytes", "--split-on", ""]
    elif case.end is None:
        form = ["--format", "ids-text", "--vocab-size", str(case.model["V"])]
    else:
        form = ["--format", "ids-u16", "--vocab-size", str(case.model["V"]), "--end-of-document", str(case.end)]
    run_tool(["tok-shard", *form, "--threads", "1", "--output", dataset, corpus])
    stream = os.path.join(directory, "batches.stream")
    size = ["--rows", str(case.rows), "--length", str(case.length)]
    with open(stream, "wb") as file:
        run_tool(
            ["tok-pack", *size, "--seed", str(case.seed), "--limit", str(steps), *case.pack, "--threads", "1", dataset],
            stdout=file,
        )
    if case.mask:
        parsed = batch_stream.read(stream)
        batch_stream.mask(parsed, seed=case.seed + 100)
        batch_stream.write(stream, parsed)
    check_stream(case, batch_stream.read(stream))
    os.remove(corpus)
    shutil.rmtree(dataset)


def check_stream(case, stream):
    """A case that does not have what it is there for would pass for the wrong reason."""
    if len(stream.batches) < STEPS:
        raise CaseError(f"'{case.name}': {len(stream.batches)} batches, expected {STEPS}")
    several = any(len(ends) > 1 for batch in stream.batches for ends in batch.ends)
    if several == ("--cross-document" in case.pack):
        raise CaseError(f"'{case.name}': rows of several documents: {several}")
    padded = any(not ends for ends in stream.batches[-1].ends)
    if padded != case.padded_end:
        raise CaseError(f"'{case.name}': rows of padding in the last batch: {padded}")


def make(case, parent):
    """Makes the case below `parent`, in a directory of its name, and returns that.

    Raises CaseError.
    """
    directory = os.path.join(parent, case.name)
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    config_path, source = os.path.join(directory, "config.json"), os.path.join(directory, "source")
    with open(config_path, "w", encoding="utf-8") as file:
        json.dump(case.config, file, indent=1)
    make_stream(case, directory)
    if not case.drawn:
        parameters = models.random_parameters(case.config, case.seed, case.branches)
        models.write_directory(source, case.config, parameters, case.prefix)
    run_tool(
        [
            "train-step", "--quiet", "--run", os.path.join(directory, "run"),
            *(["--model", config_path, "--seed", str(case.seed)] if case.drawn else ["--from", source]),
            "--steps", str(STEPS), "--save-every", "1", "--dump-gradients", os.path.join(directory, "gradients"),
            *case.recipe, *case.work,
        ],
        stdin=os.path.join(directory, "batches.stream"),
    )  # fmt: skip
    return directory


def main():
    parser = argparse.ArgumentParser(prog="parity.cases")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    one = commands.add_parser("make")
    one.add_argument("name", choices=BY_NAME)
    one.add_argument("directory")
    arguments = parser.parse_args()
    if arguments.command == "list":
        for case in CASES:
            print(f"{case.name:22} {case.about}")
        return 0
    try:
        print(make(BY_NAME[arguments.name], arguments.directory))
    except CaseError as error:
        print(f"cases: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
