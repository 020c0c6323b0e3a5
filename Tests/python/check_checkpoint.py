#!/usr/bin/env python3
"""Does a checkpoint mean to others what it means to us?

    check_checkpoint.py CHECKPOINT [--ids 256,72,101,…]

Opens model.safetensors with `safetensors`, loads the directory with `transformers` without one missing, unexpected or
mismatched tensor, and compares its logits with those of `ckpt-tool logits`, which must be on the PATH. Prints one line;
exits 1 when something differs. The gate is the largest difference over the largest logit, 1e-5 (float32 on both sides).
"""

import argparse
import json
import os
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM
from transformers.utils import logging

GATE = 1e-5
logging.disable_progress_bar()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--ids", help="token ids, separated by commas (default: 40 of all over the vocabulary)")
    parser.add_argument("--expect-not", action="store_true", help="succeed only if they differ: a test of this test")
    arguments = parser.parse_args()
    directory = arguments.checkpoint

    # Every tensor can be read, is finite float32, and the file is the whole model.
    count = 0
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors"):
            with safe_open(os.path.join(directory, name), framework="np") as file:
                for key in file.keys():
                    tensor = file.get_tensor(key)
                    count += 1
                    if name == "model.safetensors" and not (
                        tensor.dtype == numpy.float32 and numpy.isfinite(tensor).all()
                    ):
                        sys.exit(f"check_checkpoint: '{key}' is not finite float32: {tensor.dtype}")
    if count == 0:
        sys.exit(f"check_checkpoint: no tensors in '{directory}'")

    model, report = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    for what, keys in report.items():
        if keys:
            sys.exit(f"check_checkpoint: transformers reports {what}: {keys}")

    vocabulary = model.config.vocab_size
    if arguments.ids:
        ids = [int(word) for word in arguments.ids.split(",")]
    else:
        ids = [(vocabulary - 1 + 37 * index) % vocabulary for index in range(40)]
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0].double().numpy()

    command = ["ckpt-tool", "logits", directory, "--ids", ",".join(map(str, ids))]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    if output.returncode != 0:
        sys.exit(f"check_checkpoint: '{' '.join(command)}' exited {output.returncode}: {output.stderr.strip()}")
    ours = numpy.array([json.loads(line) for line in output.stdout.splitlines()], dtype=numpy.float64)
    if ours.shape != theirs.shape:
        sys.exit(f"check_checkpoint: logits have shape {ours.shape}, expected {theirs.shape}")

    scale = float(numpy.abs(theirs).max())
    difference = float(numpy.abs(ours - theirs).max())
    agree = difference <= GATE * max(scale, 1.0)
    print(
        f"{directory}: {count} tensors, logits {ours.shape[0]}x{ours.shape[1]}, largest {scale:.3f}, "
        f"max abs difference {difference:.2e} {'<=' if agree else '>'} {GATE:g}*max(1, largest)"
    )
    return 0 if agree != arguments.expect_not else 1


if __name__ == "__main__":
    sys.exit(main())
