// One shard file being written: compressed frames as they come, then the index and the seek table
// (docs/formats/dataset.md). Memory: 36 bytes a frame and 4 bytes a document of this shard.

internal import Bytes
private import SystemPackage

/// A compressed frame and what the index will say of it.
struct CompressedFrame: Sendable {
    var bytes: [UInt8]
    /// What the bytes decode to, and how many ids that is.
    var contentBytes: Int
    var tokens: Int
    var raw: RawFrame

    /// Compresses `raw`, letting its content go.
    init(_ raw: RawFrame, type: TokenType, using compressor: ZstdCompressor) {
        self.raw = raw
        let content = raw.ranks.map { RankCoder.encode(raw.content, ranks: $0.ranks) } ?? raw.content
        bytes = compressor.frame(of: content)
        contentBytes = content.count
        tokens = raw.content.count / type.byteCount
        self.raw.content = []
    }
}

final class ShardWriter {
    private let file: AtomicFile
    private let name: String
    private let type: TokenType
    private var hasher = DigestHasher()
    private var frameTable: [UInt8] = []
    private var seekTable: [UInt8] = []
    private var ends: [UInt8] = []
    private var ranks: RankCoder?
    private var tokens = 0
    private var documents = 0
    private var frames = 0

    /// More frames than this (13 T ids of 16 bits) would not fit the index, whose size is a u32.
    private static let maximumFrames = 100_000_000

    init(directory: String, name: String, type: TokenType) throws(Fault) {
        self.name = name
        self.type = type
        file = try AtomicFile(FilePath(directory).appending(name))
    }

    func append(_ frame: CompressedFrame) throws(Fault) {
        if frames == ShardWriter.maximumFrames {
            throw Fault(.badData, "a document is longer than a shard of \(frames) frames can be")
        }
        ranks = frame.raw.ranks?.coder
        try write(frame.bytes)
        let storedEnds = frame.raw.ends.littleEndianBytes
        frameTable.append(littleEndian: UInt64(frame.raw.documentsBefore))
        frameTable.append(littleEndian: UInt64(frame.raw.documentStart))
        frameTable.append(littleEndian: frame.raw.previousToken)
        frameTable.append(littleEndian: CRC32C.checksum(storedEnds))
        ends.append(contentsOf: storedEnds)
        seekTable.append(littleEndian: UInt32(frame.bytes.count))
        seekTable.append(littleEndian: UInt32(frame.contentBytes))
        // The last four bytes of a zstd frame are the checksum of its content.
        seekTable.append(contentsOf: frame.bytes.suffix(4))
        tokens += frame.tokens
        documents += frame.raw.ends.count
        frames += 1
    }

    /// Writes the tables and publishes the file.
    func finish() throws(Fault) -> ShardRecord {
        var head: [UInt8] = ShardFormat.indexName
        head.append(littleEndian: ranks == nil ? ShardFormat.indexVersion : ShardFormat.rankIndexVersion)
        head.append(littleEndian: UInt32(type.byteCount))
        head.append(littleEndian: UInt32(frames))
        head.append(littleEndian: UInt64(tokens))
        head.append(littleEndian: UInt64(documents))
        if let ranks {
            head.append(littleEndian: UInt32(ranks.table.count))
            head.append(littleEndian: ranks.table)
        }
        head.append(contentsOf: frameTable)
        let payload = head.count + ends.count + 4
        guard let size = UInt32(exactly: payload) else {
            throw Fault(.badData, "\(documents) documents are more than the index of one shard holds")
        }
        var index: [UInt8] = []
        index.append(littleEndian: ShardFormat.indexMagic)
        index.append(littleEndian: size)
        index.append(contentsOf: head)
        try write(index)
        try write(ends)
        var tail: [UInt8] = []
        tail.append(littleEndian: CRC32C.checksum(head))
        seekTable.append(littleEndian: size + 8)
        seekTable.append(littleEndian: UInt64(0))
        tail.append(littleEndian: ShardFormat.seekTableMagic)
        tail.append(littleEndian: UInt32(seekTable.count + ShardFormat.seekFooterBytes))
        tail.append(contentsOf: seekTable)
        tail.append(littleEndian: UInt32(frames + 1))
        tail.append(ShardFormat.seekTableDescriptor)
        tail.append(littleEndian: ShardFormat.seekTableFooterMagic)
        try write(tail)
        try file.commit()
        return ShardRecord(
            name: name, tokens: tokens, documents: documents, frames: frames, bytes: file.bytesWritten,
            sha256: hasher.finish())
    }

    private func write(_ bytes: [UInt8]) throws(Fault) {
        try file.write(bytes)
        hasher.update(bytes)
    }
}
