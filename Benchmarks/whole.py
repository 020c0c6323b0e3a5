"""What `steps.py`, `scaling.py` and `memory.py` share: a shape of GPT-2, a batch stream of random ids, and a run of train-step."""

import array
import collections
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = HERE.parent / ".build/release"
WARM = 2  # steps that are not counted: compilation, first touch of memory

# `steps` are the timed ones.
Shape = collections.namedtuple("Shape", "name layers width heads vocabulary rows length steps")
Run = collections.namedtuple("Run", "tokens_per_second peak_bytes plan_bytes activation_bytes")


def parameters(s):
    return 12 * s.layers * s.width**2 + 13 * s.layers * s.width + (s.vocabulary + s.length + 2) * s.width


def flops(s):
    """A token: 6 a matrix parameter, 12 L T C for attention."""
    return 6 * (12 * s.layers * s.width**2 + s.vocabulary * s.width) + 12 * s.layers * s.length * s.width


def complain(command, text):
    lines = [line for line in text.strip().splitlines() if not line.startswith("hint:")]
    print(f"benchmark: {pathlib.Path(command[0]).name}: {lines[-1] if lines else 'failed'}", file=sys.stderr)


def run(command, **options):
    """Standard output, or None after saying why there is none."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **options)
    if result.returncode != 0:
        complain(command, result.stderr)
        return None
    return result.stdout


def peak():
    """The processor's peak now, GFLOP/s."""
    made = run([HERE / "kernels.sh", "--peak"])
    return float(made) if made else sys.exit("benchmark: the peak was not measured")


def prepare(work, s, configuration=None):
    """Writes BASE.batches and BASE.json, the stream and the configuration (of GPT-2 unless given); returns BASE."""
    base = pathlib.Path(work) / re.sub(r"\W", "-", s.name)
    ids = random.Random(1).choices(range(s.vocabulary), k=s.rows * s.length * (s.steps + WARM + 1))
    with open(f"{base}.u16", "wb") as out:
        array.array("H", ids).tofile(out)
    run([TOOLS / "tok-shard", "--format", "ids-u16", "--vocab-size", str(s.vocabulary), "--output", f"{base}.data", f"{base}.u16"])
    pack = [TOOLS / "tok-pack", "--rows", str(s.rows), "--length", str(s.length), "--limit", str(s.steps + WARM), f"{base}.data"]
    with open(f"{base}.batches", "wb") as out:
        subprocess.run(pack, stdout=out, check=True)
    with open(f"{base}.json", "w") as out:
        json.dump(configuration or {
            "model_type": "gpt2", "vocab_size": s.vocabulary, "n_embd": s.width, "n_layer": s.layers, "n_head": s.heads,
            "n_positions": s.length,
        }, out)
    return base


def planned(text, what):
    """Bytes of an amount in the plan that train-step prints before it begins: `train-step: memory 2.45 GB: …`."""
    found = re.search(rf"{what} ([0-9.]+) ?([kMGT]?)B", text)
    return float(found[1]) * 1000 ** " kMGT".index(found[2] or " ") if found else None


def train(work, base, s, *options):
    """A run of train-step over the stream; None after saying why there is none."""
    directory = tempfile.mkdtemp(dir=work)
    command = [TOOLS / "train-step", "--run", directory, "--model", f"{base}.json", "--steps", str(s.steps + WARM), *options]
    with open(f"{base}.batches", "rb") as batches, tempfile.TemporaryFile("w+") as messages:
        child = subprocess.Popen(command, stdin=batches, stdout=subprocess.DEVNULL, stderr=messages)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        messages.seek(0)
        text = messages.read()
    if child.returncode == 0:
        with open(os.path.join(directory, "metrics.jsonl")) as lines:
            speeds = [json.loads(line)["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    shutil.rmtree(directory)
    if child.returncode != 0:
        complain(command, text)
        return None
    # ru_maxrss counts KiB, on macOS bytes.
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(statistics.median(speeds[WARM:]), peak_bytes, planned(text, "memory"), planned(text, "activations"))
