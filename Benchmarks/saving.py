"""What checkpoints cost a training loop: seconds of the steps of runs that save beside the same run that does not.

  python3 Benchmarks/saving.py [--tools DIR] [--rounds N] [--model tiny|small] [--every N…]

Each round runs all kinds in turn, so that a machine that gets slower does so for all. Time is that of the steps as
metrics.jsonl has it (second step to last), so start and last checkpoint, which wait for the disk, are not in it. Prints the
median over rounds of each kind and its excess over the run that saves nothing, in time and in processor time: what hashing and
writing take from a loop that uses every core. The latter can be measured on a busy machine, with --threads 1.
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
    # 3.2 M parameters (38 MB a checkpoint), 1,024 tokens a step; 13 M (157 MB), 4,096 tokens.
    "tiny": (dict(n_embd=256, n_layer=4, n_head=4), 8, 128, 40),
    "small": (dict(n_embd=512, n_layer=4, n_head=8), 16, 256, 24),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", type=Path, default=Path(__file__).parents[1] / ".build/release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--every", type=int, nargs="+", default=[20])
    parser.add_argument("--threads", default="0")
    options = parser.parse_args()
    shape, rows, length, steps = MODELS[options.model]
    work = Path(tempfile.mkdtemp(prefix="millrace-saving-"))
    tools = options.tools.resolve()
    environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}")
    model = {"model_type": "gpt2", "vocab_size": 257, "n_positions": length, **shape}
    (work / "model.json").write_text(json.dumps(model))
    subprocess.run(
        ["bash", "-euc", f"""
            seq 1 60000 | awk '{{ printf "%d ", $1; if ($1 % 50 == 0) print "\\n" }}' |
                tok-shard --tokenizer bytes --split-on '' --output data -
            tok-pack --rows {rows} --length {length} --epochs forever --limit {steps} data > stream"""],
        cwd=work, env=environment, check=True)

    def seconds(every):
        shutil.rmtree(work / "run", ignore_errors=True)
        with open(work / "stream") as stream:
            process = subprocess.Popen(
                ["train-step", "--quiet", "--threads", options.threads, "--run", "run", "--model", "model.json", "--steps",
                 str(steps), "--save-every", str(every), "--keep", "2"],
                stdin=stream, cwd=work, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            if status != 0:
                raise SystemExit(f"train-step: status {status}")
        records = [json.loads(line) for line in (work / "run/metrics.jsonl").read_text().splitlines() if "train_loss" in line]
        # From the second step on: the first one finds cold caches.
        return records[-1]["seconds"] - records[1]["seconds"], usage.ru_utime + usage.ru_stime

    kinds = [0, *options.every]
    times = {kind: [] for kind in kinds}
    seconds(0)
    for _ in range(options.rounds):
        for kind in kinds:
            times[kind].append(seconds(kind))
    size = sum(f.stat().st_size for f in (work / "run/latest").iterdir())
    print(f"{options.model}: {size / 1e6:.0f} MB a checkpoint, {steps} steps of {rows * length} tokens, {options.rounds} rounds")
    base = statistics.median(time for time, _ in times[0])
    print(f"no checkpoints       {base:8.3f} s   {1000 * base / (steps - 2):7.1f} ms a step")
    for every in options.every:
        median = statistics.median(time for time, _ in times[every])
        paired, processor = (
            statistics.median(b[k] / a[k] - 1 for a, b in zip(times[0], times[every])) for k in (0, 1))
        print(f"one every {every:4} steps {median:8.3f} s   {100 * paired:+6.2f} %   processor time {100 * processor:+6.2f} %")
    shutil.rmtree(work)


main()
