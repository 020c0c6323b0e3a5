"""The run that every fault befalls, and what must be true after it.

A model so small that a run of eight steps with its saves and evaluations takes twenty milliseconds; a directory in memory
where there is one (what a real disk loses is crash.py's business). A fault hits `work`, a run that begins or goes on. What
it leaves must be whole, and must go on, as a person would, to the bytes of the run that nobody disturbed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 8
SAVE = ["--save-every", "2", "--eval-every", "3", "--keep", "3"]
MODEL = {"model_type": "gpt2", "vocab_size": 257, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 32}


class Failed(Exception):
    """A promise that was not kept."""


def expect(is_true, message):
    if not is_true:
        raise Failed(message)


def tree(directory):
    """Relative path -> bytes, or where a link points."""
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def one_line(tool, text):
    """One line that begins with the tool's name, and at most hints: what every failure says."""
    lines = [line for line in text.splitlines() if not line.startswith("hint: ")]
    expect(len(lines) == 1 and lines[0].startswith(tool + ": "), f"expected one line of {tool}: {text!r}")
    expect("unexpected error" not in text and "Fatal error" not in text, text)


class Workload:
    def __init__(self, tools):
        memory = Path("/dev/shm")
        self.home = Path(tempfile.mkdtemp(prefix="millrace-faults-", dir=memory if memory.is_dir() else None))
        self.environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}")
        self.streams = {}
        self.run = self.home / "run"
        self._make()

    def close(self):
        shutil.rmtree(self.home, ignore_errors=True)

    def tool(self, *arguments, stdin=None, stdout=subprocess.PIPE):
        """(status, stdout, stderr); the status is negative for a signal."""
        with open(stdin or os.devnull, "rb") as source:
            done = subprocess.run(
                [str(a) for a in arguments], stdin=source, stdout=stdout, stderr=subprocess.PIPE, cwd=self.home,
                env=self.environment, timeout=300)
        return done.returncode, (done.stdout or b"").decode(errors="replace"), done.stderr.decode(errors="replace")

    def well(self, *arguments, **options):
        status, out, said = self.tool(*arguments, **options)
        expect(status == 0, f"{' '.join(map(str, arguments))}: status {status}: {said}")
        return out

    def _make(self):
        corpus = "".join(
            f"document {i}: {' '.join(map(str, range(i, i + 1 + i % 17)))}\n\n" for i in range(1, 120))
        (self.home / "corpus.txt").write_text(corpus)
        (self.home / "model.json").write_text(json.dumps(MODEL))
        self.well("tok-shard", "--tokenizer", "bytes", "--split-on", "", "--output", "data", "-", stdin=self.home / "corpus.txt")
        with open(self.home / "validation.batches", "wb") as out:
            self.well("tok-pack", "--rows", "2", "--length", "32", "--limit", "2", "data", stdout=out)
        self.train(*self.arguments(None), stdin=self.stream(None))
        self.reference = self.home / "reference"
        self.run.rename(self.reference)
        self.expected = tree(self.reference / f"step-{STEPS:08}")
        # A run that stopped at step 4: where work that goes on begins.
        self.before = self.home / "before"
        status, _, said = self.tool(*self.arguments(None), stdin=self.stream(None, limit=4))
        expect(status == 0 and "stream ended at step 4" in said, f"status {status}: {said}")
        self.run.rename(self.before)

    def train(self, *arguments, **options):
        return self.well(*arguments, **options)

    def arguments(self, target):
        """train-step for a new run (None) or one that goes on."""
        begin = ["--run", "run", "--model", "model.json"] if target is None else ["--resume", target]
        return ["train-step", "--quiet", "--threads", "1", "--steps", str(STEPS), *begin,
                "--validation", "validation.batches", *SAVE]

    def stream(self, cursor, limit=None):
        """The batch stream from a cursor on, packed once."""
        key = (cursor, limit)
        if key not in self.streams:
            path = self.home / f"stream-{len(self.streams)}.batches"
            place = ["--cursor", cursor] if cursor else []
            bound = ["--limit", str(limit)] if limit else []
            with open(path, "wb") as out:
                self.well("tok-pack", "--rows", "2", "--length", "32", "--seed", "3", "--epochs", "2", *place, *bound,
                          "data", stdout=out)
            self.streams[key] = path
        return self.streams[key]

    def reset(self, begun):
        """A fresh target: nothing, or a copy of a run."""
        shutil.rmtree(self.run, ignore_errors=True)
        if begun:
            shutil.copytree(begun, self.run, symlinks=True)

    def work(self, begun):
        """(arguments, standard input) of what is disturbed."""
        if not begun:
            return self.arguments(None), self.stream(None)
        cursor = self.cursor(begun)
        expect(cursor != "start", f"no cursor in {begun}")
        return self.arguments("run"), self.stream(cursor)

    def cursor(self, run):
        """Where the run goes on; where that cannot be read, any stream does: train-step says which one it needs."""
        status, out, _ = self.tool("ckpt-tool", "get", run / "latest", "cursor")
        return out.strip() if status == 0 else "start"

    def steps(self):
        return sorted(p.name for p in self.run.glob("step-*") if re.fullmatch(r"step-\d+", p.name)) if self.run.is_dir() else []

    def sound(self):
        """Whatever can be seen is whole."""
        if self.steps():
            status, _, said = self.tool("ckpt-tool", "verify", "run")
            expect(status == 0 and not said, f"verify: {status}: {said}")

    def complete(self):
        """Goes on to the end as a person would. Returns what was said."""
        if not self.steps():
            self.well(*self.arguments(None), stdin=self.stream(None))
            said = ""
        else:
            cursor = self.cursor(self.run)
            status, _, said = self.tool(*self.arguments("run"), stdin=self.stream(None if cursor == "start" else cursor))
            # Where latest is damaged, the run goes on from an older place than the shell asked for, and says from which.
            asked = re.search(r"the checkpoint goes on at '([^']+)'", said)
            if status == 65 and asked:
                place = None if asked[1] == "start" else asked[1]
                status, _, more = self.tool(*self.arguments("run"), stdin=self.stream(place))
                said += more
            expect(status == 0, f"cannot go on: status {status}: {said}")
        self.sound()
        self.same()
        return said

    def same(self):
        found = tree(self.run / f"step-{STEPS:08}")
        for name in sorted(self.expected.keys() | found.keys()):
            expect(self.expected.get(name) == found.get(name), f"other bytes: {name}")
        for link in ("latest", "best", "last-good"):
            mine, theirs = (os.readlink(run / link) for run in (self.run, self.reference))
            expect(mine == theirs, f"{link} is {mine}, not {theirs}")
        steps = [record["step"] for record in map(json.loads, (self.run / "metrics.jsonl").read_text().splitlines())
                 if "train_loss" in record]
        expect(steps == list(range(1, STEPS + 1)), f"metrics of steps {steps}")
        stray = [p.name for p in self.run.rglob("*") if p.suffix in (".tmp", ".next", ".previous")]
        expect(not stray, f"left: {stray}")


