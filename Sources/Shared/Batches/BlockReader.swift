// From a block's number to its rows: document ends from the index, tokens from the frames, nothing else. What came
// before a block is known from the frame table, so no frame is decoded only to learn about its neighbour.

internal import Bytes
internal import Tokens

/// Reads and packs blocks. Any number of threads may share one.
struct BlockReader: Sendable {
    let source: TokenSource
    let grid: BlockGrid
    let packing: Packing
    private let separators: SeparatorSearch?
    private let hasSidecar: Bool

    /// - Parameter gridLength: the length of rows that the blocks are made for.
    init(_ source: TokenSource, gridLength: Int, packing: Packing, mask: LossMaskRule) {
        self.source = source
        self.packing = packing
        grid = BlockGrid(source, length: gridLength, packing: packing)
        if case .after(let separator) = mask { separators = SeparatorSearch(separator) } else { separators = nil }
        if case .sidecar = mask { hasSidecar = true } else { hasSidecar = false }
    }

    /// The rows of a block with their tokens.
    /// - Parameters:
    ///   - length: T.
    ///   - layout: nil for all that the block holds; else what is left of it, and its place there.
    ///   - isNeeded: rows that will be asked for; a frame behind the last of them is not read. nil: all.
    func read(
        _ block: Int, length: Int, left layout: (RowLayout, index: Int)? = nil, isNeeded: ((Int) -> Bool)? = nil,
        using decompressor: ZstdDecompressor
    ) throws(Fault) -> PackedBlock {
        let (index, range) = grid.location(of: block)
        let shard = try source.shard(index)
        let documents = try documents(of: range, in: shard)
        var rows = RowTable(
            packing: stretches(of: range, documents), length: layout?.0.firstLength ?? length, packing)
        if let (layout, place) = layout { rows = layout.left(of: rows, at: place) }
        var end = range.lowerBound + 1
        for row in 0..<rows.rowCount where isNeeded?(row) ?? true {
            // Pieces lie by position.
            if let last = rows.pieces(ofRow: row).last { end = max(end, last.end) }
        }
        let tokens = try tokens(range.lowerBound..<end, of: shard, using: decompressor)
        return PackedBlock(
            tokens: tokens,
            counts: try counts(range.lowerBound..<end, tokens, documents, index, shard, using: decompressor),
            start: range.lowerBound, width: source.type.byteCount, rows: rows)
    }

    /// How the documents of a block lie in rows, from the document index alone.
    func rows(of block: Int, length: Int) throws(Fault) -> RowTable {
        let (index, range) = grid.location(of: block)
        return RowTable(
            packing: stretches(of: range, try documents(of: range, in: try source.shard(index))), length: length,
            packing)
    }

    /// What a block holds of documents, and where those end.
    func stretches(of block: Int) throws(Fault) -> (stretches: [Piece], ends: [Int]) {
        let (index, range) = grid.location(of: block)
        let documents = try documents(of: range, in: try source.shard(index))
        return (stretches(of: range, documents), documents.ends)
    }

    /// How many rows a block has, from the document index alone.
    func rowCount(of block: Int, length: Int) throws(Fault) -> Int {
        if packing == .concat { return grid.concatRows(of: block, length: length) }
        return try rows(of: block, length: length).rowCount
    }

    /// How many tokens a block's rows have, from the document index alone.
    func tokenCount(of block: Int) throws(Fault) -> Int {
        let (index, range) = grid.location(of: block)
        if packing == .concat { return range.count }
        return stretches(of: range, try documents(of: range, in: try source.shard(index))).reduce(0) { $0 + $1.count }
    }

    /// Best-fit and pad read at most one piece past the block.
    private func documents(of range: Range<Int>, in shard: Shard) throws(Fault) -> DocumentEnds {
        let reach = packing == .concat ? range.upperBound : range.upperBound + grid.length - 1
        return try DocumentEnds(shard, covering: range.lowerBound..<min(reach, shard.tokenCount))
    }

    private func stretches(of range: Range<Int>, _ documents: DocumentEnds) -> [Piece] {
        packing == .concat
            ? BlockReader.clipped(range, documents.firstStart, documents.ends)
            : BlockReader.stretches(startingIn: range, documents.firstStart, documents.ends, length: grid.length)
    }

