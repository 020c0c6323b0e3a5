// Datasets written by hand from docs/formats/dataset.md, so that the packer is tested against the page and not against
// the program that usually writes them.

import Bytes
import SystemPackage
import Tokens

/// A directory that goes away with its owner.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path =
            (Host.environment("TMPDIR") ?? "/tmp") + "/millrace-" + String(UInt64.random(in: .min ... .max), radix: 36)
        try FileSystem.makeDirectory(FilePath(path))
    }

    deinit { try? FileSystem.remove(FilePath(path)) }
}

/// Writes a dataset directory.
/// - Parameter shards: documents of each shard, none empty.
func writeDataset(
    _ path: String, shards: [[[UInt32]]], vocabularySize: Int = 257, endOfDocument: Int? = 256, name: String = "bytes"
) throws {
    try FileSystem.makeDirectory(.init(path))
    var records: [ShardRecord] = []
    for (number, documents) in shards.enumerated() {
        let bytes = shardBytes(documents, type: TokenType(vocabularySize: vocabularySize))
        let name = "shard-0000\(number).tok.zst"
        try AtomicFile.write(bytes, to: .init(path + "/" + name), durable: false)
        let tokens = documents.reduce(0) { $0 + $1.count }
        let perFrame = TokenType(vocabularySize: vocabularySize).tokensPerFrame
        records.append(
            ShardRecord(
                name: name, tokens: tokens, documents: documents.count, frames: (tokens + perFrame - 1) / perFrame,
                bytes: bytes.count, sha256: Digest.of(bytes)))
    }
    let manifest = DatasetManifest(
        vocabularySize: vocabularySize, tokenizer: TokenizerRecord(name: name, endOfDocument: endOfDocument),
        shards: records)
    try AtomicFile.write(
        Array(manifest.json.pretty.utf8), to: .init(path + "/" + DatasetManifest.fileName), durable: false)
}

private func shardBytes(_ documents: [[UInt32]], type: TokenType) -> [UInt8] {
    let compressor = ZstdCompressor(level: 1)
    let tokens = documents.flatMap { $0 }
    var ends: [Int] = []
    for document in documents { ends.append((ends.last ?? 0) + document.count) }
    var file: [UInt8] = []
    var seekEntries: [UInt8] = []
    var table: [UInt8] = []
    var storedEnds: [UInt8] = []
    var documentsBefore = 0
    let frames = (tokens.count + type.tokensPerFrame - 1) / type.tokensPerFrame
    for frame in 0..<frames {
        let start = frame * type.tokensPerFrame
        let content = Array(tokens[start..<min(start + type.tokensPerFrame, tokens.count)])
        let raw = type == .u16 ? content.map { UInt16($0) }.littleEndianBytes : content.littleEndianBytes
        let compressed = compressor.frame(of: raw)
        file += compressed
        seekEntries.append(littleEndian: UInt32(compressed.count))
        seekEntries.append(littleEndian: UInt32(raw.count))
        seekEntries += compressed.suffix(4)
        var own: [UInt8] = []
        let first = documentsBefore
        while documentsBefore < ends.count, ends[documentsBefore] <= start + content.count {
            own.append(littleEndian: UInt32(ends[documentsBefore] - start))
            documentsBefore += 1
        }
        storedEnds += own
        table.append(littleEndian: UInt64(first))
        table.append(littleEndian: UInt64(first == 0 ? 0 : ends[first - 1]))
        table.append(littleEndian: frame == 0 ? UInt32(0) : tokens[start - 1])
        table.append(littleEndian: CRC32C.checksum(own))
    }
    var index = Array("MRIX".utf8)
    for value in [1, type.byteCount, frames] { index.append(littleEndian: UInt32(value)) }
    for value in [tokens.count, documents.count] { index.append(littleEndian: UInt64(value)) }
    index += table
    let checksum = CRC32C.checksum(index)
    index += storedEnds
    index.append(littleEndian: checksum)
    file.append(littleEndian: UInt32(0x184D_2A50))
    file.append(littleEndian: UInt32(index.count))
    file += index
    for value in [index.count + 8, 0, 0] { seekEntries.append(littleEndian: UInt32(value)) }
    file.append(littleEndian: UInt32(0x184D_2A5E))
    file.append(littleEndian: UInt32(seekEntries.count + 9))
    file += seekEntries
    file.append(littleEndian: UInt32(frames + 1))
    file.append(0x80)
    file.append(littleEndian: UInt32(0x8F92_EAB1))
    return file
}

/// SplitMix64 as a generator, for tests that must fail the same way twice.
struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}

/// Documents of 1 … `longest` tokens, each ending in 256; no token value says anything about its place.
func randomDocuments(_ count: Int, longest: Int, _ generator: inout Generator, ending: Bool = true) -> [[UInt32]] {
    (0..<count).map { _ in
        let length = Int.random(in: 1...longest, using: &generator)
        return (0..<length).map { ending && $0 == length - 1 ? 256 : UInt32.random(in: 0..<256, using: &generator) }
    }
}