# A call that touches the run, as strace -y writes it.
PATTERN = r"[<\"/]run[/\">]"


class Tracer:
    """Calls of a command as strace(1) sees them, and faults put at one of them."""

    CHANGES = ("write", "pwrite64", "fsync", "openat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "symlink",
               "symlinkat", "unlink", "unlinkat", "rmdir", "ftruncate", "close", "link", "linkat")

    def __init__(self, workload):
        self.workload = workload
        self.log = workload.home / "calls"

    def places(self, begun, arguments, stdin, calls=CHANGES, pattern=PATTERN, skip="O_RDONLY"):
        """[(call, K)] of the undisturbed command where the line matches, K counted a thread as strace does."""
        self.workload.reset(begun)
        listed = "trace=" + ",".join("?" + c for c in calls)
        status, _, said = self.workload.tool(
            "strace", "-f", "-y", "-qq", "-o", self.log, "-e", listed, *arguments, stdin=stdin)
        expect(status == 0, f"undisturbed: {status}: {said}")
        seen, found, read_only = {}, [], set()
        for line in self.log.read_text(errors="replace").splitlines():
            match = re.match(r"(\d+) +(\w+)\((.*)", line)
            if not match:
                continue
            pid, call, rest = match.groups()
            seen[pid, call] = k = seen.get((pid, call), 0) + 1
            opened = re.match(r".*O_RDONLY.*= (\d+)<", line)
            if opened:
                read_only.add(opened[1])
            elif call == "openat" and (fresh := re.search(r"= (\d+)<", line)):
                read_only.discard(fresh[1])
            if call == "close" and re.match(r"(\d+)<", rest) and re.match(r"(\d+)<", rest)[1] in read_only:
                continue
            if re.search(pattern, line) and not (skip and skip in line) and (call, k) not in found:
                found.append((call, k))
        return found

    def inject(self, begun, arguments, stdin, call, k, fault):
        """(status, stderr, whether it was injected), from a reset target."""
        self.workload.reset(begun)
        status, _, said = self.workload.tool(
            "strace", "-f", "-y", "-qq", "-o", self.log, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={k}",
            *arguments, stdin=stdin)
        text = self.log.read_text(errors="replace")
        self.signals = text.count("--- SIGTERM")
        # Calls are counted in each thread. The K-th of the first may be the loader's, and the tool did not begin; or that of the
        # message, which fails too.
        self.is_early = status != 0 and re.search(PATTERN, text) is None
        self.is_mute = re.search(r"write\(2<.*\(INJECTED\)", text) is not None
        kill = "signal=KILL" in fault
        done = (status in (-9, 137)) if kill else ("INJECTED" in text or "--- SIG" in text)
        return status, said, done


def progress(label, done, total):
    if sys.stderr.isatty():
        print(f"\r{label}: {done}/{total}  ", end="", file=sys.stderr, flush=True)
        if done == total:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
