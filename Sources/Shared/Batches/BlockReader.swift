// From a block's number to its rows: document ends from the index, tokens from the frames, nothing else. What came
// before a block is known from the frame table, so no frame is decoded only to learn about its neighbour.

internal import Bytes
internal import Tokens

/// Reads and packs blocks. Stateless: any number of threads may share one.
struct BlockReader: Sendable {
    let source: TokenSource
    let grid: BlockGrid
    let packing: Packing

    init(_ source: TokenSource, length: Int, packing: Packing) {
        self.source = source
        self.packing = packing
        grid = BlockGrid(source, length: length, packing: packing)
    }

    /// The rows of a block with their tokens. Best-fit reads at most T − 1 tokens past the block.
    func read(_ block: Int, using decompressor: ZstdDecompressor) throws(Fault) -> PackedBlock {
        let (index, range) = grid.location(of: block)
        let shard = try source.shard(index)
        let rows = try rows(of: range, in: shard)
        var end = range.lowerBound
        for row in rows { for piece in row { end = max(end, piece.end) } }
        return PackedBlock(
            tokens: try tokens(range.lowerBound..<end, of: shard, using: decompressor), start: range.lowerBound,
            width: source.type.byteCount, rows: rows)
    }

    /// How many rows a block has, from the document index alone.
    func rowCount(of block: Int) throws(Fault) -> Int {
        if packing == .concat { return grid.concatRows(of: block) }
        let (index, range) = grid.location(of: block)
        return try rows(of: range, in: try source.shard(index)).count
    }

    private func rows(of range: Range<Int>, in shard: Shard) throws(Fault) -> [[Piece]] {
        let length = grid.length
        switch packing {
        case .concat:
            let documents = try DocumentEnds(shard, covering: range)
            return BlockReader.cut(range, documents.firstStart, documents.ends, length: length)
        case .bestFit:
            let reach = range.lowerBound..<min(range.upperBound + length - 1, shard.tokenCount)
            let documents = try DocumentEnds(shard, covering: reach)
            return BestFit.pack(
                BlockReader.pieces(startingIn: range, documents.firstStart, documents.ends, length: length),
                length: length)
        }
    }

    /// Ids as stored, with the one before the range in front.
    private func tokens(
        _ range: Range<Int>, of shard: Shard, using decompressor: ZstdDecompressor
    ) throws(Fault) -> [UInt8] {
        let perFrame = shard.type.tokensPerFrame
        var bytes: [UInt8] = []
        bytes.reserveCapacity((range.count + 1) * shard.type.byteCount)
        let first = range.lowerBound / perFrame
        if range.lowerBound % perFrame == 0 {
            let previous = shard.frameEntry(first).previousToken
            switch shard.type {
            case .u16: bytes.append(littleEndian: UInt16(truncatingIfNeeded: previous))
            case .u32: bytes.append(littleEndian: previous)
            }
        }
        for frame in first...(range.upperBound - 1) / perFrame {
            let base = shard.tokenOffset(ofFrame: frame)
            let low = max(0, range.lowerBound - 1 - base)
            let high = min(shard.tokenCount(inFrame: frame), range.upperBound - base)
            switch shard.type {
            case .u16:
                let tokens = try shard.tokens16(inFrame: frame, using: decompressor)
                bytes.append(littleEndian: low == 0 && high == tokens.count ? tokens : Array(tokens[low..<high]))
            case .u32:
                let tokens = try shard.tokens(inFrame: frame, using: decompressor)
                bytes.append(littleEndian: low == 0 && high == tokens.count ? tokens : Array(tokens[low..<high]))
            }
        }
        return bytes
    }
}

extension BlockReader {
    /// Rows of exactly `length` tokens, the last of a shard possibly shorter; each is cut into pieces where documents
    /// end.
    /// - Parameters:
    ///   - firstStart: where the document that holds the range's first token begins.
    ///   - ends: document ends after the range's start, rising, as far as the range reaches.
    static func cut(_ range: Range<Int>, _ firstStart: Int, _ ends: [Int], length: Int) -> [[Piece]] {
        var rows: [[Piece]] = []
        rows.reserveCapacity((range.count - 1) / length + 1)
        var position = range.lowerBound
        var startsDocument = firstStart == position
        var next = 0
        while position < range.upperBound {
            let rowEnd = min(position + length, range.upperBound)
            var row: [Piece] = []
            while position < rowEnd {
                let documentEnd = next < ends.count ? ends[next] : Int.max
                let end = min(documentEnd, rowEnd)
                row.append(Piece(start: position, count: end - position, startsDocument: startsDocument))
                startsDocument = end == documentEnd
                if startsDocument { next += 1 }
                position = end
            }
            rows.append(row)
        }
        return rows
    }

    /// The pieces whose first token lies in the range: documents no longer than `length` whole, longer ones cut every
    /// `length` tokens from their start. Parameters as above; `ends` reaches `length` − 1 tokens past the range.
    static func pieces(startingIn range: Range<Int>, _ firstStart: Int, _ ends: [Int], length: Int) -> [Piece] {
        var pieces: [Piece] = []
        var documentStart = firstStart
        var next = 0
        while documentStart < range.upperBound {
            let documentEnd = next < ends.count ? ends[next] : Int.max
            // The first cut at or after the range's start.
            let skipped = max(0, range.lowerBound - documentStart)
            var start = documentStart + (skipped + length - 1) / length * length
            while start < range.upperBound, start < documentEnd {
                let count = min(length, documentEnd - start)
                pieces.append(Piece(start: start, count: count, startsDocument: start == documentStart))
                start += count
            }
            if documentEnd == Int.max { break }
            documentStart = documentEnd
            next += 1
        }
        return pieces
    }
}

/// Where documents end in a stretch of a shard.
private struct DocumentEnds {
    /// Where the document that holds the first token of the stretch begins.
    var firstStart: Int
    /// Ends after that token, rising, at least as far as the stretch reaches; offsets in the shard.
    var ends: [Int] = []

    init(_ shard: Shard, covering range: Range<Int>) throws(Fault) {
        let perFrame = shard.type.tokensPerFrame
        let first = range.lowerBound / perFrame
        firstStart = shard.frameEntry(first).documentStart
        for frame in first...(range.upperBound - 1) / perFrame {
            let base = shard.tokenOffset(ofFrame: frame)
            for end in try shard.documentEnds(inFrame: frame) {
                if base + Int(end) <= range.lowerBound {
                    firstStart = base + Int(end)
                } else {
                    ends.append(base + Int(end))
                }
            }
        }
    }
}
