#!/usr/bin/env python3
"""The memory that train-step says it will need beside the peak of a run, for each choice of --recompute.

    memory.py [NAME…]

Needs a release build and Linux. Four steps on random ids, two threads; NAME picks rows of the table. A minute on two cores.
"""

import array
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

TOOLS = pathlib.Path(__file__).resolve().parent.parent / ".build/release"
STEPS = 4


def gpt2(layers, width, heads, vocabulary, length):
    return {"model_type": "gpt2", "vocab_size": vocabulary, "n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": length}


LLAMA = {
    "model_type": "llama", "vocab_size": 4096, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True,
}  # fmt: skip
# name, configuration, rows, length
ROWS = [
    ("gpt2-6x384", gpt2(6, 384, 6, 512, 256), 16, 256),
    ("gpt2-12x768", gpt2(12, 768, 12, 50304, 64), 4, 64),
    ("llama-8x256", LLAMA, 8, 256),
    ("gpt2-1x16", gpt2(1, 16, 2, 512, 32), 4, 32),
]


def stream(work, name, configuration, rows, length):
    """A batch stream of random ids; its path."""
    vocabulary, ids = configuration["vocab_size"], random.Random(1)
    with open(work / f"{name}.u16", "wb") as out:
        array.array("H", (ids.randrange(vocabulary) for _ in range(rows * length * (STEPS + 1)))).tofile(out)
    shard = ["--format", "ids-u16", "--vocab-size", str(vocabulary), "--output", work / name, work / f"{name}.u16"]
    subprocess.run([TOOLS / "tok-shard", *shard], check=True)
    with open(work / f"{name}.batches", "wb") as out:
        pack = ["--rows", str(rows), "--length", str(length), "--limit", str(STEPS), work / name]
        subprocess.run([TOOLS / "tok-pack", *pack], stdout=out, check=True)
    return work / f"{name}.batches"


def megabytes(number, prefix):
    return float(number) * {"": 1e-6, "k": 1e-3, "M": 1, "G": 1e3}[prefix]


def measure(work, batches, model, recompute):
    """Megabytes: the plan, the activations in it, the peak."""
    command = [TOOLS / "train-step", "--threads", "2", "--run", tempfile.mkdtemp(dir=work), "--model", model]
    command += ["--steps", str(STEPS), "--recompute", recompute]
    with open(batches, "rb") as source:
        process = subprocess.Popen(command, stdin=source, stderr=subprocess.PIPE, text=True)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"memory: {said}")
    plan, activations = (megabytes(*re.search(rf"{what} ([0-9.]+) ?([kMG]?)B", said).groups()) for what in ("memory", "activations"))
    return plan, activations, usage.ru_maxrss * 1024 / 1e6


def main():
    rows = [row for row in ROWS if not sys.argv[1:] or row[0] in sys.argv[1:]]
    print("| model, rows x length | `--recompute` | activations, MB | plan, MB | peak, MB | peak / plan |")
    print("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        for name, configuration, b, t in rows:
            batches, model = stream(work, name, configuration, b, t), work / f"{name}.json"
            model.write_text(json.dumps(configuration))
            for recompute in ("none", "mlp", "layer"):
                plan, activations, peak = measure(work, batches, model, recompute)
                cells = f"{activations:.3g} | {plan:.4g} | {peak:.4g} | {peak / plan:.3f}"
                print(f"| {name}, {b} x {t} | {recompute} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
