"""What a checkpoint costs a training loop that uses every core: seconds by which the steps behind a save are slower.

  python3 Benchmarks/saving.py [--tools DIR] [--rounds N] [--model tiny|small] [--steps N] [--every N] [--threads N]

A run saves every N steps. Of each save, the steps behind it (five, in which hashing, writing and flushing happen) are held
against the median of the others up to the next save, in the same run, so that a machine whose speed changes from minute to
minute does so for both. Prints the median over all saves of all rounds with their quartiles, as seconds and as a part of the
steps between two saves, and from which distance of saves on it is less than 2 %. The first and the last save of a run are left
out.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

MODELS = {
    # 3.2 M parameters (39 MB a checkpoint), 1,024 tokens a step; 13 M (157 MB), 4,096 tokens.
    "tiny": (dict(n_embd=256, n_layer=4, n_head=4), 8, 128, 200),
    "small": (dict(n_embd=512, n_layer=4, n_head=8), 16, 256, 100),
}
BEHIND = 5


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", type=Path, default=Path(__file__).parents[1] / ".build/release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--threads", default="0")
    parser.add_argument("--steps", type=int, help="of a run (default: 200 tiny ones, 100 small ones)")
    options = parser.parse_args()
    shape, rows, length, steps = MODELS[options.model]
    steps, every = options.steps or steps, options.every
    if every < 2 * BEHIND or steps < 4 * every:
        parser.error(f"expected --every of at least {2 * BEHIND}, and four times as many --steps")
    work = Path(tempfile.mkdtemp(prefix="millrace-saving-"))
    environment = dict(os.environ, PATH=f"{options.tools.resolve()}:{os.environ['PATH']}")
    model = {"model_type": "gpt2", "vocab_size": 257, "n_positions": length, **shape}
    (work / "model.json").write_text(json.dumps(model))
    subprocess.run(
        ["bash", "-euc", f"""
            seq 1 60000 | awk '{{ printf "%d ", $1; if ($1 % 50 == 0) print "\\n" }}' |
                tok-shard --tokenizer bytes --split-on '' --output data -
            tok-pack --rows {rows} --length {length} --epochs forever --limit {steps} data > stream"""],
        cwd=work, env=environment, check=True)

    costs, between = [], []
    for _ in range(options.rounds):
        shutil.rmtree(work / "run", ignore_errors=True)
        with open(work / "stream") as stream:
            subprocess.run(
                ["train-step", "--quiet", "--threads", options.threads, "--run", "run", "--model", "model.json", "--steps",
                 str(steps), "--save-every", str(every), "--keep", "2"],
                stdin=stream, cwd=work, env=environment, check=True)
        records = [json.loads(line) for line in (work / "run/metrics.jsonl").read_text().splitlines()]
        at = {record["step"]: record["seconds"] for record in records if "train_loss" in record}
        for save in range(2 * every, steps - every + 1, every):
            step = [at[save + i + 1] - at[save + i] for i in range(every)]
            usual = statistics.median(step[BEHIND:])
            costs.append(sum(step[:BEHIND]) - BEHIND * usual)
            between.append(every * usual)
    size = sum(f.stat().st_size for f in (work / "run/latest").iterdir())
    shutil.rmtree(work)
    low, middle, high = statistics.quantiles(costs, n=4)
    apart = statistics.median(between)
    print(f"{options.model}: {size / 1e6:.0f} MB a checkpoint, {rows * length} tokens a step, {len(costs)} saves")
    print(f"a save costs the loop {1000 * middle:.0f} ms (quartiles {1000 * low:.0f} and {1000 * high:.0f})")
    print(f"one every {every} steps, {apart:.2f} s: {100 * middle / apart:.2f} % of the loop's time")
    print(f"less than 2 % from one every {max(middle, 0) / 0.02:.1f} s on")


main()
