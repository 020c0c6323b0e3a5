#!/usr/bin/env python3
"""Does a larger model mean to transformers what the smaller one meant?

    check_expansion.py BEFORE AFTER… [--gate 1e-5] [--expect-not]

Loads the directories with `transformers` in float64 without one missing, unexpected or mismatched tensor and compares the
logits of the smaller vocabulary at the smaller model's positions. Prints a line each; exits 1 when any is further apart than
the gate (max |difference| / max |logit|): 1e-5, because transformers' RMSNorm and softmax are fp32 whatever the weights are.
"""

import argparse
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()


def load(directory):
    model, report = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float64, attn_implementation="eager", output_loading_info=True
    )
    for what, keys in report.items():
        if keys:
            sys.exit(f"check_expansion: '{directory}': transformers reports {what}: {keys}")
    return model.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("before")
    parser.add_argument("after", nargs="+")
    parser.add_argument("--gate", type=float, default=1e-5)
    parser.add_argument("--expect-not", action="store_true", help="succeed only if they differ")
    arguments = parser.parse_args()
    before = load(arguments.before)
    vocabulary = before.config.vocab_size
    ids = torch.tensor([[(vocabulary - 1 + 37 * index) % vocabulary for index in range(40)]])
    with torch.no_grad():
        old = before(ids).logits[0]
    status = 0
    for directory in arguments.after:
        after = load(directory)
        with torch.no_grad():
            new = after(ids).logits[0][:, :vocabulary]
        relative = float((new - old).abs().max() / old.abs().max())
        agree = relative <= arguments.gate
        sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (before, after)]
        print(
            f"{os.path.basename(directory)}: {sizes[0]} -> {sizes[1]} parameters, relative difference {relative:.2e} "
            f"{'<=' if agree else '>'} {arguments.gate:g}"
        )
        if agree == arguments.expect_not:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
