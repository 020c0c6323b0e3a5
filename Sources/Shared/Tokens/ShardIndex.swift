// The two tables at the end of a shard, read and checked: the seek table of zstd's seekable format and our index.

internal import Bytes

/// The seek table: one entry a frame before it.
struct SeekTable {
    struct Entry {
        let compressed: UInt32
        let decompressed: UInt32
        let checksum: UInt32
    }

    let entries: [Entry]
    /// Where the seek table's frame begins in the file.
    let offset: Int

    func byteOffset(ofEntry k: Int) -> Int { offset + 8 + k * ShardFormat.seekEntryBytes }

    init(_ file: any RangedSource) throws(Fault) {
        let footerOffset = file.size - ShardFormat.seekFooterBytes
        guard footerOffset >= 8 else {
            throw .badData(file.name, byte: file.size, "too short for a shard: \(file.size) bytes")
        }
        let footer = try file.read(at: footerOffset, count: ShardFormat.seekFooterBytes)
        guard let magic: UInt32 = footer.littleEndian(at: 5), let count: UInt32 = footer.littleEndian(at: 0) else {
            preconditionFailure("9 bytes were read")
        }
        if magic != ShardFormat.seekTableFooterMagic {
            throw .badData(
                file.name, byte: footerOffset + 5,
                "expected a seek table to end the file (\(hexadecimal32(ShardFormat.seekTableFooterMagic))), "
                    + "found \(hexadecimal32(magic))", hint: "the file was cut short, or it is no shard")
        }
        if footer[4] != ShardFormat.seekTableDescriptor {
            throw .badData(
                file.name, byte: footerOffset + 4,
                "expected seek table descriptor 0x80, found 0x\(hexadecimal([footer[4]]))")
        }
        // 2^32 entries of 12 bytes: no overflow in 64 bits.
        let payload = Int(count) * ShardFormat.seekEntryBytes + ShardFormat.seekFooterBytes
        offset = file.size - payload - 8
        if count < 1 || offset < 0 {
            throw .badData(file.name, byte: footerOffset, "a seek table of \(count) entries does not fit the file")
        }
        let head = try file.read(at: offset, count: 8)
        if head.littleEndian(at: 0, as: UInt32.self) != ShardFormat.seekTableMagic {
            throw .badData(
                file.name, byte: offset,
                "expected a seek table (\(hexadecimal32(ShardFormat.seekTableMagic))), "
                    + "found \(hexadecimal32(head.littleEndian(at: 0) ?? 0))")
        }
        let size: UInt32 = head.littleEndian(at: 4) ?? 0
        if Int(size) != payload {
            throw .badData(file.name, byte: offset + 4, "expected a seek table of \(payload) bytes, found \(size)")
        }
        let bytes = try file.read(at: offset + 8, count: Int(count) * ShardFormat.seekEntryBytes)
        var entries: [Entry] = []
        entries.reserveCapacity(Int(count))
        var total = 0
        for k in 0..<Int(count) {
            guard let compressed: UInt32 = bytes.littleEndian(at: k * 12),
                let decompressed: UInt32 = bytes.littleEndian(at: k * 12 + 4),
                let checksum: UInt32 = bytes.littleEndian(at: k * 12 + 8)
            else { preconditionFailure("12 bytes an entry were read") }
            entries.append(Entry(compressed: compressed, decompressed: decompressed, checksum: checksum))
            total += Int(compressed)
        }
        if total != offset {
            throw .badData(
                file.name, byte: offset + 8,
                "expected the frames of the seek table to fill \(offset) bytes, found \(total)")
        }
        let index = entries[entries.count - 1]
        if index.decompressed != 0 || index.checksum != 0 {
            throw .badData(
                file.name, byte: offset + 8 + (entries.count - 1) * 12 + 4,
                "expected the seek table's last entry to be the index, with no content and checksum 0")
        }
        self.entries = entries
    }
}

