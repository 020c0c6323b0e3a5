"""One system call at a time: killed at it, failing at it, asked to stop at it. Every call of a run that touches its
directory, its saves and its last flush included."""

import os
import shutil
from pathlib import Path

from workload import Tracer, expect, one_line, progress, tree

GOLDEN = Path(__file__).parents[1] / "Golden/checkpoints"


def sample(places, stride):
    """Every `stride`-th call, and the first of each kind."""
    kinds = {}
    for index, (call, k) in enumerate(places):
        kinds.setdefault(call, index)
    return [p for index, p in enumerate(places) if index % stride == 0 or index in kinds.values()]


def at_every_call(workload, stride, faults, starts):
    tracer = Tracer(workload)
    counts = {}
    for begun in starts:
        arguments, stdin = workload.work(begun)
        places = tracer.places(begun, arguments, stdin)
        calls = {call for call, _ in places}
        expect({"write", "fsync", "openat"} <= calls and len(places) > 60, f"few calls: {places}")
        for label, fault, judge, chosen in faults:
            todo = sample([p for p in places if chosen(*p)], stride)
            for done, (call, k) in enumerate(todo, 1):
                status, said, injected = tracer.inject(begun, arguments, stdin, call, k, fault)
                where = f"{label} at {call} {k}"
                expect(injected, f"{where} did not happen: status {status}: {said}")
                if tracer.is_early:
                    continue
                judge(where, status, said, tracer)
                try:
                    workload.sound()
                    workload.complete()
                except Exception as error:
                    raise type(error)(f"after {where}: {error}") from error
                counts[label] = counts.get(label, 0) + 1
                progress(label, done, len(todo))
    return counts


def killed(where, status, said, tracer):
    expect(status in (-9, 137), f"{where}: status {status}")


def told(where, status, said, tracer):
    """An error that names a file and a reason. A call whose failure does no harm (the note in the lock, closing what was
    only read) may pass in silence."""
    if status == 0:
        return
    expect(status in (66, 73, 74), f"{where}: status {status}: {said}")
    if tracer.is_mute:
        return
    try:
        one_line("train-step", said)
    except Exception as error:
        raise type(error)(f"{where}: status {status}: {error}") from error
    expect("'" in said, f"{where} names no file: {said}")


def repeated(where, status, said, tracer):
    expect(status == 0 and not said, f"{where}: status {status}: {said}")


def asked(where, status, said, tracer):
    """Saved and 75, or done when the question came too late. Both threads may be at their K-th call: asked twice, a run ends
    at once."""
    if status == 143 and tracer.signals > 1:
        return
    expect(status in (0, 75), f"{where}: status {status}: {said}")
    expect(status == 0 or "saved, --resume goes on" in said, f"{where}: {said}")


def everything(call, k):
    return True


def interruptible(call, k):
    return call in ("write", "openat", "fsync", "ftruncate")


def calls(workload, stride):
    counts = at_every_call(workload, stride, [
        ("kill before a call", "signal=KILL", killed, everything),
        ("EIO", "error=EIO", told, everything),
        ("ENOSPC", "error=ENOSPC", told, lambda call, k: call not in ("close", "unlink", "unlinkat", "rmdir")),
        ("EINTR", "error=EINTR", repeated, interruptible),
        ("SIGTERM", "signal=TERM", asked, everything),
    ], [workload.before])
    # The very first files of a run.
    for label, count in at_every_call(workload, 2 * stride, [
        ("kill before a call", "signal=KILL", killed, everything), ("EIO", "error=EIO", told, everything),
    ], [None]).items():
        counts[label] += count
    counts.update(reads(workload, stride))
    counts.update(evaluation(workload, stride))
    counts.update(migration(workload, stride))
    return counts


def reads(workload, stride):
    """A disk that cannot be read: the resume says so, or passes over the checkpoint; nothing is changed by it."""
    tracer = Tracer(workload)
    arguments, stdin = workload.work(workload.before)
    count = 0
    for tool, command, source in (
        ("train-step", arguments, stdin), ("ckpt-tool", ["ckpt-tool", "verify", "run"], None),
        ("ckpt-tool", ["ckpt-tool", "show", "run"], None),
    ):
        places = tracer.places(workload.before, command, source, calls=("read", "pread64"), skip=None)
        expect(len(places) >= 4, f"few reads: {places}")
        for call, k in sample(places, stride):
            status, said, injected = tracer.inject(workload.before, command, source, call, k, "error=EIO")
            where = f"EIO at {call} {k} of {' '.join(map(str, command[:2]))}"
            expect(injected, f"{where} did not happen")
            if tracer.is_early:
                continue
            expect(status in (0, 1, 65, 66, 74), f"{where}: status {status}: {said}")
            expect(status == 0 or said.startswith(tool + ": "), f"{where}: {said}")
            workload.sound()
            workload.complete()
            count += 1
    return {"EIO while reading": count}


def evaluation(workload, stride):
    """SIGTERM while the validation stream is read."""
    tracer = Tracer(workload)
    arguments, stdin = workload.work(workload.before)
    places = tracer.places(
        workload.before, arguments, stdin, calls=("read",), pattern=r"validation\.batches>", skip=None)
    expect(len(places) >= 4, f"few reads: {places}")
    for call, k in places:
        status, said, injected = tracer.inject(workload.before, arguments, stdin, call, k, "signal=TERM")
        expect(injected, f"SIGTERM at {call} {k} did not happen")
        asked(f"SIGTERM at {call} {k}", status, said, tracer)
        workload.sound()
        workload.complete()
    return {"SIGTERM during an evaluation": len(places)}


def migration(workload, stride):
    """ckpt-tool rewriting a run of the last version: the old checkpoint or the new one, and the next try ends in the new."""
    newest = max(int(path.name[1:]) for path in GOLDEN.glob("v[0-9]*"))
    before = workload.home / "old"
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir()
    shutil.copytree(GOLDEN / f"v{newest - 1}", before / "step-00000004")
    os.symlink("step-00000004", before / "latest")
    (before / ".lock").touch()
    command = ["ckpt-tool", "migrate", "run"]
    tracer = Tracer(workload)
    places = tracer.places(before, command, None)
    calls = {call for call, _ in places}
    expect({"write", "fsync"} <= calls and len(places) > 25, f"few calls: {places}")
    counts = {}
    for label, fault, kinds in (
        ("ckpt-tool killed before a call", "signal=KILL", (-9, 137)), ("ckpt-tool: EIO", "error=EIO", (0, 65, 66, 73, 74)),
    ):
        todo = sample(places, stride)
        for done, (call, k) in enumerate(todo, 1):
            status, said, injected = tracer.inject(before, command, None, call, k, fault)
            where = f"{label} at {call} {k}"
            expect(injected and status in kinds, f"{where}: status {status}: {said}")
            if status > 0 and status != 137:
                one_line("ckpt-tool", said)
            place = workload.run / "step-00000004"
            expect(tree(place) in (tree(GOLDEN / f"v{newest - 1}"), tree(GOLDEN / f"v{newest}")), f"{where}: torn")
            workload.sound()
            workload.well(*command)
            expect(tree(place) == tree(GOLDEN / f"v{newest}"), f"{where}: other bytes")
            left = sorted(path.name for path in workload.run.iterdir())
            expect(left == [".lock", "latest", "step-00000004"], f"{where}: left {left}")
            counts[label] = counts.get(label, 0) + 1
            progress(label, done, len(todo))
    return counts
