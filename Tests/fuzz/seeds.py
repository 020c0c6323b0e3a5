"""First inputs of every fuzz target: files as they should be, made by the tools or by hand, called valid-….

  python3 Tests/fuzz/seeds.py [FOLDER OF THE TOOLS]

What the targets make of a first byte, or of a u16 length in front, is said in Tests/FuzzTargets.
"""

import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

here = Path(__file__).parent
root = here.parents[1]
tools = Path(sys.argv[1] if len(sys.argv) > 1 else root / ".build/release").resolve()
golden = root / "Tests/Golden"
os.environ["PATH"] = f"{tools}:{os.environ['PATH']}"

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 280, "hidden_size": 8, "intermediate_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "hidden_act": "silu",
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "max_position_embeddings": 16, "tie_word_embeddings": True,
}
GPT2 = {"model_type": "gpt2", "vocab_size": 257, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 8}


def keep(target, name, content):
    place = here / "corpus" / target
    place.mkdir(parents=True, exist_ok=True)
    (place / f"valid-{name}").write_bytes(content if isinstance(content, bytes) else content.encode())


def pair(first, second):
    return struct.pack("<H", len(first)) + first + second


def main():
    work = Path(tempfile.mkdtemp())

    def shell(script):
        subprocess.run(["bash", "-euc", script], cwd=work, check=True)

    (work / "llama.json").write_text(json.dumps(LLAMA))
    (work / "gpt2.json").write_text(json.dumps(GPT2))
    shell(r"""
        for i in 1 2 3 4 5 6 7 8; do echo "document $i: the cat's hat, $((i * i)) and é"; echo; done > corpus.txt
        tok-shard --tokenizer bytes --split-on '' --output data - < corpus.txt
        tok-shard --tokenizer bytes --split-on '' --min-tokens 38 --output less - < corpus.txt
        for i in 1 2 3; do echo "5 5 70000 $i 66000 5 99999"; done |
            tok-shard make --format ids-text --vocab-size 100000 --transform rank --output ranked -
        tok-pack --rows 2 --length 8 --limit 2 data > stream
        tok-pack --rows 2 --length 8 --limit 2 --pack pad --mask-before 32 data > masked
        tok-pack --rows 2 --length 8 --limit 2 --lanes 2 data=0.7 less=0.3 > mix
        tokens=$(jq .totals.tokens data/dataset.json)
        head -c "$tokens" /dev/zero | tr '\0' '\1' | tok-pack mask data -
        tok-shard train-tokenizer --vocab-size 280 --output tokenizer.json corpus.txt
        tok-shard --tokenizer tokenizer.json --split-on '' --output words - < corpus.txt
        tok-pack --rows 2 --length 8 --limit 4 words > words.stream
        train-step --quiet --run llama --model llama.json --tokenizer tokenizer.json --steps 3 --validation words.stream \
            --eval-every 1 --patience 9 --guard-window 2 --guard-z 30 --save-every 1 --rollback --ema 0.9 --optimizer muon \
            --freeze 'model.embed*@1-2' --rate '*norm*=0.5' --no-decay '*embed*' --expand-at 2 layers=2 --schedule wsd \
            < words.stream
        train-step --quiet --run gpt2 --model gpt2.json --steps 2 < stream
        train-step --quiet --run mixed --model gpt2.json --steps 2 --lanes 2 < mix
        ckpt-tool convert llama llama.gguf
        ckpt-tool convert --dtype q8_0 llama q8.gguf
        for format in npz bin; do ckpt-tool convert gpt2 "gpt2.$format"; done
        metrics-cat --to tensorboard --output logs gpt2
        """)
    for version in sorted((golden / "checkpoints").glob("v[0-9]*")):
        keep("safetensors", f"{version.name}-model", (version / "model.safetensors").read_bytes())
        keep("state", version.name, (version / "state.json").read_bytes())
        keep("configuration", version.name, (version / "config.json").read_bytes())
    text = (golden / "checkpoints/v2/manifest.json").read_bytes()
    keep("manifest", "v2", text[:text.rindex(b'  "manifest_sha256"')])
    keep("state", "llama", (work / "llama/latest/state.json").read_bytes())
    keep("state", "mixed", (work / "mixed/latest/state.json").read_bytes())
    keep("configuration", "llama", (work / "llama/latest/config.json").read_bytes())
    scaled = dict(LLAMA, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16})
    keep("configuration", "llama3", json.dumps(scaled))
    small = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' \
        b'"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},"c":{"dtype":"F8_E4M3","shape":[0,3],"data_offsets":[10,10]}}'
    keep("safetensors", "small", len(small).to_bytes(8, "little") + small + bytes(10))
    keep("gguf", "llama", (work / "llama.gguf").read_bytes())
    keep("gguf", "q8", (work / "q8.gguf").read_bytes())
    keep("npz", "gpt2", (work / "gpt2.npz").read_bytes())
    with zipfile.ZipFile(work / "gpt2.npz") as stored, zipfile.ZipFile(work / "compressed.npz", "w") as compressed:
        compressed.comment = stored.comment
        for member in stored.infolist():
            compressed.writestr(zipfile.ZipInfo(member.filename), stored.read(member), zipfile.ZIP_DEFLATED)
    keep("npz", "compressed", (work / "compressed.npz").read_bytes())
    keep("llmc", "gpt2", (work / "gpt2.bin").read_bytes())

    # A byte in front: checks as they are, or mended.
    for name in ("stream", "masked", "mix"):
        content = (work / name).read_bytes()
        keep("stream", name, b"\0" + content)
        keep("stream", name + "-mended", b"\1" + content)
    for run in ("gpt2", "mixed"):
        cursor = subprocess.run(["ckpt-tool", "get", work / run, "cursor"], check=True, capture_output=True).stdout.strip()
        keep("cursor", run, cursor)
    for folder in ("data", "less", "ranked"):
        shard = (work / folder / "shard-00000.tok.zst").read_bytes()
        keep("shard", folder, b"\0" + shard)
        keep("shard", folder + "-mended", b"\1" + shard)
    for folder in ("data", "ranked", "less", "words"):
        keep("dataset", folder, (work / folder / "dataset.json").read_bytes())
        keep("dataset", folder + "-sidecar", (work / folder / "shard-00000.json").read_bytes())
    listed = json.loads((work / "data/loss-mask.json").read_text())
    listed["dataset"] = "DATASET"
    keep("mask", "data", pair((work / "data/dataset.json").read_bytes(),
                              pair(json.dumps(listed).encode(), (work / "data/shard-00000.mask").read_bytes())))

    keep("tokenizer", "trained.json", (work / "tokenizer.json").read_bytes())
    tokens = [bytes([b]) for b in range(256)] + [b"th", b"the", b" the"]
    keep("tokenizer", "ranks", b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)))
    # GPT-2's letters for bytes: printable ones stand for themselves, the rest for U+0100 and on.
    plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [b for b in range(256) if b not in plain]
    letters = {b: chr(b) if b in plain else chr(0x100 + others.index(b)) for b in range(256)}
    vocabulary = {letters[b]: b for b in range(256)} | {"th": 256, "the": 257}
    keep("merges", "gpt2", pair(b"#version: 0.2\nt h\nth e\n", json.dumps(vocabulary).encode()))

    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 5, 3, 4) + struct.pack("<3i3q4q", 3, 2, 1, 0, 32, 24, 0, 2, 2, 3)
    keep("megatron", "three", pair(index, struct.pack("<6q", 1, 2, 3, 6, 4, 5)))
    samples = [struct.pack("<Iq3B3H", 9, -5, 16, 4, 3, 1, 2, 3), struct.pack("<Iq4B", 4, 6, 9, 4, 1, 7)]
    begin = 4 + 12 + 2
    places = [begin, begin + len(samples[0]), begin + len(samples[0]) + len(samples[1])]
    shard = struct.pack("<4I", 2, *places) + b"{}" + b"".join(samples)
    (work / "shard").write_bytes(shard)
    shell("zstd -q -3 --no-check shard -o shard.zstd")
    for name, content in (("raw", shard), ("zstd", (work / "shard.zstd").read_bytes())):
        entry = {
            "column_encodings": ["int", "ndarray"], "column_names": ["id", "tokens"], "column_sizes": [8, None],
            "compression": None if name == "raw" else "zstd:3", "format": "mds", "hashes": [],
            "raw_data": {"basename": "shard.00000.mds", "bytes": len(shard), "hashes": {}}, "samples": 2, "size_limit": 1 << 26,
            "version": 2,
            "zip_data": None if name == "raw" else {"basename": "shard.00000.mds.zstd", "bytes": len(content), "hashes": {}},
        }
        keep("mds", name, pair(json.dumps({"shards": [entry], "version": 2}).encode(), content))

    head = b"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"
    npy = b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + struct.pack("<6i", *range(6))
    llmc = struct.pack("<3i", 20_240_520, 1, 5) + bytes(4 * 253) + struct.pack("<5H", 1, 2, 9, 3, 9)
    datatrove = pair(struct.pack("<3Q", 1, 1, 4), struct.pack("<4H", 1, 2, 3, 4))
    lines = b'{"tokens": [1, 2, 3], "x": {"y": [null, "z"]}}\n\n{"id": 7, "tokens": []}\n'
    for number, (name, content) in enumerate([
        ("npy", npy), ("llmc", llmc), ("datatrove", datatrove), ("jsonl", lines), ("text", b"1 2 3\n999\n\n7\n"),
        ("u16", struct.pack("<4H", 1, 2, 3, 4)), ("u32", struct.pack("<2I", 1, 2)),
    ]):
        keep("tokens", name, bytes([number]) + content)

    lines = (golden / "metrics-cat/run1/metrics.jsonl").read_text().splitlines(keepends=True)
    keep("metrics", "run", "".join(lines[:40]))
    keep("metrics", "trained", (work / "llama/metrics.jsonl").read_bytes())
    keep("metrics", "trainer-state", json.dumps({
        "best_metric": None, "log_history": [
            {"epoch": 0.5, "grad_norm": float("nan"), "learning_rate": 5e-05, "loss": 2.5, "step": 10},
            {"eval_loss": 2.25, "step": 10, "note": "NaN in a text"}, {"loss": 2.0, "step": 20, "list": [1]}],
        "max_steps": 20}))
    events = next((work / "logs").glob("*tfevents*")).read_bytes()
    records, place = b"", 0
    while place < len(events):
        length, = struct.unpack_from("<Q", events, place)
        records += pair(events[place + 12:place + 12 + length], b"")
        place += 16 + length
    keep("events", "run", b"\0" + events)
    keep("events", "run-mended", b"\1" + records)
    keep("json", "kinds", json.dumps([None, True, 1.5e-7, -3, 2**64 - 1, "\u00e9\n\ud83d\ude00", {"a": [[]], "": {}}]))
    keep("json", "escapes", rb'{"\u00e9\ud83d\ude00\\\/\b": [0.1e+10, -0, 1E-3], "\ufffe": "\"" }')
    shutil.rmtree(work)


main()
