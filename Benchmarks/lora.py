#!/usr/bin/env python3
"""What low-rank adapters cost and save beside training everything: speed and memory of a Llama of 32 million parameters.

    lora.py [--rounds 3] [--tools DIR]

Needs a release build and Linux. A step is 4 rows of 256 random ids on one thread; its processor time is that of a run of 5 steps
without that of a run of 1, divided by 4, so that other work on the machine matters little. The variants take turns; the median of
the rounds. Memory is the peak (ru_maxrss) of the longer run beside its own plan. A minute a round on an idle core.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import whole
from whole import Shape, planned, prepare

SHAPE = Shape("llama-8x512", 8, 512, 8, 8192, 4, 256, 3)
LLAMA = {
    "model_type": "llama", "vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": False,
}  # fmt: skip
VARIANTS = {
    "everything": [],
    "LoRA rank 8, q and v": ["--lora", "rank=8,alpha=16,targets=q_proj+v_proj"],
    "LoRA rank 8, all": ["--lora", "rank=8,alpha=16,targets=all"],
    "everything, bf16": ["--precision", "bf16"],
    "LoRA rank 8, q and v, bf16": ["--precision", "bf16", "--lora", "rank=8,alpha=16,targets=q_proj+v_proj"],
}


def train(work, base, steps, options):
    """Processor seconds, peak and plan in bytes."""
    command = [whole.TOOLS / "train-step", "--run", tempfile.mkdtemp(dir=work), "--model", f"{base}.json", "--steps", str(steps)]
    with open(f"{base}.batches", "rb") as batches, tempfile.TemporaryFile("w+") as messages:
        child = subprocess.Popen(
            [*command, "--threads", "1", *options], stdin=batches, stdout=subprocess.DEVNULL, stderr=messages
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        messages.seek(0)
        text = messages.read()
    if child.returncode != 0:
        sys.exit(f"lora: {text}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, planned(text, "memory")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", type=pathlib.Path, default=whole.TOOLS)
    arguments = parser.parse_args()
    whole.TOOLS = arguments.tools
    seconds, memory = {name: [] for name in VARIANTS}, {}
    with tempfile.TemporaryDirectory() as work:
        base = prepare(work, SHAPE, LLAMA)
        for _ in range(arguments.rounds):
            for name, options in VARIANTS.items():
                short, (long, peak, plan) = train(work, base, 1, options)[0], train(work, base, 5, options)
                seconds[name].append((long - short) / 4)
                memory[name] = (plan / 1e6, peak / 1e6)
    print("| what learns | tokens/s | of everything | plan, MB | peak, MB | peak / plan |")
    print("|---|--:|--:|--:|--:|--:|")
    speeds = {name: SHAPE.rows * SHAPE.length / statistics.median(all_) for name, all_ in seconds.items()}
    for name, (plan, peak) in memory.items():
        part = speeds[name] / speeds["everything, bf16" if name.endswith("bf16") else "everything"]
        print(f"| {name} | {speeds[name]:.0f} | {part:.2f} | {plan:.0f} | {peak:.0f} | {peak / plan:.3f} |")


if __name__ == "__main__":
    main()
