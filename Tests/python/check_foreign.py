"""Token files of other programs, both ways: what tok-shard export writes is read by the foreign library (MosaicML
streaming, datatrove, NumPy) or by the small readers below, which were written from the layouts alone; what those write,
tok-shard import reads. Documents must come back id for id.

    python3 check_foreign.py [--quick]

Needs: tok-shard on the PATH, numpy, Tests/python/foreign-requirements.txt. A minute; without --quick three, and 8 GB of
disk (sparse) for files of more than 4 GiB.
"""

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from unittest import mock

import numpy as np

VOCABULARIES = (50_257, 65_536, 150_000)


def only_the_formats():
    """Lets the MDS and datatrove writers be imported without what trainers and clouds need."""
    import importlib.util

    for package, parts in (("streaming", ("", "base")), ("datatrove", ())):
        root = Path(importlib.util.find_spec(package).origin).parent
        for part in parts:
            name = f"{package}.{part}".rstrip(".")
            module = types.ModuleType(name)
            module.__path__ = [str(root / part)]
            sys.modules[name] = module
    for name in ("torch", "torch.distributed", "torch.utils", "torch.utils.data", "humanize", "loguru", "tokenizers",
                 "tokenizers.processors", "fsspec", "fsspec.implementations", "fsspec.implementations.dirfs",
                 "fsspec.implementations.local", "fsspec.implementations.cached", "fsspec.core", "fsspec.utils",
                 "fsspec.callbacks", "huggingface_hub", "dill", "multiprocess", "rich", "rich.console", "rich.progress"):
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = mock.MagicMock()


def documents(vocabulary, seed):
    """Lengths around every width that a format has for them, and one longer than a frame of ours."""
    random = np.random.default_rng(seed)
    lengths = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 140_000, *random.integers(1, 2000, 200)]
    return [random.integers(0, vocabulary, n, dtype=np.uint32) for n in lengths]


def tool(*arguments, **options):
    return subprocess.run(["tok-shard", *map(str, arguments)], check=True, capture_output=True, **options)


def make(path, docs, vocabulary, end=None):
    """A dataset of `docs`, from plain ids."""
    if end is None:
        text = "".join(" ".join(map(str, d.tolist())) + "\n" for d in docs)
        tool("--format", "ids-text", "--vocab-size", vocabulary, "--shard-tokens", 100_000, "--output", path, "-",
             input=text.encode())
    else:
        raw = np.concatenate(docs).astype("<u4").tobytes()
        tool("--format", "ids-u32", "--vocab-size", vocabulary, "--end-of-document", end, "--shard-tokens", 100_000,
             "--output", path, "-", input=raw)


def read(path):
    tool("verify", path)
    text = tool("cat", "--ids", path).stdout.decode()
    return [np.array(line.split(), dtype=np.uint32) for line in text.splitlines()]


def same(expected, found, what):
    assert len(expected) == len(found), f"{what}: {len(expected)} documents, found {len(found)}"
    for number, (left, right) in enumerate(zip(expected, found)):
        assert np.array_equal(left, np.asarray(right).astype(np.int64)), f"{what}: document {number} differs"
    print(f"foreign: {what}: {len(expected)} documents agree")


def cut(ids, end):
    """Documents that end with `end`."""
    ids = np.asarray(ids)
    return [d for d in np.split(ids, np.flatnonzero(ids == end) + 1) if len(d)]


# --- Readers and writers from the layouts (docs/formats/foreign-tokens.md), sharing no code with the tools.

def read_llmc(path):
    head = np.fromfile(path, "<i4", 256)
    kind = {(20240520, 1): "<u2", (20240801, 7): "<u4"}[head[0], head[1]]
    ids = np.fromfile(path, kind, offset=1024)
    assert len(ids) == head[2] and not head[3:].any()
    return ids


def write_llmc(path, ids, wide):
    head = np.zeros(256, "<i4")
    head[:3] = (20240801, 7, len(ids)) if wide else (20240520, 1, len(ids))
    path.write_bytes(head.tobytes() + ids.astype("<u4" if wide else "<u2").tobytes())


MEGATRON_TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}


