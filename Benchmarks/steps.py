#!/usr/bin/env python3
"""Whole training steps: train-step beside PyTorch and JAX and the processor's own peak, in one run, interleaved.

    steps.py [--rounds N] [--steps N] [--rows NAME…] [--peers torch,torch-compile,jax] [--bf16]

Needs a release build, clang and, for the peers, torch, jax and optax (`make bench` brings them); a peer that
is not there says "not run". PyTorch runs with its memory allocator tuned (GLIBC_TUNABLES below), which is worth up to a third to
it. Every round starts each program anew, one after the other, and takes the median of its timed steps; the table has medians
over rounds, ours with the least and the most. --bf16 measures both precisions, ours by `--precision bf16`. Nothing is gated: a
shared machine cannot be a gate. About 10 minutes on two cores.
"""

import argparse
import os
import statistics
import sys
import tempfile

from whole import HERE, WARM, Shape, flops, peak, prepare, run, train

TUNED = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=68719476736:"
    "glibc.malloc.trim_threshold=68719476736"
}
ROWS = [
    Shape("124M 4x64", 12, 768, 12, 50304, 4, 64, 6),
    Shape("124M 4x256", 12, 768, 12, 50304, 4, 256, 4),
    Shape("6x384 V512", 6, 384, 6, 512, 16, 256, 6),
    Shape("6x384 V50304", 6, 384, 6, 50304, 16, 256, 4),
]
OURS = "train-step"


def ours(work, base, s, precision):
    # fp32 is what train-step does unless told.
    made = train(work, base, s, *(["--precision", precision] if precision != "fp32" else []))
    return made and made.tokens_per_second


def peer(name, base, s, precision):
    command = [sys.executable, HERE / "peers.py", name, f"{base}.json", str(s.rows), str(s.length), str(s.steps + WARM)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    made = run(command + ["--bf16"] * (precision == "bf16"), env=environment | TUNED)
    return made and statistics.median(list(map(float, made.split()))[WARM:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed steps of each row (default: 4 or 6)")
    parser.add_argument("--rows", nargs="*", help="only these rows of the table")
    parser.add_argument("--peers", default="torch,torch-compile,jax")
    parser.add_argument("--bf16", action="store_true", help="ours and peers in bf16 too")
    a = parser.parse_args()
    rows = [s._replace(steps=a.steps or s.steps) for s in ROWS if not a.rows or s.name in a.rows]
    peers = [name for name in a.peers.split(",") if name]
    precisions = ["fp32"] + ["bf16"] * a.bf16
    contenders = [(name, precision) for precision in precisions for name in [OURS, *peers]]
    head = ["model, rows x length"]
    for name, precision in contenders:
        head.append(f"{name} {precision}")
        if name == OURS:
            head.append("least-most")
    head += [f"ratio to best {precision}" for precision in precisions] + ["% of peak"]
    print("Tokens/s; the peak is that of fp32.\n\n| " + " | ".join(head) + " |\n|---|" + "--:|" * (len(head) - 1), flush=True)
    with tempfile.TemporaryDirectory() as work:
        for s in rows:
            base = prepare(work, s)
            made, peaks = {key: [] for key in contenders}, []
            for _ in range(a.rounds):
                peaks.append(peak())
                for name, precision in contenders:
                    if None not in made[name, precision]:
                        speed = ours(work, base, s, precision) if name == OURS else peer(name, base, s, precision)
                        made[name, precision].append(speed)
            medians = {key: None if None in values else statistics.median(values) for key, values in made.items()}
            if not medians[OURS, "fp32"]:
                sys.exit("steps: train-step did not run")
            cells = [s.name]
            for key, value in medians.items():
                cells.append(f"{value:.0f}" if value else "not run")
                if key[0] == OURS:
                    cells.append(f"{min(made[key]):.0f}-{max(made[key]):.0f}" if value else "-")
            for precision in precisions:
                mine, best = medians[OURS, precision], max((medians[name, precision] or 0 for name in peers), default=0)
                cells.append(f"{mine / best:.2f}" if mine and best else "-")
            cells.append(f"{100 * medians[OURS, 'fp32'] * flops(s) / 1e9 / max(peaks):.0f}")
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
