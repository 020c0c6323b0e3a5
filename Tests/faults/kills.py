"""kill -9 at random moments, each from a reset target, each proved by the status of the process that died."""

import os
import random
import signal
import subprocess
import time

from workload import expect, progress


def spawn(workload, arguments, stdin):
    with open(stdin, "rb") as source:
        return subprocess.Popen(
            arguments, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=workload.home,
            env=workload.environment)


def is_saving(run):
    """Whether a checkpoint stands there half done."""
    try:
        return any(entry.name.startswith("step-") and entry.name.endswith(".tmp") for entry in os.scandir(run))
    except FileNotFoundError:
        return False


def span(workload, begun):
    """Seconds of the undisturbed work, the longest of three."""
    longest = 0.0
    for _ in range(3):
        workload.reset(begun)
        arguments, stdin = workload.work(begun)
        start = time.monotonic()
        expect(spawn(workload, arguments, stdin).wait() == 0, "undisturbed work failed")
        longest = max(longest, time.monotonic() - start)
    return longest


def kills(workload, count, seed=1):
    generator = random.Random(seed)
    starts = [None, workload.before]
    spans = [span(workload, begun) for begun in starts]
    hits = late = unfinished = 0
    while hits < count:
        which = hits % 2
        workload.reset(starts[which])
        arguments, stdin = workload.work(starts[which])
        process = spawn(workload, arguments, stdin)
        # Half of them at any moment, half as soon as a save has begun.
        start = time.monotonic()
        end = start + generator.random() * spans[which]
        while time.monotonic() < end and process.poll() is None and not (hits % 4 >= 2 and is_saving(workload.run)):
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        status = process.wait()
        if status == 0:
            # Too late: it had ended. That proves nothing, so it does not count; it says how long the work takes by now.
            late += 1
            spans[which] = min(spans[which], time.monotonic() - start)
            expect(late < 20 + hits, f"{late} of {late + hits} kills came too late")
            continue
        expect(status == -signal.SIGKILL, f"status {status}")
        hits += 1
        unfinished += is_saving(workload.run)
        workload.sound()
        workload.complete()
        progress("kill -9", hits, count)
    # Some must have died in the middle of a save, or the moments were badly chosen.
    expect(unfinished > count // 100, f"only {unfinished} of {count} kills hit a save")
    return {"kill -9 at a random moment": hits, "  of them with a save half done": unfinished}
