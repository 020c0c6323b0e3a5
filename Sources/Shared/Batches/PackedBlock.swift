// A block after reading: its tokens as they lie in the shard and, beside them, which stretches form which row. Rows are
// copied out of it in bulk; ids stay as wide as they are stored, from the shard to the pipe.

private import Bytes

/// The rows of one block. Tokens are held with the one before the first, because it is an input.
struct PackedBlock: Sendable {
    /// Ids as stored; the first one is the token before `start`.
    let tokens: [UInt8]
    /// Token offset in the shard of the second id in `tokens`.
    let start: Int
    /// Bytes an id.
    let width: Int
    /// Pieces of all rows, row after row.
    let pieces: [Piece]
    /// Where each row's pieces begin, then the end.
    let firstPieces: [Int]
    /// Real positions of all rows.
    let tokenCount: Int

    init(tokens: [UInt8], start: Int, width: Int, rows: [[Piece]]) {
        self.tokens = tokens
        self.start = start
        self.width = width
        var pieces: [Piece] = []
        var firstPieces = [0]
        var tokenCount = 0
        for row in rows {
            pieces.append(contentsOf: row)
            firstPieces.append(pieces.count)
            for piece in row { tokenCount += piece.count }
        }
        self.pieces = pieces
        self.firstPieces = firstPieces
        self.tokenCount = tokenCount
    }

    var rowCount: Int { firstPieces.count - 1 }

    /// What it takes in memory.
    var byteCount: Int {
        tokens.count + pieces.count * MemoryLayout<Piece>.stride + firstPieces.count * MemoryLayout<Int>.stride
    }

    /// A block of one row that holds nothing else. Its pieces lie one behind the other, each with the token before it.
    func copy(ofRow row: Int) -> PackedBlock {
        var bytes: [UInt8] = []
        let pieces = pieces[firstPieces[row]..<firstPieces[row + 1]]
        bytes.reserveCapacity((pieces.reduce(0) { $0 + $1.count + 1 }) * width)
        var copies: [Piece] = []
        copies.reserveCapacity(pieces.count)
        for piece in pieces {
            copies.append(
                Piece(start: bytes.count / width, count: piece.count, startsDocument: piece.startsDocument))
            bytes.append(contentsOf: tokens[(piece.start - start) * width..<(piece.end - start + 1) * width])
        }
        return PackedBlock(tokens: bytes, start: 0, width: width, rows: [copies])
    }

    /// Real positions of a row.
    func realPositions(ofRow row: Int) -> Int {
        var count = 0
        for index in firstPieces[row]..<firstPieces[row + 1] { count += pieces[index].count }
        return count
    }

    /// Appends a row's targets, or the tokens before them.
    /// - Parameter shift: 0 for targets, 1 for the tokens before them.
    func appendTokens(ofRow row: Int, shift: Int, to bytes: inout [UInt8]) {
        var index = firstPieces[row]
        let end = firstPieces[row + 1]
        while index < end {
            let first = pieces[index].start
            var last = pieces[index].end
            index += 1
            // Neighbours in the shard are copied as one.
            while index < end, pieces[index].start == last {
                last = pieces[index].end
                index += 1
            }
            let (low, high) = (first - start + 1 - shift, last - start + 1 - shift)
            bytes.append(contentsOf: tokens[low * width..<high * width])
        }
    }
}
