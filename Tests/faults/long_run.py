"""A long run that something happens to every few hundred steps: `make longrun`.

  python3 Tests/faults/long_run.py [--steps 5000] [--every 250] [--output out/longrun] [--tools DIR]

The same small model is trained twice on the same pipeline, tok-pack | train-step: once undisturbed, and once with a fault
every `--every` steps, each proved and then gone on from as a person would, by the cursor of `latest`. At the end both have the
same bytes, every step was recorded once, and memory and processor time are held against a straight line over the steps: what
grows shows as a slope. Writes both runs, the plots and report.txt into the output directory; the last line is the summary.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from workload import Failed, expect, tree

MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 257, "hidden_size": 128,
    "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": True, "bos_token_id": 256, "eos_token_id": 256,
}
PACK = ["tok-pack", "--rows", "8", "--length", "64", "--seed", "5", "--epochs", "forever"]


class Rig:
    def __init__(self, options):
        self.output = options.output.resolve()
        self.steps, self.every = options.steps, options.every
        self.save_every = max(5, self.every // 5)
        self.generator = random.Random(7)
        self.environment = dict(os.environ, PATH=f"{options.tools.resolve()}:{os.environ['PATH']}")
        for name in ("data", "run", "undisturbed"):
            shutil.rmtree(self.output / name, ignore_errors=True)
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / "model.json").write_text(json.dumps(MODEL))
        self.shell(f"""
            python3 '{Path(__file__).parents[2]}/pipelines/grammar.py' --bytes 2000000 --seed 1 --output stories.txt
            tok-shard --tokenizer bytes --split-on '' --validation 0.01 --output data stories.txt
            tok-pack --rows 8 --length 64 --order sequential --limit 8 data/validation > validation.batches
            tok-pack --rows 8 --length 64 --limit 2 data/train > two.batches
            tok-pack --rows 8 --length 64 --limit 1 data/train > one.batches""")
        two, one = ((self.output / f"{name}.batches").stat().st_size for name in ("two", "one"))
        self.batch_bytes = two - one

    def shell(self, script):
        subprocess.run(["bash", "-euc", script], cwd=self.output, env=self.environment, check=True)

    def tool(self, *arguments):
        done = subprocess.run(arguments, cwd=self.output, env=self.environment, capture_output=True, text=True)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    # One leg of a run.

    def start(self, name, cursor, wrapper=(), between=None):
        """Starts the pipeline; `between` is a command that the stream goes through."""
        is_new = cursor is None
        pack = [*PACK, *([] if is_new else ["--cursor", cursor]), "data/train"]
        train = [*wrapper, "train-step", "--quiet", "--steps", str(self.steps)]
        if is_new:
            train += ["--run", name, "--model", "model.json", "--seed", "3", "--learning-rate", "3e-3", "--warmup", "50",
                      "--schedule-steps", str(self.steps), "--ema", "0.99", "--guard-window", "100", "--guard-z", "4",
                      "--validation", "validation.batches", "--eval-every", str(self.save_every * 2),
                      "--save-every", str(self.save_every), "--keep", "3"]
        else:
            train += ["--resume", name]
        self.packer = subprocess.Popen(
            pack, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.output, env=self.environment)
        source, self.filter = self.packer.stdout, None
        if between:
            self.filter = subprocess.Popen(
                between, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.output, env=self.environment)
            source.close()
            source = self.filter.stdout
        self.said = self.output / "said"
        self.recorded = self.recording()
        with open(self.said, "w") as said:
            self.trainer = subprocess.Popen(
                train, stdin=source, stdout=subprocess.DEVNULL, stderr=said, cwd=self.output, env=self.environment)
        source.close()

    def end(self, timeout=600):
        """(status of train-step, what it said); the packer's status stays in self.packer."""
        status = self.trainer.wait(timeout)
        for process in (self.filter, self.packer):
            if process:
                process.wait(timeout)
        return status, self.said.read_text()

    def recording(self):
        metrics = self.output / "run/metrics.jsonl"
        return metrics.stat().st_mtime_ns if metrics.exists() else 0

    def step(self):
        """The last step in metrics.jsonl."""
        try:
            with open(self.output / "run/metrics.jsonl", "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                found = re.findall(rb'\{"step":\s*(\d+)', file.read())
        except FileNotFoundError:
            return 0
        return int(found[-1]) if found else 0

    def run_to(self, step):
        """Goes on with the run and lets it come to about `step`."""
        self.resume()
        self.wait_for(step)

    def wait_for(self, step):
        while self.step() < step:
            expect(self.trainer.poll() is None, f"ended before step {step}: {self.said.read_text()}")
            time.sleep(0.02)

    def cursor(self):
        status, cursor, _ = self.tool("ckpt-tool", "get", "run/latest", "cursor")
        return cursor if status == 0 else "start"

    def resume(self, **options):
        """Goes on as a person would. Where latest is damaged the run says from which cursor it goes on."""
        if not list(self.output.glob("run/step-*[0-9]")):
            self.start("run", None, **options)
            return ""
        self.start("run", self.cursor(), **options)
        told = ""
        if self.begun() == 65:
            status, told = self.end()
            asked = re.search(r"the checkpoint goes on at '([^']+)'", told)
            expect(asked, f"status {status}: {told}")
            self.start("run", asked[1], **options)
            self.begun()
        return told + self.said.read_text()

    def begun(self):
        """Waits for the first record of this process. Returns its status when it ended before that."""
        for _ in range(3000):
            if self.trainer.poll() is not None:
                return self.trainer.returncode
            if self.recording() != self.recorded:
                return None
            time.sleep(0.01)
        raise Failed(f"no step in 30 seconds: {self.said.read_text()}")


# Faults: each takes the run from where it is to about `step`, does its worst, and returns what proves it.

def kill_trainer(rig, step):
    rig.run_to(step)
    rig.trainer.kill()
    status, _ = rig.end()
    expect(status == -signal.SIGKILL, f"status {status}")
    return "train-step killed"


def kill_packer(rig, step):
    rig.run_to(step)
    rig.packer.kill()
    status, said = rig.end()
    expect(rig.packer.returncode == -signal.SIGKILL, f"tok-pack: status {rig.packer.returncode}")
    expect(status == 65 and "batch" in said, f"status {status}: {said}")
    return "tok-pack killed, 65"


def kill_both(rig, step):
    rig.run_to(step)
    rig.packer.kill()
    rig.trainer.kill()
    status, _ = rig.end()
    expect(status == -signal.SIGKILL, f"status {status}")
    return "both killed"


def terminate(rig, step):
    rig.run_to(step)
    rig.trainer.terminate()
    status, said = rig.end()
    expect(status == 75 and "saved" in said, f"status {status}: {said}")
    return "SIGTERM, saved, 75"


def interrupt(rig, step):
    rig.run_to(step)
    rig.packer.send_signal(signal.SIGINT)
    rig.trainer.send_signal(signal.SIGINT)
    status, said = rig.end()
    expect(status == 75 and "saved" in said, f"status {status}: {said}")
    return "SIGINT to both, saved, 75"


def failing(call, error, per_step):
    def fault(rig, step):
        # Only the one call is traced, so the run goes at its usual speed.
        count = max(3, int((step - rig.step()) * per_step))
        log = rig.output / "strace"
        rig.resume(wrapper=["strace", "-f", "-qq", "--seccomp-bpf", "-o", str(log), "-e", f"trace={call}", "-e",
                            f"inject={call}:error={error}:when={count}"])
        status, said = rig.end()
        expect("INJECTED" in log.read_text(errors="replace"), f"{error} at {call} {count} did not happen")
        expect(status in (73, 74) and "'" in said, f"{error} at {call} {count}: status {status}: {said}")
        return f"{error} at {call} {count}, {status}"
    fault.__name__ = f"{call} fails with {error}"
    return fault


def damage(name, what, change):
    def fault(rig, step):
        rig.resume()
        rig.wait_for(step)
        rig.trainer.kill()
        status, _ = rig.end()
        expect(status == -signal.SIGKILL, f"status {status}")
        step_directory = os.readlink(rig.output / "run/latest")
        path = rig.output / "run/latest" / name
        before = path.read_bytes()
        change(rig, path, bytearray(before))
        expect(not path.exists() or path.read_bytes() != before, "nothing changed")
        status, _, said = rig.tool("ckpt-tool", "verify", "run")
        expect(status == 1 and name in said, f"verify says {status}: {said}")
        said = rig.resume()
        expect(f"passed over '{step_directory}'" in said, f"the damage was not told: {said}")
        rig.trainer.kill()
        rig.end()
        return f"killed, {step_directory}/{name} {what}, passed over"
    fault.__name__ = f"{name} of latest {what}"
    return fault


def cut(rig, path, content):
    os.truncate(path, len(content) // 2)


def flip(rig, path, content):
    place = rig.generator.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def put_nan(rig, path, content):
    content[-4:] = b"\0\0\xc0\x7f"
    path.write_bytes(content)


def remove(rig, path, content):
    path.unlink()


def cut_stream(rig, step):
    count = (max(2, step - rig.step()) * rig.batch_bytes) + rig.batch_bytes // 2
    rig.resume(between=["head", "-c", str(count)])
    status, said = rig.end()
    expect(status == 65 and "batch" in said, f"status {status}: {said}")
    return f"stream cut at byte {count}, 65"


FLIP = """
import sys
left = int(sys.argv[1])
while piece := sys.stdin.buffer.read1(1 << 16):
    if 0 <= left < len(piece):
        piece = bytearray(piece); piece[left] ^= 4
    left -= len(piece)
    try: sys.stdout.buffer.write(piece); sys.stdout.buffer.flush()
    except BrokenPipeError: break
"""


def flip_stream(rig, step):
    count = (max(2, step - rig.step()) * rig.batch_bytes) + rig.batch_bytes // 3
    rig.resume(between=["python3", "-c", FLIP, str(count)])
    status, said = rig.end()
    expect(status == 65 and "checksum" in said, f"status {status}: {said}")
    return f"bit of the stream flipped at byte {count}, 65"


def unlink_latest(rig, step):
    rig.run_to(step)
    rig.trainer.kill()
    rig.end()
    (rig.output / "run/latest").unlink()
    return "killed, latest is gone"


FAULTS = [
    kill_trainer, terminate, damage("model.safetensors", "cut in half", cut), kill_packer, failing("fsync", "EIO", 0.1),
    damage("optimizer.safetensors", "with a bit flipped", flip), kill_both, cut_stream, failing("write", "ENOSPC", 1),
    interrupt, damage("model.safetensors", "with a NaN in it", put_nan), flip_stream,
    damage("state.json", "gone", remove), unlink_latest, kill_trainer, failing("write", "EIO", 1),
    damage("ema.safetensors", "cut in half", cut), failing("fsync", "ENOSPC", 0.1), terminate,
]


PLOT = ("metrics-cat --to svg --title 'one run, undisturbed and with faults' --select resident_bytes --select tokens_per_second "
        "--smooth 10 --output longrun.svg undisturbed run")


# What the records say.

def records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def fit(points):
    """(value at the middle, slope for each 1,000 steps, twice its standard error). Where a machine is slower for a while
    neighbouring residuals are alike and say less than as many that are not: their correlation r widens the error by
    √((1 + r) / (1 − r))."""
    xs, ys = [x / 1000 for x, _ in points], [y for _, y in points]
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    sxx = sum((x - mx) ** 2 for x in xs)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sxx
    residuals = [y - my - slope * (x - mx) for x, y in zip(xs, ys)]
    rest = sum(r * r for r in residuals)
    alike = sum(a * b for a, b in zip(residuals, residuals[1:])) / rest if rest else 0
    alike = min(0.9, max(0, alike))
    return my, slope, 2 * (rest / max(1, len(xs) - 2) / sxx * (1 + alike) / (1 - alike)) ** 0.5


def lines(run, steps, is_whole):
    """[(what, unit, points, largest drift over the run that passes, or None)]: memory of the system records behind the first
    tenth, which warms up; processor time a step between them, where one process did them all; and speed (medians of 2 % of the
    steps each), which is told and not judged: on a machine that others use it says what they do."""
    all_records = records(run)
    system = [r for r in all_records if "resident_bytes" in r and r["step"] > steps // 10]
    found = [("memory", "MB", [(r["step"], r["resident_bytes"] / 1e6) for r in system], 0.01)]
    if is_whole:
        # The last record stands behind the last save: its interval is another kind of work.
        work = [(b["step"], 1000 * (b["processor_seconds"] - a["processor_seconds"]) / (b["step"] - a["step"]))
                for a, b in zip(system, system[1:-1]) if b["step"] > a["step"]]
        found.append(("processor time", "ms a step", work, 0.03))
    width = max(10, steps // 50)
    buckets = {}
    for record in all_records:
        if "tokens_per_second" in record:
            buckets.setdefault((record["step"] - 1) // width, []).append(record["tokens_per_second"])
    speed = [((k + 0.5) * width, statistics.median(values)) for k, values in buckets.items()]
    return [*found, ("speed", "tokens/s", speed, None)]


def judge(output, steps, say):
    """Says every line; false when one that is judged is neither noise nor small."""
    is_flat = True
    for label, place in (("undisturbed", output / "undisturbed"), ("disturbed", output / "run")):
        for what, unit, points, limit in lines(place, steps, label == "undisturbed"):
            if len(points) < 4:
                say(f"{label}: {what}: only {len(points)} points, no line")
                continue
            middle, slope, error = fit(points)
            drift = slope * steps / 1000 / middle
            is_flat &= limit is None or abs(slope) <= error or abs(drift) <= limit
            say(f"{label}: {what} {middle:.1f} {unit}, slope {slope:+.2f} ± {error:.2f} a 1,000 steps, "
                f"{100 * drift:+.1f} % over the run, {len(points)} points")
    return is_flat


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--output", type=Path, default=Path("out/longrun"))
    parser.add_argument("--tools", type=Path, default=Path(__file__).parents[2] / ".build/release")
    options = parser.parse_args()
    rig = Rig(options)
    report = open(rig.output / "report.txt", "w")

    def say(line):
        print(line, flush=True)
        print(line, file=report, flush=True)

    begin = time.monotonic()
    strikes = 0
    try:
        rig.start("undisturbed", None)
        status, said = rig.end(3600)
        expect(status == 0, f"undisturbed: status {status}: {said}")
        say(f"undisturbed: {rig.steps} steps in {time.monotonic() - begin:.0f} s")
        for number, step in enumerate(range(rig.every, rig.steps, rig.every)):
            fault = FAULTS[number % len(FAULTS)]
            try:
                proof = fault(rig, step)
            except (Failed, subprocess.TimeoutExpired) as failure:
                raise Failed(f"step {step}: {fault.__name__}: {failure}") from failure
            strikes += 1
            say(f"step {rig.step():6}  {proof}")
        rig.resume()
        status, said = rig.end(3600)
        expect(status == 0, f"the end: status {status}: {said}")
        run, reference = rig.output / "run", rig.output / "undisturbed"
        name = f"step-{rig.steps:08}"
        mine, theirs = tree(run / name), tree(reference / name)
        for file in sorted(mine.keys() | theirs.keys()):
            expect(mine.get(file) == theirs.get(file), f"other bytes: {name}/{file}")
        for link in ("latest", "best", "last-good"):
            expect(os.readlink(run / link) == os.readlink(reference / link), f"{link} is another")
        expect(rig.tool("ckpt-tool", "verify", "run")[0] == 0, "the run does not verify")
        done = [record["step"] for record in records(run) if "train_loss" in record]
        expect(done == list(range(1, rig.steps + 1)), "metrics.jsonl does not have every step once")
        say(f"disturbed: {strikes} faults, the same bytes in {name}; every step recorded once")
        rig.shell(PLOT)
        expect(judge(rig.output, rig.steps, say), "memory or processor time is not flat, see above")
    except Failed as failure:
        say(f"longrun: {failure}")
        return 1
    say(f"longrun: ok: {rig.steps} steps, {strikes} faults, the same bytes, memory and processor time flat, "
        f"{time.monotonic() - begin:.0f} s, plot {rig.output / 'longrun.svg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