def read_megatron(stem):
    data = Path(f"{stem}.idx").read_bytes()
    assert data[:9] == b"MMIDIDX\0\0"
    version, code, sequences, borders = struct.unpack_from("<QBQQ", data, 9)
    assert version == 1
    lengths = np.frombuffer(data, "<i4", sequences, 34)
    offsets = np.frombuffer(data, "<i8", sequences, 34 + 4 * sequences)
    docs = np.frombuffer(data, "<i8", borders, 34 + 12 * sequences)
    assert len(data) == 34 + 12 * sequences + 8 * borders and docs[0] == 0 and docs[-1] == sequences
    kind = np.dtype(MEGATRON_TYPES[code])
    tokens = np.memmap(f"{stem}.bin", kind, "r")
    return [np.concatenate([tokens[offsets[s] // kind.itemsize:][:lengths[s]] for s in range(a, b)])
            for a, b in zip(docs[:-1], docs[1:])], code


def write_megatron(stem, docs, code, sequences_of=lambda d: [d], modes=False):
    kind = np.dtype(MEGATRON_TYPES[code])
    parts = [sequences_of(d) for d in docs]
    flat = [s for p in parts for s in p]
    lengths = np.array([len(s) for s in flat], "<i4")
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)[:-1]]) * kind.itemsize
    borders = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    np.concatenate(flat).astype(kind).tofile(f"{stem}.bin")
    Path(f"{stem}.idx").write_bytes(
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, len(flat), len(borders)) + lengths.tobytes()
        + offsets.astype("<i8").tobytes() + borders.astype("<i8").tobytes() + (bytes(len(flat)) if modes else b""))


def check_raw(work):
    for vocabulary in VOCABULARIES:
        end = vocabulary - 1
        docs = [np.concatenate([d[d != end], [end]]).astype(np.uint32) for d in documents(vocabulary, 1)]
        flat = np.concatenate(docs)
        data = work / f"raw-{vocabulary}"
        make(data, docs, vocabulary, end=end)
        wide = vocabulary > 65_536
        options = ("--vocab-size", vocabulary, "--end-of-document", end)
        for form in ("llmc", "npy") + (() if wide else ("nanogpt",)):
            out = work / f"{vocabulary}.{form}"
            tool("export", "--to", form, "--output", out, data)
            ids = {"llmc": read_llmc, "npy": np.load, "nanogpt": lambda p: np.fromfile(p, "<u2")}[form](out)
            assert np.array_equal(ids, flat)
            same(docs, cut(ids, end), f"export {form} {vocabulary}")
            foreign = work / f"{vocabulary}-foreign.{form}"
            if form == "npy":
                np.save(work / "x.npy", flat.astype(np.int64))
                (work / "x.npy").rename(foreign)
            elif form == "llmc":
                write_llmc(foreign, flat, wide)
            else:
                flat.astype("<u2").tofile(foreign)
            back = work / f"back-{vocabulary}-{form}"
            tool("import", "--from", form, *options, "--output", back, foreign)
            same(docs, read(back), f"import {form} {vocabulary}")
        # Several files of whole documents are the same again.
        tool("export", "--to", "llmc", "--file-tokens", 50_000, "--output", work / f"parts{vocabulary}.bin", data)
        parts = sorted(work.glob(f"parts{vocabulary}-*.bin"))
        assert len(parts) > 3
        same(docs, cut(np.concatenate([read_llmc(p) for p in parts]), end), f"export llmc in {len(parts)} files")
    # Every integer type of NumPy, and rows.
    for kind in ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"):
        rows = np.random.default_rng(2).integers(0, 127, (7, 33)).astype(kind)
        np.save(work / "rows.npy", rows)
        back = work / f"rows-{kind.strip('<')}"
        tool("import", "--from", "npy", "--vocab-size", 127, "--output", back, work / "rows.npy")
        same(list(rows), read(back), f"import npy rows of {kind}")


def check_megatron(work):
    for vocabulary in VOCABULARIES:
        docs = documents(vocabulary, 3)
        data = work / f"meg-{vocabulary}"
        make(data, docs, vocabulary)
        tool("export", "--to", "megatron", "--output", work / f"m{vocabulary}", data)
        found, code = read_megatron(work / f"m{vocabulary}")
        assert code == (8 if vocabulary < 65_500 else 4)
        same(docs, found, f"export megatron {vocabulary}")
        for code, split, modes in ((8, False, False), (4, True, True), (5, True, False)):
            if code == 8 and vocabulary > 65_536:
                continue
            stem = work / f"f{vocabulary}-{code}"
            write_megatron(stem, docs, code, (lambda d: np.array_split(d, 3)) if split else (lambda d: [d]), modes)
            back = work / f"mback-{vocabulary}-{code}"
            tool("import", "--from", "megatron", "--vocab-size", vocabulary, "--output", back, stem)
            same(docs, read(back), f"import megatron type {code} {vocabulary}")


