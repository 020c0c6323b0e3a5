#!/usr/bin/env python3
"""Whole training steps: train-step beside PyTorch and JAX and the processor's own peak, in one run, interleaved.

    steps.py [--rounds N] [--rows NAME…] [--peers torch,torch-compile,jax] [--bf16]

Needs a release build, clang, numpy (for the ids) and, for the peers, torch, jax and optax (`make bench` brings them); a peer that
is not there says "not run". PyTorch runs with its memory allocator tuned (GLIBC_TUNABLES below), which is worth up to a third to
it. Every round starts each program anew, one after the other, and takes the median of its timed steps; the table has medians
over rounds. Nothing is gated: a shared machine cannot be a gate. About 10 minutes on two cores.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = HERE.parent / ".build/release"
TUNED = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=68719476736:"
    "glibc.malloc.trim_threshold=68719476736"
}
# name, layers, width, heads, vocabulary, rows, length, timed steps
ROWS = [
    ("124M 4x64", 12, 768, 12, 50304, 4, 64, 6),
    ("124M 4x256", 12, 768, 12, 50304, 4, 256, 4),
    ("6x384 V512", 6, 384, 6, 512, 16, 256, 6),
    ("6x384 V50304", 6, 384, 6, 50304, 16, 256, 4),
]
WARM = 2  # steps that are not counted: compilation, first touch of memory


def flops(layers, width, vocabulary, length):
    """A token: 6 a matrix parameter, 12 L T C for attention."""
    return 6 * (12 * layers * width**2 + vocabulary * width) + 12 * layers * length * width


def run(command, **options):
    """Standard output, or None after saying why there is none."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if result.returncode != 0:
        print(f"steps: {command[0]}: {result.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return result.stdout


def ours(work, config, stream, steps):
    directory = tempfile.mkdtemp(dir=work)
    with open(stream, "rb") as batches:
        made = run([TOOLS / "train-step", "--quiet", "--run", directory, "--model", config, "--steps", str(steps)], stdin=batches)
    if made is None:
        return None
    with open(os.path.join(directory, "metrics.jsonl")) as lines:
        speeds = [json.loads(line)["tokens_per_second"] for line in lines]
    run(["rm", "-r", directory])
    return statistics.median(speeds[WARM:])


def peer(name, config, rows, length, steps, bf16):
    command = [sys.executable, HERE / "peers.py", name, config, str(rows), str(length), str(steps)] + ["--bf16"] * bf16
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    made = run(command, env=environment | TUNED)
    return None if made is None else statistics.median(list(map(float, made.split()))[WARM:])


def streams(work, rows):
    """A batch stream of random ids and a config.json for each row of the table."""
    import numpy

    for name, layers, width, heads, vocabulary, b, t, steps in rows:
        base = pathlib.Path(work) / name.replace(" ", "-")
        numpy.random.default_rng(1).integers(0, vocabulary, b * t * (steps + WARM + 1), numpy.uint16).tofile(f"{base}.u16")
        run([TOOLS / "tok-shard", "--format", "ids-u16", "--vocab-size", str(vocabulary), "--output", f"{base}.data", f"{base}.u16"])
        with open(f"{base}.batches", "wb") as out:
            subprocess.run(
                [TOOLS / "tok-pack", "--rows", str(b), "--length", str(t), "--limit", str(steps + WARM), f"{base}.data"],
                stdout=out, check=True,
            )
        with open(f"{base}.json", "w") as out:
            json.dump({"model_type": "gpt2", "vocab_size": vocabulary, "n_embd": width, "n_layer": layers, "n_head": heads,
                       "n_positions": t}, out)
        yield name, base, b, t, steps + WARM, flops(layers, width, vocabulary, t)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", nargs="*", help="only these rows of the table")
    parser.add_argument("--peers", default="torch,torch-compile,jax")
    parser.add_argument("--bf16", action="store_true", help="peers in bf16 too")
    a = parser.parse_args()
    rows = [row for row in ROWS if not a.rows or row[0] in a.rows]
    peers = [(name, bf16) for name in a.peers.split(",") if name for bf16 in ([False, True] if a.bf16 else [False])]
    with tempfile.TemporaryDirectory() as work:
        print("| model, rows x length | train-step | " + " | ".join(n + " bf16" * b for n, b in peers) + " | ratio to best fp32 | % of peak |")
        print("|---|--:|" + "--:|" * (len(peers) + 2))
        for name, base, b, t, steps, cost in streams(work, rows):
            mine, theirs, peaks = [], {key: [] for key in peers}, []
            for _ in range(a.rounds):
                peaks.append(run([HERE / "kernels.sh", "0", "--peak"]))
                mine.append(ours(work, f"{base}.json", f"{base}.batches", steps))
                for key in peers:
                    theirs[key].append(peer(key[0], f"{base}.json", b, t, steps, key[1]))
            if None in mine or None in peaks:
                sys.exit("steps: train-step did not run")
            speed, peak = statistics.median(mine), statistics.median(map(float, peaks))
            medians = {key: None if None in values else statistics.median(values) for key, values in theirs.items()}
            best = max((m for key, m in medians.items() if m and not key[1]), default=None)
            cells = [f"{medians[key]:.0f}" if medians[key] else "not run" for key in peers]
            ratio = f"{speed / best:.2f}" if best else "-"
            print(f"| {name} | {speed:.0f} | " + " | ".join(cells) + f" | {ratio} | {100 * speed * cost / 1e9 / peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
