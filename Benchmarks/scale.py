#!/usr/bin/env python3
"""What a terabyte-scale dataset costs before its first batch, shown without its data: 100,000 shards of 10 M tokens, all
of them names of twenty files, so that 10¹² tokens take 3 MB of disk and each can still be read.

    Benchmarks/scale.py [--shards 100000] [--work DIR]

Merges ten parts from their sidecars, then opens the dataset, orders it, and seeks to places all over the epoch with a
fresh tok-pack for each. Gates: merge within 60 s; every seek to its first batch within 1 s and 64 MiB. Needs: a release
build; disk for 200,000 small files (about 1 GB of blocks); two minutes. Exit 1 when a gate is missed.
"""

import argparse
import filecmp
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(os.environ.get("MILLRACE_BIN", Path(__file__).resolve().parent.parent / ".build/release"))
PARTS = 10
SHARD_TOKENS = 10_000_000
LENGTH = 2048
ROWS = 8
FILES = 20


def run(tool, *arguments, **options):
    """Seconds, peak MiB and standard output of a tool, and in `run.processor` its processor time."""
    began = time.monotonic()
    process = subprocess.Popen([str(BIN / tool), *map(str, arguments)], stdout=subprocess.PIPE, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    run.processor = usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"scale: {tool} {' '.join(map(str, arguments))}: exit {process.returncode}")
    return seconds, usage.ru_maxrss / 1024, output


def generate(work, shards):
    """Parts of hard-linked shards with their sidecars: what as many machines would have left."""
    text = b"".join(b"%09d " % n + b"x" * 988 + b"\n\n" for n in range(SHARD_TOKENS // 1000))
    run("tok-shard", "--tokenizer", "bytes", "--split-on", "", "--shard-tokens", SHARD_TOKENS, "--output", work / "one",
        "-", stdin=source(work, text))
    sidecar = json.loads((work / "one" / "shard-00000.json").read_text())
    assert sidecar["shard"]["tokens"] == SHARD_TOKENS, sidecar
    content = (work / "one" / "shard-00000.tok.zst").read_bytes()
    files = []
    for number in range(FILES):  # a file system gives a file 65,000 names
        files.append(work / f"file-{number}")
        files[-1].write_bytes(content)
    for part in range(PARTS):
        directory = work / f"part-{part}"
        directory.mkdir()
        for number in range(shards // PARTS):
            name = f"shard-{number:05d}"
            sidecar["shard"]["name"] = f"{name}.tok.zst"
            (directory / f"{name}.json").write_text(json.dumps(sidecar))
            os.link(files[(part * number + number) % FILES], directory / f"{name}.tok.zst")


def source(work, text):
    path = work / "text"
    path.write_bytes(text)
    return open(path, "rb")


def cursor_at(cursor, window, row):
    """The cursor of a run that stands there (docs/formats/batch-stream.md); the digest of what it emitted is not looked at."""
    version, recipe, _, _, _, _, _, _, _, digest = cursor.split(":")
    rows = (window * (1 << 23) // LENGTH + row) // ROWS * ROWS
    return f"{version}:{recipe}:0:{window}:{row}:{rows // ROWS}:{rows}:{rows * LENGTH}:0:{digest}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--work", help="where to work (default: a temporary directory)")
    options = parser.parse_args()
    failures = []

    def gate(what, seconds, memory, limit, size=64):
        missed = seconds > limit or memory > size
        print(f"{what:58} {seconds:8.3f} s ({run.processor:6.3f} s of processor time) {memory:7.1f} MiB{'   MISSED' if missed else ''}", flush=True)
        if missed:
            failures.append(what)

    with tempfile.TemporaryDirectory(dir=options.work) as name:
        work = Path(name)
        # In a process of its own: a child's peak memory is counted from that of the process which started it.
        maker = multiprocessing.Process(target=generate, args=(work, options.shards))
        maker.start()
        maker.join()
        if maker.exitcode:
            sys.exit("scale: the parts could not be made")
        tokens = options.shards * SHARD_TOKENS
        print(f"{options.shards} shards, {tokens / 1e12:g} T tokens, {os.cpu_count()} CPUs")
        parts = [work / f"part-{part}" for part in range(PARTS)]
        dataset = work / "all"
        seconds, memory, _ = run("tok-shard", "merge", "--output", dataset, *parts)
        gate("merge: sidecars read and written, shards linked", seconds, memory, 60)
        manifest = (dataset / "dataset.json").stat().st_size
        (dataset / "dataset.json").rename(work / "kept.json")
        seconds, memory, _ = run("tok-shard", "merge", "--output", dataset, dataset)
        gate("merge in place: sidecars read, manifest written", seconds, memory, 60)
        assert filecmp.cmp(dataset / "dataset.json", work / "kept.json", shallow=False)
        print(f"dataset.json: {manifest / 1e6:.1f} MB")

        for pack in ("concat", "best-fit"):
            def first_batch(*extra):
                return run("tok-pack", "--rows", ROWS, "--length", LENGTH, "--seed", 1, "--pack", pack, "--threads", 2,
                           "--limit", 1, "--to", "jsonl", *extra, dataset)

            seconds, memory, output = first_batch()
            gate(f"{pack}: open, order, first batch", seconds, memory, 1)
            line = json.loads(output)
            windows = tokens // (1 << 23)
            for part in (0.25, 0.5, 0.75, 0.999):
                window = int(windows * part)
                seconds, memory, output = first_batch("--cursor", cursor_at(line["cursor"], window, row=1234))
                assert json.loads(output)["cursor"] != line["cursor"]
                gate(f"{pack}: seek to row 1234 of window {window} of {windows}", seconds, memory, 1)
    if failures:
        sys.exit(f"scale: {len(failures)} gates missed")
    print("scale: every gate held")


if __name__ == "__main__":
    main()
