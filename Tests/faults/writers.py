"""ckpt-tool where it writes: convert, average, prune and expand, killed before each of their calls and each call failing once.
Whatever happens, what they were to write is there whole or not at all (where a file was to be replaced: the old one), what they
read is as it was, and the same command, given again, makes the same bytes."""

import os
import shutil

from calls import interruptible, sample
from workload import Tracer, expect, one_line, progress, tree

# Label, arguments, what it writes (below run/; None: it removes checkpoints), whether something old stands in its place.
COMMANDS = [
    ("convert to safetensors", ["convert", "run", "run/out"], "out", False),
    ("convert to safetensors in parts", ["convert", "--shard-size", "2kB", "run", "run/out"], "out", False),
    ("convert to npz", ["convert", "--force", "run", "run/out.npz"], "out.npz", True),
    ("convert to llm.c", ["convert", "run", "run/out.bin"], "out.bin", False),
    ("convert to GGUF", ["convert", "--force", "run", "run/out.gguf"], "out.gguf", True),
    ("average", ["average", "--last", "2", "--output", "run/out", "run"], "out", False),
    ("prune into a copy", ["prune", "--output", "run/out", "run"], "out", False),
    ("expand", ["expand", "--output", "run/out", "run", "layers=2"], "out", False),
    ("expand into a run", ["expand", "--run", "run/grown", "run", "layers=2"], "grown", False),
    ("prune a run", ["prune", "--keep-last", "1", "run"], None, False),
]


class Writer:
    """One command, what it begins with, and what it makes when nothing happens."""

    def __init__(self, workload, label, arguments, target, is_replaced):
        self.workload, self.label, self.target = workload, label, target
        self.command = ["ckpt-tool", *arguments]
        self.before = workload.home / "writer"
        shutil.rmtree(self.before, ignore_errors=True)
        shutil.copytree(workload.reference, self.before, symlinks=True)
        (self.before / ".lock").touch()
        if is_replaced:
            (self.before / target).write_bytes(b"an old file")
        self.old = self.state(self.before)
        workload.reset(self.before)
        status, _, said = workload.tool(*self.command)
        expect(status == 0, f"{label}: {said}")
        # What is left out and the like; it may have been said before something happens.
        self.notes = said.splitlines()
        self.new = self.state(workload.run)
        expect(self.new != self.old, f"{label}: nothing was written")

    def state(self, run):
        """(what is written, what is read), without temporaries and lock."""
        found = {name: content for name, content in tree(run).items() if ".tmp" not in name and not name.endswith(".lock")}
        if self.target is None:
            return found, {}
        written = {name: content for name, content in found.items() if name.split("/")[0] == self.target}
        return written, {name: content for name, content in found.items() if name not in written}

    def judge(self, where, is_done):
        """Old or new. A run may be between: there, every checkpoint that can be seen is whole and the links lead to one."""
        state = self.state(self.workload.run)
        if is_done:
            expect(state == self.new, f"{where}: said it was done, and it is not")
        elif self.target in (None, "grown"):
            for name, content in state[0].items():
                whole = self.old[0].get(name, content) == content and self.new[0].get(name, content) == content
                expect(whole, f"{where}: {name} is neither the old nor the new one")
            self.workload.sound()
        else:
            expect(state in (self.old, self.new), f"{where}: torn: {sorted(state[0])}")
        expect(state[1] == self.old[1], f"{where}: what was read is not as it was")

    def again(self, where):
        """The same command ends in the same bytes; what was whole already is in its way, as anything would be."""
        if self.target and (self.workload.run / self.target).is_dir():
            shutil.rmtree(self.workload.run / self.target)
        elif self.target and "--force" not in self.command and (self.workload.run / self.target).exists():
            (self.workload.run / self.target).unlink()
        self.workload.well(*self.command)
        expect(self.state(self.workload.run) == self.new, f"{where}: other bytes when it is done again")
        if self.target is None:
            left = [path.name for path in self.workload.run.glob("*.tmp")]
            expect(not left, f"{where}: left for good: {left}")


def writers(workload, stride):
    tracer = Tracer(workload)
    counts = {}
    for label, arguments, target, is_replaced in COMMANDS:
        writer = Writer(workload, label, arguments, target, is_replaced)
        places = tracer.places(writer.before, writer.command, None)
        calls = {call for call, _ in places}
        expect({"write", "fsync"} <= calls if target else "unlink" in calls or "unlinkat" in calls, f"{label}: {places}")
        for name, fault, chosen in (
            ("killed before a call", "signal=KILL", lambda call, k: True),
            ("EIO", "error=EIO", lambda call, k: True),
            ("ENOSPC", "error=ENOSPC", lambda call, k: call not in ("close", "unlink", "unlinkat", "rmdir")),
            ("EINTR", "error=EINTR", interruptible),
        ):
            todo = sample([p for p in places if chosen(*p)], stride)
            for done, (call, k) in enumerate(todo, 1):
                status, said, injected = tracer.inject(writer.before, writer.command, None, call, k, fault)
                where = f"ckpt-tool {label}: {name} at {call} {k}"
                said = "\n".join(line for line in said.splitlines() if line not in writer.notes)
                expect(injected, f"{where} did not happen: status {status}: {said}")
                if tracer.is_early:
                    continue
                if name == "EINTR":
                    expect(status == 0 and not said, f"{where}: status {status}: {said}")
                elif "KILL" in fault:
                    expect(status in (-9, 137), f"{where}: status {status}")
                elif status != 0:
                    expect(status in (65, 66, 73, 74), f"{where}: status {status}: {said}")
                    if not tracer.is_mute:
                        one_line("ckpt-tool", said)
                        expect("'" in said, f"{where} names no file: {said}")
                writer.judge(where, status == 0)
                # A checkpoint of a run goes when it is surely out of sight; what an error leaves of it, the next writer takes away.
                if target and "KILL" not in fault and call not in ("unlink", "unlinkat", "rmdir"):
                    left = [path.name for path in workload.run.rglob("*.tmp*")]
                    expect(not left, f"{where}: left {left}")
                writer.again(where)
                key = f"ckpt-tool writing: {name}"
                counts[key] = counts.get(key, 0) + 1
                progress(f"{label}: {name}", done, len(todo))
    return counts
