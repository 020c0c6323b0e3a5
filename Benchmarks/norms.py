#!/usr/bin/env python3
"""What records cost a training step: those of norms and outliers, and those of every step. Prints per cent of a step.

usage: Benchmarks/norms.py [--steps N] [--every N]

The rival is the same run without looking. Within one run, steps that are measured (with the step after each, which finds the
longer record written) are held against the steps around them, so that a machine that is slower for a while does not show; the
median over all of them, spread over the steps from one to the next. A step of a model of almost nothing bounds what the record
of a step costs, its write included: it is that step's time. Needs a release build.
"""
import argparse
import json
import pathlib
import statistics
import tempfile

from whole import TOOLS, WARM, Shape, prepare, run

SHAPES = [
    Shape("4 layers of 128, 8 x 128", 4, 128, 4, 4096, 8, 128, 0),
    Shape("6 layers of 256, 16 x 256", 6, 256, 8, 8192, 16, 256, 0),
    Shape("12 layers of 512, 8 x 256", 12, 512, 8, 16384, 8, 256, 0),
]


def seconds(work, shape, every, layers=False):
    """Of each step, and whether it was measured."""
    base = prepare(work, shape)
    with open(f"{base}.batches", "rb") as stream:
        made = run([TOOLS / "train-step", "--run", f"{base}.run", "--model", f"{base}.json", "--steps", str(shape.steps), "--quiet",
                    "--norms-every", str(every)] + (["--norms-by-layer"] if layers else []), stdin=stream)
    if made is None:
        raise SystemExit(1)
    records = [json.loads(line) for line in open(f"{base}.run/metrics.jsonl")]
    records = [record for record in records if "train_loss" in record]
    times = [record["seconds"] for record in records]
    return [b - a for a, b in zip(times, times[1:])], ["update_norm" in record for record in records[1:]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=201)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--layers", action="store_true", help="of each layer, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        tiny = Shape("nothing", 1, 8, 1, 16, 1, 8, 2000)
        record = statistics.median(seconds(pathlib.Path(work), tiny, 0)[0])
        print(f"A step of almost nothing, record and all: {1e6 * record:.0f} microseconds.\n")
        print(f"| model, rows x length | step, ms | norms, ms when measured | norms, % with --norms-every {options.every} | record of a step, % at most |")
        print("|---|--:|--:|--:|--:|", flush=True)
        for shape in SHAPES:
            times, measured = seconds(pathlib.Path(work), shape._replace(steps=max(3 * options.every, options.steps)), options.every, options.layers)
            extra, plain = [], []
            for index in range(max(WARM, 2), len(times) - 1):
                if not measured[index]:
                    continue
                near = [times[other] for other in range(max(1, index - 5), min(len(times), index + 7))
                        if not measured[other] and not measured[other - 1]]
                usual = statistics.median(near)
                plain.append(usual)
                extra.append(times[index] + times[index + 1] - 2 * usual)
            step, cost = statistics.median(plain), statistics.median(extra)
            print(f"| {shape.name} | {1000 * step:.1f} | {1000 * cost:.2f} | {100 * cost / options.every / step:.2f} | {100 * record / step:.2f} |",
                  flush=True)


main()