def check_datatrove(work):
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    class Folder:
        """The little of a DataFolder that TokenizedFile asks for."""

        def open(self, name, mode="rb", **_):
            return open(work / name, mode)

    with mock.patch("datatrove.pipeline.tokens.tokenizer.get_datafolder", lambda folder: folder):
        for vocabulary in VOCABULARIES:
            docs = documents(vocabulary, 4)
            size = 2 if vocabulary <= 65_536 else 4
            file = TokenizedFile(Folder(), f"foreign{vocabulary}.ds", token_size=size)
            for doc in docs:
                file.write(doc.tolist(), None)
            file.close()
            back = work / f"dback-{vocabulary}"
            tool("import", "--from", "datatrove", "--vocab-size", vocabulary, "--output", back,
                 work / f"foreign{vocabulary}.ds")
            same(docs, read(back), f"import datatrove {vocabulary}")
            out = work / f"ours{vocabulary}.ds"
            tool("export", "--to", "datatrove", "--output", out, back)
            for suffix in ("", ".index"):
                theirs = (work / f"foreign{vocabulary}.ds{suffix}").read_bytes()
                assert Path(f"{out}{suffix}").read_bytes() == theirs, f"datatrove{suffix} differs"
            first, count, _ = Path(f"{out}.metadata").read_text().split("\n")
            assert first == f"ids|{size}" and int(count) == sum(map(len, docs))
            print(f"foreign: export datatrove {vocabulary}: the same bytes as datatrove's")


def check_mds(work):
    from streaming.base.compression import decompress
    from streaming.base.format.mds.reader import MDSReader
    from streaming.base.format.mds.writer import MDSWriter

    def read_mds(path):
        index = json.loads((path / "index.json").read_text())
        assert index["version"] == 2
        samples = []
        for entry in index["shards"]:
            raw = path / entry["raw_data"]["basename"]
            if entry["zip_data"]:
                packed = path / entry["zip_data"]["basename"]
                assert packed.stat().st_size == entry["zip_data"]["bytes"]
                raw.write_bytes(decompress(entry["compression"], packed.read_bytes()))
            assert raw.stat().st_size == entry["raw_data"]["bytes"]
            reader = MDSReader.from_json(str(path), "", entry)
            reader.validate(False)
            samples += [reader.decode_sample(reader.get_sample_data(i))["tokens"] for i in range(reader.samples)]
            if entry["zip_data"]:
                raw.unlink()
        return samples, len(index["shards"])

    for vocabulary in VOCABULARIES:
        docs = documents(vocabulary, 5)
        data = work / f"mds-{vocabulary}"
        make(data, docs, vocabulary)
        kind = "uint16" if vocabulary <= 65_536 else "uint32"
        for name, options in (("plain", ()), ("zstd", ("--compress", 3)), ("small", ("--size-limit", 100_000))):
            out = work / f"mds-{vocabulary}-{name}"
            tool("export", "--to", "mds", *options, "--output", out, data)
            found, shards = read_mds(out)
            assert name != "small" or shards > 4
            same(docs, found, f"export mds {name} {vocabulary} in {shards} shards")
            tool("import", "--from", "mds", "--vocab-size", vocabulary, "--output", f"{out}-again", out)
            same(docs, read(f"{out}-again"), f"import of our own mds {name} {vocabulary}")
        for name, columns, compression, sample in (
            ("static", {"tokens": f"ndarray:{kind}"}, None, lambda d: {"tokens": d.astype(kind)}),
            ("dynamic", {"tokens": "ndarray", "id": "int", "a": "str"}, "zstd:3",
             lambda d: {"tokens": d.astype(np.int64), "id": len(d), "a": "x" * (len(d) % 7)}),
            ("foundry", {"tokens": "bytes", "z": "bytes"}, "zstd",
             lambda d: {"tokens": d.astype(np.int64).tobytes(), "z": b"rest"}),
        ):
            out = work / f"mds-{vocabulary}-{name}"
            with MDSWriter(columns=columns, out=str(out), compression=compression, size_limit=300_000
                           if name != "static" else 1 << 26) as writer:
                kept = [d for d in docs if len(d) < 30_000] if name != "static" else docs
                for doc in kept:
                    writer.write(sample(doc))
            back = work / f"mds-{vocabulary}-{name}-back"
            tool("import", "--from", "mds", "--vocab-size", vocabulary, "--output", back, out)
            same(kept, read(back), f"import mds {name} {vocabulary}")
    for shape, kind in ((20, "int32"),):
        rows = np.random.default_rng(6).integers(0, 100, (50, shape)).astype(kind)
        with MDSWriter(columns={"x": f"ndarray:{kind}:{shape}"}, out=str(work / "fixed")) as writer:
            for row in rows:
                writer.write({"x": row})
        tool("import", "--from", "mds", "--field", "x", "--vocab-size", 100, "--output", work / "fixed-back",
             work / "fixed")
        same(list(rows), read(work / "fixed-back"), "import mds of a fixed shape")


