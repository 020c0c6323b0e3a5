"""The fault matrix on train-step and ckpt-tool: `make faults`, and a sample of it in CI (--quick).

Each part resets its target, injects one fault, proves that it happened, and then goes on to the end: the final bytes must
be those of the run that was not disturbed. Prints what was injected and how often.

  python3 Tests/faults [--quick] [--tools DIR] [--jobs N] [PART…]
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import calls
import crash
import damage
import disk
import kills
import writers
from workload import Failed, Workload

# Part -> what it does, in full and as a sample; the longest first, because they run side by side.
PARTS = {
    "calls": (lambda w: calls.calls(w, 1), lambda w: calls.calls(w, 24)),
    "kills": (lambda w: kills.kills(w, 1000), lambda w: kills.kills(w, 60)),
    "writers": (lambda w: writers.writers(w, 1), lambda w: writers.writers(w, 12)),
    "damage": (lambda w: damage.damage(w, 40), lambda w: damage.damage(w, 3)),
    "disk": (lambda w: disk.full_disk(w, 1), lambda w: disk.full_disk(w, 4)),
    "crash": (lambda w: crash.lost_cache(w, 4), lambda w: crash.lost_cache(w, 30)),
}


def run(name, quick, tools):
    """A part with a workload of its own: (counts, seconds, what was not kept or None)."""
    start = time.monotonic()
    workload = Workload(tools)
    try:
        counts, failure = PARTS[name][1 if quick else 0](workload), None
        workload.close()
    except Failed as failed:
        counts, failure = {}, f"{failed}\nfaults: left in {workload.home}"
    return counts, time.monotonic() - start, failure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a sample of each part")
    parser.add_argument("--tools", default=Path(__file__).parents[2] / ".build/release", type=Path)
    parser.add_argument("--jobs", default=len(os.sched_getaffinity(0)), type=int, help="parts at once (default: processors)")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"no part {name!r}, expected of {', '.join(PARTS)}")
    begin = time.monotonic()
    total = failures = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = {
            pool.submit(run, name, options.quick, options.tools.resolve()): name for name in options.parts or PARTS}
        for task in as_completed(tasks):
            name, (counts, seconds, failure) = tasks[task], task.result()
            for label, count in counts.items():
                print(f"{label:48} {count:6}")
                total += 0 if label.startswith(" ") else count
            print(f"{'':48} {'':6}  {seconds:6.1f} s  {name}", flush=True)
            if failure:
                print(f"faults: {name}: {failure}", file=sys.stderr)
                failures += 1
    if failures:
        return 1
    print(f"faults: {total} injected, each gone on from to the same bytes, {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
