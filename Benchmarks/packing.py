#!/usr/bin/env python3
"""tok-pack beside MosaicML streaming and litData: tokens a second, CPU time, peak memory, time to the first batch.

Prints Markdown tables; gates nothing. Needs a release build; the rivals from PyPI (`mosaicml-streaming`, `litdata`) are run
when they can be imported by this Python, else their rows say "not run". Every contender hands out shuffled rows of the same
length; the Python ones do so through their own loader, without a model behind it, and are stopped after --patience seconds.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(command, limit=None, environment=None):
    """Wall seconds, CPU seconds, peak MB and seconds to the first byte of a command whose output is thrown away."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    first, seen = None, 0
    while piece := os.read(process.stdout.fileno(), 1 << 20):
        seen += len(piece)
        # HEAD comes at once; a batch is longer than that.
        if first is None and seen > 4096:
            first = time.perf_counter() - start
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"packing.py: status {status} of {' '.join(command)}")
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, first


def to_null(command):
    """As `run`, without a reader: what the tool itself can do."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"packing.py: status {status} of {' '.join(command)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def ours(arguments, tools, data, tokens):
    pack = [tools + "/tok-pack", "--rows", "16", "--length", str(arguments.length), "--seed", "1"]
    print(f"\n{tokens / 1e6:.0f} M tokens, rows of {arguments.length}, batches of 16, into /dev/null; median of {arguments.rounds}\n")
    row("tok-pack", "threads", "M tokens/s", "M tokens/CPU s", "peak MB")
    row("---", "--:", "--:", "--:", "--:")
    for order in arguments.orders.split(","):
        for packing in ("concat", "best-fit"):
            for threads in (1, 2):
                results = [
                    to_null(pack + ["--order", order, "--pack", packing, "--threads", str(threads), data])
                    for _ in range(arguments.rounds)
                ]
                wall, cpu, memory = (statistics.median(values) for values in zip(*results))
                row(f"{order}, {packing}", threads, f"{tokens / wall / 1e6:.0f}", f"{tokens / cpu / 1e6:.0f}", f"{memory:.1f}")


def many_shards(arguments, tools, work):
    """Time to the first batch of a dataset with many shards, links of one of them in all but the manifest."""
    import hashlib

    source, many = work + "/one", work + "/many"
    with open(work + "/ids", "wb") as file:
        file.write(os.urandom(1 << 16))
    subprocess.run([tools + "/tok-shard", "--format", "ids-u16", "--vocab-size", "65536", "--output", source, work + "/ids"], check=True)
    manifest = json.load(open(source + "/dataset.json"))
    shard, sidecar = manifest["shards"][0], open(source + "/shard-00000.tok.zst", "rb").read()
    assert hashlib.sha256(sidecar).hexdigest() == shard["sha256"]
    os.mkdir(many)
    manifest["shards"] = []
    for number in range(arguments.shards):
        name = f"shard-{number:05}.tok.zst"
        os.link(source + "/shard-00000.tok.zst", f"{many}/{name}")
        manifest["shards"].append(dict(shard, name=name))
    for key in ("tokens", "documents", "frames", "bytes"):
        manifest["totals"][key] *= arguments.shards
    manifest["totals"]["shards"] = arguments.shards
    json.dump(manifest, open(many + "/dataset.json", "w"))
    print(f"\nStart to first batch, {arguments.shards} shards, {manifest['totals']['tokens'] / 1e6:.0f} M tokens\n")
    row("tok-pack", "ms", "CPU ms", "peak MB")
    row("---", "--:", "--:", "--:")
    for order in ("window", "full"):
        command = [tools + "/tok-pack", "--rows", "16", "--length", "512", "--limit", "1", "--order", order, many]
        if order == "full":
            command += ["--pack", "concat"]
        results = [run(command) for _ in range(max(3, arguments.rounds))]
        row(order, f"{1000 * statistics.median(r[3] for r in results):.0f}",
            f"{1000 * statistics.median(r[1] for r in results):.0f}", f"{max(r[2] for r in results):.1f}")


MOSAIC = """
import sys, time
import numpy, torch
from torch.utils.data import DataLoader
from streaming import MDSWriter, StreamingDataset
import streaming.base.util
def main():
    out, length, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    generator = numpy.random.default_rng(1)
    with MDSWriter(out=out, columns={"tokens": "ndarray:uint16:%d" % length}, compression="zstd:3") as writer:
        for _ in range(rows):
            writer.write({"tokens": (50256 * generator.random(length) ** 6).astype(numpy.uint16)})
    streaming.base.util.clean_stale_shared_memory()
    local = out + "-local"
    for epoch in range(2):  # the first one decompresses every shard into files; the second reads those
        dataset = StreamingDataset(remote=out, local=local, shuffle=True, shuffle_seed=1, batch_size=16)
        loader = DataLoader(dataset, batch_size=16, num_workers=2)
        start = time.perf_counter(); first = None; count = 0
        for batch in loader:
            if first is None: first = time.perf_counter() - start
            else: count += batch["tokens"].numel()
        print(("from zstd", "from its cache")[epoch], count / (time.perf_counter() - start - first), first, flush=True)
        del loader, dataset
        streaming.base.util.clean_stale_shared_memory()
