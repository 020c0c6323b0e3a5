"""Runs in bf16 held against each other and against one in fp32: what no oracle of a single step can say.

**The curve.** A small model learns a Markov chain over ids for 500 steps, in fp32 and in bf16, on the same stream.
Means of the loss over windows of 50 steps must agree after warm-up, which is the first window.

**The bits.** A short run in bf16 is repeated on every instruction set that this processor has, on one thread and two,
and cut into other micro-batches. All must leave the same parameters and moments, byte for byte.
"""

import itertools
import json
import os
import shutil
import time

import numpy

from parity import cases
from parity.check import FILES, OURS, OURS_IN_FP32, Result, kind_of
from parity.compare import Row, relative
from parity.fixture import read_metrics, sha256

NAME, ABOUT = "bf16-runs", "500 steps in bf16 and in fp32; a run in bf16 repeated in other ways of work"
STEPS, WINDOW, BITS_STEPS = 500, 50, 4
CASE = cases.Case(
    NAME, ABOUT, {"family": "llama", "V": 512, "C": 64, "L": 4, "H": 4, "KV": 2, "I": 176}, (2600, 60, 160), rows=8,
    recipe=("--learning-rate", "3e-3"), drawn=True,
)  # fmt: skip
SETS = ("scalar", "avx2", "avx512", "avx512bf16", "neon")
SUCCESSORS = (0.55, 0.25, 0.15, 0.05)


def write_chain(case, path):
    """Documents in which each id is followed by one of four, with the odds above."""
    random = numpy.random.default_rng(case.seed)
    count, shortest, longest = case.documents
    ids = case.model["V"] - 1
    followers = numpy.stack([random.permutation(ids) for _ in SUCCESSORS], axis=1)
    chains = numpy.empty((count, longest), "<u2")
    now = random.integers(0, ids, count)
    for place in range(longest):
        chains[:, place] = now + 1
        now = followers[now, random.choice(len(SUCCESSORS), count, p=SUCCESSORS)]
    sizes = random.integers(shortest, longest + 1, count)
    with open(path, "wb") as file:
        for chain, size in zip(chains, sizes, strict=True):
            file.write(numpy.append(chain[:size], case.end).astype("<u2").tobytes())


def train(directory, name, stream, *flags, threads=1, instructions=None):
    """One run of the curve's model; its directory."""
    run = os.path.join(directory, name)
    environment = None if instructions is None else os.environ | {"MILLRACE_ISA": instructions}
    cases.run_tool(
        ["train-step", "--quiet", "--run", run, "--model", os.path.join(directory, "config.json"), "--seed", "1",
         "--threads", str(threads), *CASE.recipe, *flags],
        stdin=stream, environment=environment,
    )  # fmt: skip
    return run


def final(run):
    """SHA-256 of what a run left."""
    names = ("model.safetensors", "optimizer.safetensors")
    return [sha256(os.path.join(run, "latest", name)) for name in names]


def windows(run):
    """Mean loss of each window after the first."""
    losses = [record["train_loss"] for record in read_metrics(run).values()]
    return numpy.reshape(losses, (STEPS // WINDOW, WINDOW)).mean(axis=1)[1:]


def compare_curves(directory, stream):
    """[(last step of the window, relative difference)]"""
    long = ("--steps", str(STEPS), "--warmup", str(WINDOW))
    reference, ours = (windows(train(directory, name, stream, *long, "--precision", name)) for name in ("fp32", "bf16"))
    ends = range(2 * WINDOW, STEPS + 1, WINDOW)
    return [(end, relative(a, b)) for end, a, b in zip(ends, ours, reference, strict=True)]


def compare_bits(directory, stream):
    """(how many runs left other bytes than the first, which, how many there were)"""
    short = ("--steps", str(BITS_STEPS), "--precision", "bf16")
    left = {}
    for instructions, threads, parts in itertools.product(SETS, (1, 2), (1, 2)):
        name = f"{instructions}, {threads} threads, {parts} micro-batches"
        work = ("--micro-batches", str(parts))
        try:
            run = train(directory, name, stream, *short, *work, threads=threads, instructions=instructions)
        except cases.CaseError as error:
            if "this processor does not have" in str(error):
                continue
            raise
        left[name] = final(run)
    first = next(iter(left.values()))
    other = [name for name, digests in left.items() if digests != first]
    return len(other), next(iter(other), ""), len(left)


def run(parent, gates, keep=False):
    """Makes the runs below `parent`, compares them, and removes them unless `keep`."""
    began = time.perf_counter()
    directory = os.path.join(parent, NAME)
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    config, stream = os.path.join(directory, "config.json"), os.path.join(directory, "batches.stream")
    with open(config, "w", encoding="utf-8") as file:
        json.dump(CASE.config, file, indent=1)
    cases.make_stream(CASE, directory, STEPS, write_chain)
    rows = []

    def add(step, reference, quantity, measured, worst=""):
        gate = gates.of(kind_of(OURS, reference), quantity, step)
        rows.append(Row(NAME, step, OURS, reference, quantity, measured, worst, gate))

    for step, difference in compare_curves(directory, stream):
        add(step, OURS_IN_FP32, "curve", float(difference))
    different, which, count = compare_bits(directory, stream)
    add(BITS_STEPS, FILES, "bits", float(different), which)
    digests = {"config": sha256(config), "stream": sha256(stream)}
    seconds = {"comparing": round(time.perf_counter() - began, 2)}
    if not keep:
        shutil.rmtree(directory)
    return Result(NAME, f"{ABOUT} ({count} ways)", digests, rows, seconds)
