#!/usr/bin/env python3
"""What tok-shard costs on one and two workers, with a shuffle, and as ranks; and what ranks cost tok-pack.

usage: Benchmarks/ingest.py [--bytes N] [--rounds N]

Text in four scripts from Debian packages, vocabularies from PyPI (Tests/python/corpora.py fetches both), as JSON Lines of about
2 kB. Processor seconds, each thread's by itself, the least of the rounds: what the busiest thread takes is the least time that
the run could take on free processors, whoever else uses this machine now. Needs the tools on the PATH.
"""
import argparse
import glob
import json
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "python"))
import corpora


def threads(command):
    """Processor seconds of each thread, and the peak memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    seen, peak = {}, 0
    while process.poll() is None:
        for path in glob.glob(f"/proc/{process.pid}/task/*/stat"):
            try:
                with open(path) as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            seen[path] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        try:
            with open(f"/proc/{process.pid}/status") as file:
                peak = max([peak] + [int(line.split()[1]) for line in file if line.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.01)
    if process.returncode:
        sys.exit(f"ingest.py: {command[0]} failed")
    return list(seen.values()), peak / 1024


def least(rounds, command, output=None):
    best = None
    for _ in range(rounds):
        if output:
            subprocess.run(["rm", "-rf", output], check=True)
        found = threads(command)
        if best is None or sum(found[0]) < sum(best[0]):
            best = found
    return best


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--bytes", type=int, default=200_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    random.seed(1)
    texts = []
    for script in corpora.PACKAGES:
        with open(corpora.corpus(script, 30_000_000)) as file:
            texts.append(file.read())
    with tempfile.TemporaryDirectory() as work:
        source = work + "/text.jsonl"
        size = 0
        with open(source, "w") as file:
            while size < options.bytes:
                text = random.choice(texts)
                start = random.randrange(len(text))
                piece = text[start:start + int(random.expovariate(1 / 2000)) + 1]
                file.write(json.dumps({"text": piece}, ensure_ascii=False) + "\n")
                size += len(piece.encode())
        print(f"{size / 1e6:.0f} MB of text, least processor seconds of {options.rounds} rounds")
        for name in "gpt2/vocab.bpe", "cl100k_base.tiktoken":
            vocabulary = corpora.vocabulary(name)
            for label, more in [("1 worker", ["--threads", "1"]), ("2 workers", ["--threads", "2"]),
                                ("2 workers, --shuffle --memory 16M", ["--threads", "2", "--shuffle", "--memory", "16M"])]:
                output = work + "/out"
                spent, peak = least(options.rounds, [
                    "tok-shard", "--tokenizer", vocabulary, "--format", "jsonl", "--output", output, *more, source], output)
                print(f"{name}, {label}: {sum(spent):.2f} s, busiest thread {max(spent):.2f} s "
                      f"({size / 1e6 / max(spent, default=1):.0f} MB/s), {peak:.0f} MB")
        for label, more in ("ids", []), ("ranks", ["--transform", "rank"]):
            output = work + "/" + label
            subprocess.run(["tok-shard", "--tokenizer", corpora.vocabulary("cl100k_base.tiktoken"), "--format", "jsonl",
                            "--output", output, *more, source], check=True)
            with open(output + "/dataset.json") as file:
                totals = json.load(file)["totals"]
            spent, peak = least(options.rounds, [
                "tok-pack", "--rows", "16", "--length", "2048", "--threads", "1", output])
            print(f"cl100k as {label}: {totals['bytes'] / 1e6:.1f} MB; tok-pack {sum(spent):.2f} s, "
                  f"{totals['tokens'] / 1e6 / sum(spent):.0f} M tokens/s, {peak:.0f} MB")


main()
