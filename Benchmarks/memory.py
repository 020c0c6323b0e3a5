#!/usr/bin/env python3
"""The memory that train-step says it will need beside the peak of a run, for each choice of --recompute.

    memory.py [NAME…]

Needs a release build and Linux. Four steps on random ids, two threads; NAME picks rows of the table. A minute on two cores.
"""

import sys
import tempfile

from whole import Shape, prepare, train

STEPS = 2  # beside those that warm up

LLAMA = {
    "model_type": "llama", "vocab_size": 4096, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True,
}  # fmt: skip
# Shape and, unless it is GPT-2, configuration.
ROWS = [
    (Shape("gpt2-6x384", 6, 384, 6, 512, 16, 256, STEPS), None),
    (Shape("gpt2-12x768", 12, 768, 12, 50304, 4, 64, STEPS), None),
    (Shape("llama-8x256", 8, 256, 8, 4096, 8, 256, STEPS), LLAMA),
    (Shape("gpt2-1x16", 1, 16, 2, 512, 4, 32, STEPS), None),
]


def main():
    print("| model, rows x length | `--recompute` | activations, MB | plan, MB | peak, MB | peak / plan |")
    print("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as work:
        for s, configuration in ROWS:
            if sys.argv[1:] and s.name not in sys.argv[1:]:
                continue
            base = prepare(work, s, configuration)
            for recompute in ("none", "mlp", "layer"):
                run = train(work, base, s, "--threads", "2", "--recompute", recompute) or sys.exit("memory: train-step did not run")
                plan, activations, peak = (b / 1e6 for b in (run.plan_bytes, run.activation_bytes, run.peak_bytes))
                cells = f"{activations:.3g} | {plan:.4g} | {peak:.4g} | {peak / plan:.3f}"
                print(f"| {s.name}, {s.rows} x {s.length} | {recompute} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
