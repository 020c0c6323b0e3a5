#!/usr/bin/env python3
"""From JSON Lines to CSV: metrics-cat beside jq, Miller and DuckDB. Prints MB of input a second and peak memory.

usage: Benchmarks/metrics.py [--records N] [--rounds N]

A run of N training steps with a validation every hundred (about 213 bytes a record), from a file to /dev/null. metrics-cat
reads it twice (once for the columns, checking every byte) and joins records of a step; the others write a row a record, of
columns that they are told (jq) or find (mlr, DuckDB). jq and Miller get a tenth of the records, because they need minutes.
metrics-cat and jq use one thread; Miller and DuckDB are shown as they come and, DuckDB, with one thread. Rounds alternate;
medians of wall time. Needs a release build; jq, miller (Debian) and duckdb (PyPI), or says "not run".
"""
import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
KEYS = ["step", "tokens", "train_loss", "learning_rate", "gradient_norm", "tokens_per_second", "skipped_steps", "seconds", "time",
        "validation_loss", "validation_tokens"]


def write(path, records):
    import random

    noise = random.Random(1)
    values = [(repr(2.5 + noise.random()), repr(noise.random()), repr(round(noise.random(), 6)), repr(51200 + noise.random() * 100))
              for _ in range(4096)]
    with open(path, "w") as file:
        for start in range(1, records + 1, 2000):
            lines = []
            for step in range(start, min(start + 2000, records + 1)):
                loss, other, norm, speed = values[step & 4095]
                lines.append(f'{{"step":{step},"tokens":{step * 4096},"train_loss":{loss},"learning_rate":0.0006,"gradient_norm":{norm},'
                             f'"tokens_per_second":{speed},"skipped_steps":0,"seconds":{step * 0.08!r},"time":{1769860800.25 + step * 0.08!r}}}\n')
                if step % 100 == 0:
                    lines.append(f'{{"step":{step},"tokens":{step * 4096},"validation_loss":{other},"validation_tokens":65536,'
                                 f'"seconds":{step * 0.08!r},"time":{1769860800.25 + step * 0.08!r}}}\n')
            file.write("".join(lines))


def run(command):
    """Wall seconds, processor seconds and peak memory in MB of one run."""
    began = time.monotonic()
    with open(os.devnull, "w") as nowhere:
        child = subprocess.Popen(command, stdout=nowhere)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"metrics.py: {command[0]} failed with {child.returncode}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    tool = os.path.join(os.environ.get("MILLRACE_BIN", os.path.join(ROOT, ".build", "release")), "metrics-cat")
    with tempfile.TemporaryDirectory() as work:
        whole, part = os.path.join(work, "whole.jsonl"), os.path.join(work, "part.jsonl")
        write(whole, arguments.records)
        write(part, max(1, arguments.records // 10))
        duck = ("import sys, duckdb; c = duckdb.connect(); c.execute('set threads=%d'); "
                "c.execute(\"copy (select * from read_json('\" + sys.argv[1] + \"', format='newline_delimited')) to '/dev/null' (format csv)\")")
        contenders = {
            "metrics-cat --to csv": (whole, [tool, "--to", "csv", whole]),
            "metrics-cat --to json": (whole, [tool, "--to", "json", whole]),
            "jq -r … @csv": (part, ["jq", "-r", "[" + ",".join("." + key for key in KEYS) + "]|@csv", part]),
            "mlr --ijsonl --ocsv unsparsify": (part, ["mlr", "--ijsonl", "--ocsv", "unsparsify", "--fill-with", "", "-f", ",".join(KEYS), part]),
            "DuckDB COPY, 1 thread": (whole, [sys.executable, "-c", duck % 1, whole]),
            f"DuckDB COPY, {os.cpu_count()} threads": (whole, [sys.executable, "-c", duck % os.cpu_count(), whole]),
        }
        times = {name: [] for name in contenders}
        for _ in range(arguments.rounds):
            for name, (_, command) in contenders.items():
                if shutil.which(command[0]) is None:
                    continue
                if "DuckDB" in name and subprocess.run([sys.executable, "-c", "import duckdb"], capture_output=True).returncode:
                    continue
                times[name].append(run(command))
        print(f"\n{arguments.records:,} steps, {os.path.getsize(whole) / 1e6:,.0f} MB of JSON Lines\n")
        print("| to CSV | MB/s | MB a processor second | peak memory, MB |")
        print("|---|---|---|---|")
        for name, (path, _) in contenders.items():
            if not times[name]:
                print(f"| {name} | not run | | |")
                continue
            wall, processor, memory = (statistics.median(column) for column in zip(*times[name]))
            size = os.path.getsize(path) / 1e6
            print(f"| `{name}` | {size / wall:,.0f} | {size / processor:,.0f} | {memory:,.0f} |")


main()