/// The index: header and frame table. Document ends stay in the file.
struct ShardIndex {
    let bytesPerToken: Int
    let tokenCount: Int
    let documentCount: Int
    let frames: [FrameEntry]
    /// Of a shard of ranks.
    let ranks: RankCoder?
    /// Where the frame table begins in the file.
    let frameTableOffset: Int
    /// Where the payload begins in the file.
    let payloadOffset: Int
    let endsOffset: Int

    /// - Parameter start, end: the bytes that the seek table gives to the index.
    init(_ file: any RangedSource, at start: Int, end: Int, vocabularySize: Int) throws(Fault) {
        let minimum = 8 + ShardFormat.indexHeaderBytes + 4
        if end - start < minimum {
            throw .badData(
                file.name, byte: start, "expected an index of at least \(minimum) bytes, found \(end - start)")
        }
        func fault(
            _ offset: Int, _ what: String, _ expected: some CustomStringConvertible,
            _ found: some CustomStringConvertible
        )
            -> Fault
        { .badData(file.name, byte: offset, "expected \(what) \(expected), found \(found)") }
        let head = try file.read(at: start, count: 8 + ShardFormat.indexHeaderBytes)
        func u32(_ offset: Int) -> UInt32 { head.littleEndian(at: offset) ?? 0 }
        if u32(0) != ShardFormat.indexMagic {
            throw fault(start, "an index", hexadecimal32(ShardFormat.indexMagic), hexadecimal32(u32(0)))
        }
        if Int(u32(4)) != end - start - 8 { throw fault(start + 4, "an index of bytes", end - start - 8, u32(4)) }
        let payload = start + 8
        if Array(head[8..<12]) != ShardFormat.indexName {
            throw fault(payload, "index name", "'MRIX'", quoted(String(decoding: head[8..<12], as: UTF8.self)))
        }
        let isRanked = u32(12) == ShardFormat.rankIndexVersion
        if !isRanked && u32(12) != ShardFormat.indexVersion {
            throw fault(payload + 4, "index version", "1 or 2", u32(12))
        }
        let rankBytes = isRanked ? try ShardIndex.rankTable(file, at: payload, end: end, vocabularySize) : []
        bytesPerToken = Int(u32(16))
        let count = Int(u32(20))
        guard let tokens = Int(exactly: head.littleEndian(at: 24, as: UInt64.self) ?? 0),
            let documents = Int(exactly: head.littleEndian(at: 32, as: UInt64.self) ?? 0)
        else { throw .badData(file.name, byte: payload + 16, "counts in the index leave 63 bits") }
        let tableBytes = count * ShardFormat.frameEntryBytes
        let (endsBytes, overflow) = documents.multipliedReportingOverflow(by: 4)
        let rest = end - start - minimum - rankBytes.count - tableBytes
        if rest < 0 || overflow || endsBytes != rest {
            throw .badData(
                file.name, byte: payload + 12,
                "an index of \(count) frames and \(documents) documents does not fill its \(end - start - 8) bytes")
        }
        frameTableOffset = payload + ShardFormat.indexHeaderBytes + rankBytes.count
        let table = try file.read(at: frameTableOffset, count: tableBytes)
        let stored: UInt32 = try file.read(at: end - 4, count: 4).littleEndian(at: 0) ?? 0
        let found = CRC32C.checksum(
            table, after: CRC32C.checksum(rankBytes, after: CRC32C.checksum(Array(head[8...]))))
        if stored != found {
            throw Fault(
                .badData,
                "bad checksum in \(quoted(file.name)), index at byte \(start): "
                    + "expected \(hexadecimal32(stored)), found \(hexadecimal32(found))")
        }
        if isRanked {
            let ids = [UInt32](littleEndianBytes: rankBytes[4...])
            guard let coder = RankCoder(table: ids, vocabularySize: vocabularySize) else {
                throw .badData(
                    file.name, byte: payload + ShardFormat.indexHeaderBytes + 4,
                    "expected a rank table of different ids below the vocabulary size \(vocabularySize)")
            }
            ranks = coder
        } else {
            ranks = nil
        }
        var frames: [FrameEntry] = []
        frames.reserveCapacity(count)
        for k in 0..<count {
            let base = k * ShardFormat.frameEntryBytes
            guard let before = Int(exactly: table.littleEndian(at: base, as: UInt64.self) ?? 0),
                let begin = Int(exactly: table.littleEndian(at: base + 8, as: UInt64.self) ?? 0)
            else { throw .badData(file.name, byte: frameTableOffset + base, "frame table entry \(k) leaves 63 bits") }
            frames.append(
                FrameEntry(
                    documentsBefore: before, documentStart: begin,
                    previousToken: table.littleEndian(at: base + 16) ?? 0,
                    endsChecksum: table.littleEndian(at: base + 20) ?? 0))
        }
        tokenCount = tokens
        documentCount = documents
        self.frames = frames
        payloadOffset = payload
        endsOffset = frameTableOffset + tableBytes
    }