    /// Whether each token of `range` counts in the loss.
    private func counts(
        _ range: Range<Int>, _ tokens: [UInt8], _ documents: DocumentEnds, _ index: Int, _ shard: Shard,
        using decompressor: ZstdDecompressor
    ) throws(Fault) -> [UInt8]? {
        if hasSidecar { return try source.mask(index).counts(of: range) }
        guard let separators else { return nil }
        var counts = [UInt8](repeating: 0, count: range.count)
        var isBehind = false
        if documents.firstStart < range.lowerBound {
            isBehind = try separators.isFound(
                shard: index, shard, from: documents.firstStart, before: range.lowerBound, using: decompressor)
        }
        var next = 0
        let separator = separators.separator
        for position in range {
            if next < documents.ends.count, documents.ends[next] == position {
                isBehind = false
                next += 1
            }
            let offset = position - range.lowerBound
            counts[offset] = isBehind ? 1 : 0
            let id: UInt32
            switch shard.type {
            case .u16: id = UInt32(tokens[2 * offset + 2]) | UInt32(tokens[2 * offset + 3]) << 8
            case .u32: id = tokens.littleEndian(at: 4 * offset + 4) ?? 0
            }
            if id == separator { isBehind = true }
        }
        return counts
    }

    /// Ids as stored, with the one before the range in front.
    private func tokens(
        _ range: Range<Int>, of shard: Shard, using decompressor: ZstdDecompressor
    ) throws(Fault) -> [UInt8] {
        let (perFrame, width) = (shard.type.tokensPerFrame, shard.type.byteCount)
        let first = range.lowerBound / perFrame
        return try [UInt8](capacity: (range.count + 1) * width) { (bytes: inout OutputSpan<UInt8>) throws(Fault) in
            if range.lowerBound % perFrame == 0 {
                let previous = shard.frameEntry(first).previousToken
                for byte in 0..<width { bytes.append(UInt8(truncatingIfNeeded: previous >> UInt32(8 * byte))) }
            }
            for frame in first...(range.upperBound - 1) / perFrame {
                let base = shard.tokenOffset(ofFrame: frame)
                let low = max(0, range.lowerBound - 1 - base)
                let high = min(shard.tokenCount(inFrame: frame), range.upperBound - base)
                if low == 0, high == shard.tokenCount(inFrame: frame) {
                    try shard.appendCheckedContent(ofFrame: frame, to: &bytes, using: decompressor)
                } else {
                    let content = try shard.checkedContent(ofFrame: frame, using: decompressor)
                    bytes.append(content[low * width..<high * width])
                }
            }
        }
    }
}

extension BlockReader {
    /// The documents that a range holds, clipped to it.
    /// - Parameters:
    ///   - firstStart: where the document that holds the range's first token begins.
    ///   - ends: document ends after the range's start, rising, as far as the range reaches.
    static func clipped(_ range: Range<Int>, _ firstStart: Int, _ ends: [Int]) -> [Piece] {
        var stretches: [Piece] = []
        stretches.reserveCapacity(ends.count + 1)
        var position = range.lowerBound
        var startsDocument = firstStart == position
        for end in ends + [Int.max] where position < range.upperBound {
            let stop = min(end, range.upperBound)
            stretches.append(Piece(start: position, count: stop - position, startsDocument: startsDocument))
            startsDocument = true
            position = stop
        }
        return stretches
    }

    /// What belongs to a block whose documents stay whole: with documents cut every `length` tokens from their start, all
    /// pieces whose first token lies in the range; those of one document are one stretch. Parameters as above; `ends`
    /// reaches `length` − 1 tokens past the range.
    static func stretches(startingIn range: Range<Int>, _ firstStart: Int, _ ends: [Int], length: Int) -> [Piece] {
        var stretches: [Piece] = []
        stretches.reserveCapacity(ends.count + 1)
        var documentStart = firstStart
        for documentEnd in ends + [Int.max] where documentStart < range.upperBound {
            // The first cuts at or after the range's start and end.
            func cut(_ position: Int) -> Int {
                documentStart + (max(0, position - documentStart) + length - 1) / length * length
            }
            let (start, end) = (cut(range.lowerBound), min(documentEnd, cut(range.upperBound)))
            if start < end {
                stretches.append(Piece(start: start, count: end - start, startsDocument: start == documentStart))
            }
            documentStart = documentEnd
        }
        return stretches
    }
}

/// Where documents end in a stretch of a shard.
struct DocumentEnds {
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