if __name__ == "__main__": main()
"""

LITDATA = """
import sys, time
import numpy, torch
from litdata import StreamingDataset, StreamingDataLoader, TokensLoader
from litdata.streaming.writer import BinaryWriter
def main():
    out, length, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    from litdata import optimize
    global make
    optimize(fn=make, inputs=[(seed, length * rows // 16) for seed in range(16)], output_dir=out, chunk_bytes="16MB",
             item_loader=TokensLoader(block_size=length), num_workers=1)
    dataset = StreamingDataset(out, item_loader=TokensLoader(block_size=length), shuffle=True, seed=1)
    loader = StreamingDataLoader(dataset, batch_size=16, num_workers=2)
    start = time.perf_counter(); first = None; count = 0
    for batch in loader:
        if first is None: first = time.perf_counter() - start
        else: count += batch.numel()
    print("uncompressed", count / (time.perf_counter() - start - first), first, flush=True)
def make(item):
    seed, count = item
    yield torch.from_numpy((50256 * numpy.random.default_rng(seed).random(count) ** 6).astype(numpy.int32))
if __name__ == "__main__": main()
"""


def patiently(command, seconds, output):
    """Exit status and peak MB of a command with all its children, which are killed after so many seconds: (None, None) then.

    Loaders leave workers behind that hold a pipe open, so the output goes to a file and the whole session is ended."""
    with open(output, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024 / 1e6
            time.sleep(0.1)
        return None, None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def rivals(arguments, work):
    print(f"\nRivals, rows of {arguments.length}, batches of 16, 2 workers, {arguments.rival_rows * arguments.length / 1e6:.0f} M tokens; "
          f"tokens a second after the first batch\n")
    row("loader", "how", "M tokens/s", "first batch, ms", "peak MB")
    row("---", "---", "--:", "--:", "--:")
    for name, module, program in (("MosaicML streaming", "streaming", MOSAIC), ("litData", "litdata", LITDATA)):
        script, output = f"{work}/{module}_rival.py", f"{work}/{module}.log"
        with open(script, "w") as file:
            file.write(program)
        if patiently([sys.executable, "-c", f"import {module}"], arguments.patience, output)[0] != 0:
            row(name, "not run", "-", "-", "-")
            continue
        status, peak = patiently(
            [sys.executable, script, f"{work}/{module}", str(arguments.length), str(arguments.rival_rows)],
            arguments.patience, output)
        with open(output, errors="replace") as file:
            lines = file.read().splitlines()
        if status != 0:
            reason = f"took more than {arguments.patience} s" if status is None else (lines or ["no message"])[-1][:80]
            row(name, f"not run: {reason}", "-", "-", "-")
            continue
        for line in lines:
            parts = line.rsplit(" ", 2)
            if parts[0] in ("from zstd", "from its cache", "uncompressed") and len(parts) == 3:
                row(name, parts[0], f"{float(parts[1]) / 1e6:.1f}", f"{1000 * float(parts[2]):.0f}", f"{peak:.0f}")


def memory_over_time(command, seconds):
    """Resident MB of a command ten times a second, its CPU seconds, and whether it came to its end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    samples, end, ended = [], time.monotonic() + seconds, False
    while time.monotonic() < end:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            if status != 0:
                sys.exit(f"packing.py: status {status} of {' '.join(command)}")
            ended = True
            break
        with open(f"/proc/{process.pid}/statm") as file:
            samples.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
        time.sleep(0.1)
    if not ended:
        process.kill()
        _, _, usage = os.wait4(process.pid, 0)
    return samples, usage, ended


def long_stream(arguments, tools, data, tokens, work):
    """Memory while a dataset of many times the size streams through: copies that are names of the same files, merged."""
    parts = []
    for number in range(-(-int(arguments.stream) // tokens)):
        parts.append(f"{work}/copy-{number}")
        os.mkdir(parts[-1])
        for name in os.listdir(data):
            if name.startswith("shard-") or name == "dataset.json":
                os.link(f"{data}/{name}", f"{parts[-1]}/{name}")
    subprocess.run([tools + "/tok-shard", "merge", "--output", work + "/long", *parts], check=True)
    total = tokens * len(parts)
    print(f"\n{total / 1e9:.1f} G tokens, 2 threads: resident MB at a tenth, a half and nine tenths of the way\n")
    row("tok-pack", "M tokens/CPU s", "at 10 %", "at 50 %", "at 90 %", "peak MB", "seen")
    row("---", "--:", "--:", "--:", "--:", "--:", "---")
    for order, packing in (("window", "concat"), ("window", "best-fit"), ("full", "concat"), ("full", "best-fit")):
        samples, usage, ended = memory_over_time(
            [tools + "/tok-pack", "--rows", "16", "--length", str(arguments.length), "--seed", "1", "--order", order,
             "--pack", packing, "--threads", "2", work + "/long"], arguments.patience)
        samples = samples or [0]
        rate = f"{total / (usage.ru_utime + usage.ru_stime) / 1e6:.0f}" if ended else "-"
        row(f"{order}, {packing}", rate, *(f"{samples[int(len(samples) * part)]:.1f}" for part in (0.1, 0.5, 0.9)),
            f"{usage.ru_maxrss * 1024 / 1e6:.1f}", "whole" if ended else f"the first {arguments.patience} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=20, help="of 10 MB of text in the dataset")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--orders", default="window,full")
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--stream", type=float, default=2e9, help="tokens of the dataset whose memory is watched; 0: none")
    parser.add_argument("--rival-rows", type=int, default=4_000)
    parser.add_argument("--patience", type=int, default=120, help="seconds that a rival, or a long stream, may take")
    arguments = parser.parse_args()
    tools = os.environ.get("MILLRACE_BIN", ROOT + "/.build/release")
    with tempfile.TemporaryDirectory() as work:
        # Through a file: a child's peak memory is counted from that of the process which started it.
        with open(work + "/text", "wb") as file:
            subprocess.run(
                [sys.executable, ROOT + "/pipelines/grammar.py", "--bytes", "10000000", "--seed", "7"],
                check=True, stdout=file)
        data = work + "/data"
        shard = subprocess.Popen(
            [tools + "/tok-shard", "--tokenizer", "bytes", "--split-on", "", "--output", data, "-"], stdin=subprocess.PIPE)
        for _ in range(arguments.copies):
            with open(work + "/text", "rb") as file:
                while piece := file.read(1 << 20):
                    shard.stdin.write(piece)
        shard.stdin.close()
        if shard.wait() != 0:
            sys.exit("packing.py: tok-shard failed")
        tokens = json.load(open(data + "/dataset.json"))["totals"]["tokens"]
        ours(arguments, tools, data, tokens)
        many_shards(arguments, tools, work)
        if arguments.stream:
            long_stream(arguments, tools, data, tokens, work)
        rivals(arguments, work)


if __name__ == "__main__":
    main()
