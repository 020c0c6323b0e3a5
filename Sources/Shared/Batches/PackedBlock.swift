// A block after reading: its tokens as they lie in the shard and, beside them, which stretches form which row. Rows are
// copied out of it in bulk; ids stay as wide as they are stored, from the shard to the pipe.

private import Bytes

/// The rows of one block. Tokens are held with the one before the first, because it is an input. A class, so that a row
/// costs one reference and not one for each array.
final class PackedBlock: Sendable {
    /// A piece in eight bytes: a window holds one for every document.
    struct StoredPiece: Sendable {
        /// Tokens after the block's start.
        let offset: UInt32
        /// Shifted left by one; the lowest bit says whether a document starts here.
        private let countAndStart: UInt32

        init(offset: Int, count: Int, startsDocument: Bool) {
            self.offset = UInt32(offset)
            countAndStart = UInt32(count) << 1 | (startsDocument ? 1 : 0)
        }

        var start: Int { Int(offset) }
        var count: Int { Int(countAndStart >> 1) }
        var end: Int { start + count }
        var startsDocument: Bool { countAndStart & 1 == 1 }
    }

    /// Ids as stored; the first one is the token before the block's start.
    let tokens: [UInt8]
    /// Whether each token of the block counts in the loss (0 or 1); nil: nobody asked.
    let counts: [UInt8]?
    /// Bytes an id.
    let width: Int
    /// Pieces of all rows, row after row.
    let pieces: [StoredPiece]
    /// Where each row's pieces begin, then the end.
    let firstPieces: [Int32]
    /// Real positions of all rows.
    let tokenCount: Int

    /// - Parameter start: token offset in the shard of the second id in `tokens`.
    init(tokens: [UInt8], counts: [UInt8]?, start: Int, width: Int, rows: RowTable) {
        self.tokens = tokens
        self.counts = counts
        self.width = width
        var tokenCount = 0
        pieces = rows.pieces.map { piece in
            tokenCount += piece.count
            return StoredPiece(
                offset: piece.start - start, count: piece.count, startsDocument: piece.startsDocument)
        }
        firstPieces = rows.firstPieces.map { Int32($0) }
        self.tokenCount = tokenCount
    }

    private init(tokens: [UInt8], counts: [UInt8]?, width: Int, pieces: [StoredPiece], tokenCount: Int) {
        self.tokens = tokens
        self.counts = counts
        self.width = width
        self.pieces = pieces
        firstPieces = [0, Int32(pieces.count)]
        self.tokenCount = tokenCount
    }

    /// One row without a piece.
    static func padding(width: Int, hasCounts: Bool) -> PackedBlock {
        PackedBlock(tokens: [], counts: hasCounts ? [] : nil, width: width, pieces: [], tokenCount: 0)
    }

    var rowCount: Int { firstPieces.count - 1 }

    func pieces(ofRow row: Int) -> Range<Int> { Int(firstPieces[row])..<Int(firstPieces[row + 1]) }

    /// A block of one row that holds nothing else. Its pieces lie one behind the other, each with the token before it.
    func copy(ofRow row: Int) -> PackedBlock {
        let range = pieces(ofRow: row)
        let count = realPositions(ofRow: row)
        var bytes: [UInt8] = []
        bytes.reserveCapacity((count + range.count) * width)
        var marks: [UInt8]? = counts == nil ? nil : []
        var copies: [StoredPiece] = []
        copies.reserveCapacity(range.count)
        for index in range {
            let piece = pieces[index]
            copies.append(
                StoredPiece(offset: bytes.count / width, count: piece.count, startsDocument: piece.startsDocument))
            bytes.append(contentsOf: tokens[piece.start * width..<(piece.end + 1) * width])
            if let counts {
                marks?.append(contentsOf: counts[piece.start..<piece.end])
                // The place of the token before the next piece.
                marks?.append(0)
            }
        }
        return PackedBlock(tokens: bytes, counts: marks, width: width, pieces: copies, tokenCount: count)
    }

    /// Real positions of a row.
    func realPositions(ofRow row: Int) -> Int {
        var count = 0
        for index in pieces(ofRow: row) { count += pieces[index].count }
        return count
    }

    /// Asks for a row's tokens to be brought near; returns at once.
    func prefetchTokens(ofRow row: Int) {
        forEachStretch(ofRow: row) { tokens.prefetch($0 * width..<($1 + 1) * width) }
    }

    /// Calls `body` with the start and end of each run of pieces that are neighbours in the shard.
    private func forEachStretch(ofRow row: Int, _ body: (Int, Int) -> Void) {
        var index = Int(firstPieces[row])
        let end = Int(firstPieces[row + 1])
        while index < end {
            let first = pieces[index].start
            var last = pieces[index].end
            index += 1
            while index < end, pieces[index].start == last {
                last = pieces[index].end
                index += 1
            }
            body(first, last)
        }
    }

    /// Appends a row's targets, or the tokens before them.
    /// - Parameter shift: 0 for targets, 1 for the tokens before them.
    func appendTokens(ofRow row: Int, shift: Int, to bytes: inout [UInt8]) {
        // Neighbours are copied as one.
        forEachStretch(ofRow: row) { first, last in
            bytes.append(contentsOf: tokens[(first + 1 - shift) * width..<(last + 1 - shift) * width])
        }
    }
}