def check_json(work):
    docs = documents(50_257, 7)
    make(work / "json", docs, 50_257)
    tool("export", "--to", "jsonl", "--field", "input_ids", "--output", work / "ids.jsonl", work / "json")
    lines = [json.loads(line) for line in (work / "ids.jsonl").read_text().splitlines()]
    assert all(list(line) == ["input_ids"] for line in lines)
    same(docs, [line["input_ids"] for line in lines], "export jsonl")
    with open(work / "foreign.jsonl", "w") as file:
        for number, doc in enumerate(docs):
            value = doc.tolist()
            file.write(json.dumps(value if number % 3 == 0 else {"text": "…\"]", "tokens": value, "n": [[1.5], None]}))
            file.write("\n\n" if number % 5 == 0 else "\r\n")
    tool("import", "--from", "jsonl", "--vocab-size", 50_257, "--output", work / "json-back", work / "foreign.jsonl")
    same(docs, read(work / "json-back"), "import jsonl")


def peak(*arguments):
    """MiB that a tool of its own takes at most."""
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)")
    return int(subprocess.run([sys.executable, "-c", code, "tok-shard", *map(str, arguments)], check=True,
                              capture_output=True).stdout)


def check_memory(work):
    """One document of 200 MB in every format, and back: the memory of a piece."""
    count = 100_000_000
    ids = np.tile(np.arange(50_000, dtype="<u2"), count // 50_000)
    ids.tofile(work / "long.bin")
    peaks = {"nanogpt in": peak("import", "--from", "nanogpt", "--vocab-size", 50_257, "--level", 1, "--threads", 1,
                                "--output", work / "long", work / "long.bin")}
    for form in ("llmc", "nanogpt", "npy", "megatron", "datatrove", "mds", "jsonl"):
        out = work / f"long-{form}"
        options = ["--drop-boundaries"] if form in ("llmc", "nanogpt", "npy") else []
        options += ["--compress", "1"] if form == "mds" else []
        peaks[f"{form} out"] = peak("export", "--to", form, *options, "--output", out, work / "long")
        peaks[f"{form} in"] = peak("import", "--from", form, "--vocab-size", 50_257, "--level", 1, "--threads", 1,
                                   "--output", work / f"long-{form}-back", out)
        back = (work / f"long-{form}-back" / "shard-00000.tok.zst").read_bytes()
        assert back == (work / "long" / "shard-00000.tok.zst").read_bytes(), form
    print("foreign: MiB for a document of 200 MB:", ", ".join(f"{k} {v}" for k, v in peaks.items()))
    assert max(peaks.values()) < 64, peaks


def check_large(work):
    """Files over 2 and over 4 GiB, sparse: offsets and counts of more than 31 and 32 bits."""
    count = 2_200_000_000  # × 2 bytes: 4.4 GB
    stem = work / "large"
    with open(f"{stem}.bin", "wb") as file:
        file.truncate(2 * count)
        file.seek(2 * count - 6)
        file.write(np.array([7, 8, 9], "<u2").tobytes())
    half = count // 2
    lengths, offsets = [half, half - 3, 3], [0, 2 * half, 2 * (count - 3)]
    Path(f"{stem}.idx").write_bytes(
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 3, 4) + np.array(lengths, "<i4").tobytes()
        + np.array(offsets, "<i8").tobytes() + np.arange(4, dtype="<i8").tobytes())
    options = ("--vocab-size", 10, "--level", 1)
    tool("import", "--from", "megatron", *options, "--output", work / "large-data", stem)
    totals = json.loads(tool("info", "--json", work / "large-data").stdout)
    assert totals["tokens"] == count and totals["documents"] == 3, totals
    assert tool("cat", "--ids", "--document", 2, work / "large-data").stdout == b"7 8 9\n"
    tool("export", "--to", "megatron", "--output", work / "large-out", work / "large-data")
    assert Path(f"{work}/large-out.idx").read_bytes() == Path(f"{stem}.idx").read_bytes()
    assert os.stat(f"{work}/large-out.bin").st_size == 2 * count
    refused = subprocess.run(["tok-shard", "export", "--to", "llmc", "--drop-boundaries", "--output", work / "no.bin",
                              work / "large-data"], capture_output=True)
    assert refused.returncode == 64 and b"2147483647" in refused.stderr and not (work / "no.bin").exists()
    # As raw ids the same 4.4 GB are one document.
    tool("import", "--from", "nanogpt", *options, "--output", work / "large-raw", f"{stem}.bin")
    assert json.loads(tool("info", "--json", work / "large-raw").stdout)["tokens"] == count
    print("foreign: 4.4 GB of megatron and nanogpt agree; llm.c's 31 bits are refused, not wrapped")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    only_the_formats()
    with tempfile.TemporaryDirectory() as name:
        for check in (check_raw, check_megatron, check_datatrove, check_mds, check_json,
                      *(() if quick else (check_memory, check_large))):
            work = Path(name) / check.__name__
            work.mkdir()
            check(work)
    print("foreign: all agree")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
