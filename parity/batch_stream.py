"""Batch streams (docs/formats/batch-stream.md), read and rewritten.

The oracles must see the very bytes that `train-step` saw, so they read its stream and not a copy of the corpus. This is
a second reader written from the format's page alone, and it is as strict: every CRC-32C is checked, and a stream
without DONE is an error. The writer exists because `tok-pack` only masks what it must: `mask` puts a random loss mask
into every batch and leaves all else as it was. Masked positions stay real positions, and neither the ledger nor the
order digest in DONE look at the mask, so DONE is copied as it is.

    python -m parity.batch_stream show IN
    python -m parity.batch_stream mask IN OUT --seed N [--fraction F]
"""

import argparse
import dataclasses
import hashlib
import json
import struct
import sys

import numpy


class StreamError(Exception):
    """A stream that is damaged, or that stopped instead of ending."""


def _make_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _make_table()


def crc32c(data):
    """CRC-32C (Castagnoli, reflected); of b"123456789" it is E3069283."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


@dataclasses.dataclass
class Batch:
    """BTCH. `inputs` and `targets` are (B, T) int64; `ends[b]` are the ends of row b's segments; `mask` is (B, T) bool
    or None."""

    index: int
    cursor: str
    inputs: numpy.ndarray
    targets: numpy.ndarray
    ends: list
    mask: numpy.ndarray | None

    def segments(self):
        """(B, T): the number of the segment each position lies in, from 1; 0 is padding."""
        result = numpy.zeros(self.inputs.shape, numpy.int64)
        for row, ends in enumerate(self.ends):
            begin = 0
            for number, end in enumerate(ends):
                result[row, begin:end] = number + 1
                begin = end
        return result

    def positions(self):
        """(B, T): how far each position is from the beginning of its segment; 0 in padding."""
        result = numpy.zeros(self.inputs.shape, numpy.int64)
        for row, ends in enumerate(self.ends):
            begin = 0
            for end in ends:
                result[row, begin:end] = numpy.arange(end - begin)
                begin = end
        return result

    def counts(self):
        """(B, T) bool: positions that count in the loss."""
        real = self.segments() > 0
        return real if self.mask is None else real & self.mask


@dataclasses.dataclass
class Stream:
    head: dict
    batches: list
    done: dict
    sha256: str


def _frames(data, name):
    offset = 0
    while offset < len(data):
        if offset + 8 > len(data):
            raise StreamError(f"'{name}': byte {offset}: a frame's header is cut short")
        size, kind = struct.unpack_from("<I4s", data, offset)
        end = offset + 8 + size + 4
        if size > 1 << 30 or end > len(data):
            raise StreamError(f"'{name}': byte {offset}: a frame of {size} bytes is cut short")
        (stored,) = struct.unpack_from("<I", data, end - 4)
        if crc32c(data[offset : end - 4]) != stored:
            raise StreamError(f"'{name}': byte {offset}: the frame's CRC-32C does not agree")
        yield kind, data[offset + 8 : end - 4], offset
        offset = end


def _parse_batch(payload, head, name, offset):
    kind = numpy.dtype("<u2" if head["dtype"] == "u16" else "<u4")
    rows, length = head["rows"], head["length"]
    place = 0

    def take(count):
        nonlocal place
        if place + count > len(payload):
            raise StreamError(f"'{name}': byte {offset}: a BTCH payload is cut short")
        place += count
        return payload[place - count : place]

    index, cursor_size = struct.unpack("<QH", take(10))
    cursor = take(cursor_size).decode("ascii")
    if struct.unpack("<II", take(8)) != (rows, length):
        raise StreamError(f"'{name}': byte {offset}: batch {index} is not {rows} x {length}")
    (has_mask,) = take(1)
    ids = []
    for what in ("inputs", "targets"):
        values = numpy.frombuffer(take(rows * length * kind.itemsize), kind).astype(numpy.int64)
        if values.max() >= head["vocabulary_size"]:
            raise StreamError(f"'{name}': byte {offset}: {what} of batch {index} hold id {values.max()}")
        ids.append(values.reshape(rows, length))
    ends = []
    for row in range(rows):
        (count,) = struct.unpack("<I", take(4))
        row_ends = list(struct.unpack(f"<{count}I", take(4 * count)))
        if row_ends != sorted(set(row_ends)) or (row_ends and not 1 <= row_ends[0] <= row_ends[-1] <= length):
            raise StreamError(f"'{name}': byte {offset}: segments of row {row} in batch {index} do not rise")
        ends.append(row_ends)
    mask = None
    if has_mask:
        bits = numpy.unpackbits(numpy.frombuffer(take((rows * length + 7) // 8), numpy.uint8), bitorder="little")
        if bits[rows * length :].any():
            raise StreamError(f"'{name}': byte {offset}: the loss mask of batch {index} goes past its end")
        mask = bits[: rows * length].astype(bool).reshape(rows, length)
    if place != len(payload):
        raise StreamError(f"'{name}': byte {offset}: {len(payload) - place} bytes too many in batch {index}")
    return Batch(index, cursor, ids[0], ids[1], ends, mask)


def read(path):
    """The whole stream in `path`, checked.

    Raises StreamError when it is damaged or stops without DONE.
    """
    with open(path, "rb") as file:
        data = file.read()
    head, batches, done = None, [], None
    for kind, payload, offset in _frames(data, path):
        if done is not None:
            raise StreamError(f"'{path}': byte {offset}: bytes after DONE")
        if head is None:
            if kind != b"HEAD":
                raise StreamError(f"'{path}': byte {offset}: a stream begins with HEAD")
            head = json.loads(payload)
            if (head["format"], head["version"]) != ("millrace-batches", 1):
                raise StreamError(f"'{path}': format {head['format']}, version {head['version']}")
        elif kind == b"BTCH":
            batch = _parse_batch(payload, head, path, offset)
            if batches and batch.index != batches[-1].index + 1:
                raise StreamError(f"'{path}': batch {batch.index} follows batch {batches[-1].index}")
            batches.append(batch)
        elif kind == b"DONE":
            done = json.loads(payload)
        else:
            raise StreamError(f"'{path}': byte {offset}: a frame of type {kind!r}")
    if done is None:
        last = f"the last good batch is {batches[-1].index}" if batches else "no batch was read"
        raise StreamError(f"'{path}': the stream stops without DONE; {last}")
    ledger = done["ledger"]
    if (
        (batches and done["batches"] != batches[-1].index + 1)
        or ledger["tokens_in"] != ledger["emitted"] + ledger["left_over"]
        or ledger["emitted"] + ledger["padded"] != done["rows"] * head["length"]
    ):
        raise StreamError(f"'{path}': the ledger in DONE does not add up")
    return Stream(head, batches, done, hashlib.sha256(data).hexdigest())


def _frame(kind, payload):
    body = struct.pack("<I4s", len(payload), kind) + payload
    return body + struct.pack("<I", crc32c(body))


def _batch_payload(batch, head):
    kind = "<u2" if head["dtype"] == "u16" else "<u4"
    cursor = batch.cursor.encode("ascii")
    parts = [
        struct.pack("<QH", batch.index, len(cursor)),
        cursor,
        struct.pack("<IIB", *batch.inputs.shape, batch.mask is not None),
        batch.inputs.astype(kind).tobytes(),
        batch.targets.astype(kind).tobytes(),
    ]
    for ends in batch.ends:
        parts.append(struct.pack(f"<{len(ends) + 1}I", len(ends), *ends))
    if batch.mask is not None:
        parts.append(numpy.packbits(batch.mask.reshape(-1), bitorder="little").tobytes())
    return b"".join(parts)


def write(path, stream):
    """Writes `stream`; HEAD and DONE as they are."""
    with open(path, "wb") as file:
        file.write(_frame(b"HEAD", json.dumps(stream.head, separators=(",", ":")).encode()))
        for batch in stream.batches:
            file.write(_frame(b"BTCH", _batch_payload(batch, stream.head)))
        file.write(_frame(b"DONE", json.dumps(stream.done, separators=(",", ":")).encode()))


def mask(stream, seed, fraction=1 / 3):
    """Leaves `fraction` of the positions out of the loss, on top of a mask that is there.

    Rows differ in how many they lose (row r loses up to twice the fraction), so that a mean of micro-batches' means is
    another number than the mean over all targets; and every third batch loses the first quarter of its rows, so that
    a micro-batch or lane can be without any. Bits of padding are drawn like others: they must not matter.
    """
    random = numpy.random.default_rng(seed)
    for batch in stream.batches:
        rows, length = batch.inputs.shape
        shares = fraction * 2 * (numpy.arange(rows)[:, None] + 0.5) / rows
        drawn = random.random((rows, length)) >= shares
        if batch.index % 3 == 0:
            drawn[: rows // 4] = False
        batch.mask = drawn if batch.mask is None else drawn & batch.mask


def main():
    parser = argparse.ArgumentParser(prog="parity.batch_stream")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="one line a batch")
    show.add_argument("input")
    masked = commands.add_parser("mask", help="the same stream with a random loss mask")
    masked.add_argument("input")
    masked.add_argument("output")
    masked.add_argument("--seed", type=int, required=True)
    masked.add_argument("--fraction", type=float, default=1 / 3, help="how many positions are masked (default: 1/3)")
    arguments = parser.parse_args()
    try:
        stream = read(arguments.input)
        if arguments.command == "mask":
            mask(stream, arguments.seed, arguments.fraction)
            write(arguments.output, stream)
            return 0
    except FileNotFoundError as error:
        print(f"batch_stream: '{error.filename}': no such file", file=sys.stderr)
        return 66
    except StreamError as error:
        print(f"batch_stream: {error}", file=sys.stderr)
        return 65
    print(json.dumps(stream.head))
    for batch in stream.batches:
        segments = [len(ends) for ends in batch.ends]
        real, counted = int((batch.segments() > 0).sum()), int(batch.counts().sum())
        print(f"batch {batch.index}: {real} real, {counted} targets, segments {segments}")
    print(json.dumps(stream.done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