    /// The bytes of a rank table: a count and as many ids.
    private static func rankTable(
        _ file: any RangedSource, at payload: Int, end: Int, _ vocabularySize: Int
    ) throws(Fault) -> [UInt8] {
        let start = payload + ShardFormat.indexHeaderBytes
        let limit = min(ShardFormat.maximumRankTable, vocabularySize, (end - start - 8) / 4)
        let stored = try file.read(at: start, count: 4)
        let count: UInt32 = stored.littleEndian(at: 0) ?? 0
        if Int(count) > limit {
            throw .badData(
                file.name, byte: start, "expected a rank table of at most \(max(0, limit)) ids, found \(count)")
        }
        return stored + (try file.read(at: start + 4, count: Int(count) * 4))
    }

    /// Checks the index against the seek table's view of the tokens, and its entries against each other.
    func check(_ layout: TokenLayout, type: TokenType, vocabularySize: Int, name: String) throws(Fault) {
        func expect(_ offset: Int, _ what: String, _ expected: Int, _ found: Int) throws(Fault) {
            if expected != found {
                throw .badData(name, byte: payloadOffset + offset, "expected \(what) \(expected), found \(found)")
            }
        }
        try expect(8, "bytes a token", type.byteCount, bytesPerToken)
        try expect(12, "token frames", layout.checksums.count, frames.count)
        try expect(16, "tokens", layout.tokenCount, tokenCount)
        if (documentCount == 0) != (tokenCount == 0) || documentCount > tokenCount {
            throw .badData(
                name, byte: payloadOffset + 24,
                "\(documentCount) documents in \(tokenCount) tokens: every document has at least one")
        }
        for (k, frame) in frames.enumerated() {
            let next = k + 1 < frames.count ? frames[k + 1].documentsBefore : documentCount
            let tokens = k + 1 < frames.count ? type.tokensPerFrame : layout.lastFrameTokens
            let begin = k * type.tokensPerFrame
            var isValid = next >= frame.documentsBefore && next - frame.documentsBefore <= tokens
            if k == 0 {
                isValid = isValid && frame.documentsBefore == 0 && frame.documentStart == 0 && frame.previousToken == 0
            } else {
                let previous = frames[k - 1]
                isValid =
                    isValid && frame.documentStart <= begin && Int(frame.previousToken) < vocabularySize
                    && (frame.documentsBefore == previous.documentsBefore
                        ? frame.documentStart == previous.documentStart
                        : frame.documentStart > begin - type.tokensPerFrame)
            }
            if k == frames.count - 1 { isValid = isValid && next > frame.documentsBefore }
            if !isValid {
                throw .badData(
                    name, byte: frameTableOffset + k * ShardFormat.frameEntryBytes,
                    "entry \(k) of the frame table contradicts its neighbours or the counts")
            }
        }
    }
}
