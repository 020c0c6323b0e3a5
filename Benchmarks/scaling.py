#!/usr/bin/env python3
"""How speed and memory of train-step grow with the length of a row, the number of rows and the number of parameters.

    scaling.py [--rounds N] [--steps N] [--quick]

Needs a release build and clang. Prints a Markdown table for each. Every round runs each line of a table once, one after
the other, and the processor's peak before each; medians over rounds, speed with the least and the most. Peak memory is what the
system counted for the process (ru_maxrss), the largest of the rounds, beside the plan that train-step prints before it begins.
--quick: smallest models and one round, to see that it works. Less than the Python that starts it (some 40 MB) ru_maxrss never
says. About 5 minutes on two cores.
"""

import argparse
import statistics
import sys
import tempfile

from whole import Shape, flops, parameters, peak, prepare, train


def tables(quick, steps):
    """Heading and shapes of each table."""
    layers, width, vocabulary = (2, 128, 512) if quick else (6, 384, 50304)

    def shape(rows, length, layers=layers, width=width):
        name = f"{layers} layers x {width}, {rows} x {length}"
        return Shape(name, layers, width, width // 64, vocabulary, rows, length, steps)

    yield "Length of a row, 2048 tokens a step", [shape(2048 // length, length) for length in (64, 256, 1024, 2048)]
    yield "Rows", [shape(rows, 256) for rows in (1, 4, 16)]
    sizes = [(1, 64), (2, 128), (3, 192)] if quick else [(4, 256), (6, 384), (12, 768)]
    yield "Parameters", [shape(4, 256, layers, width) for layers, width in sizes]


def measure(work, shapes, rounds):
    """Runs and peaks of each shape, round by round."""
    bases = [prepare(work, s) for s in shapes]
    made = [([], []) for _ in shapes]
    for _ in range(rounds):
        for s, base, (runs, peaks) in zip(shapes, bases, made):
            peaks.append(peak())
            runs.append(train(work, base, s) or sys.exit("scaling: train-step did not run"))
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a run")
    parser.add_argument("--quick", action="store_true", help="smallest models, one round")
    a = parser.parse_args()
    for title, shapes in tables(a.quick, a.steps):
        print(f"{title}:\n\n| model, rows x length | M parameters | tokens/s | least-most | GFLOP/s | % of peak "
              "| peak memory, MB | plan, MB | ratio |\n|---|" + "--:|" * 8, flush=True)
        with tempfile.TemporaryDirectory() as work:
            made = measure(work, shapes, 1 if a.quick else a.rounds)
        for s, (runs, peaks) in zip(shapes, made):
            speeds = [r.tokens_per_second for r in runs]
            speed, memory, plan = statistics.median(speeds), max(r.peak_bytes for r in runs), runs[0].plan_bytes
            rate = speed * flops(s) / 1e9
            planned = f"{plan / 1e6:.0f} | {memory / plan:.2f}" if plan else "- | -"
            print(f"| {s.name} | {parameters(s) / 1e6:.1f} | {speed:.0f} | {min(speeds):.0f}-{max(speeds):.0f} | {rate:.0f} "
                  f"| {100 * rate / max(peaks):.0f} | {memory / 1e6:.0f} | {planned} |")
        print(flush=True)


if __name__ == "__main__":
    main()
