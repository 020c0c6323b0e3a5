// How documents become rows: a table of pieces, and which of them form which row. What belongs to a block is given as
// stretches of documents; they are cut to the length of a row and packed. The same code packs a block for the first time
// and what is left of it after rows of another length were taken.

/// A run of tokens of one document.
struct Piece: Sendable, Equatable {
    /// Token offset in the shard.
    var start: Int
    /// In a row 1 … T.
    var count: Int
    var startsDocument: Bool

    var end: Int { start + count }
}

/// Rows as pieces, row after row.
struct RowTable: Sendable, Equatable {
    var pieces: [Piece] = []
    /// Where each row's pieces begin, then the end.
    var firstPieces = [0]

    var rowCount: Int { firstPieces.count - 1 }

    func pieces(ofRow row: Int) -> ArraySlice<Piece> { pieces[firstPieces[row]..<firstPieces[row + 1]] }

    /// - Parameter stretches: of documents, by rising start, each as long as it likes.
    init(packing stretches: [Piece], length: Int, _ packing: Packing) {
        switch packing {
        case .concat: self.init(filling: stretches, length: length)
        case .bestFit: self = BestFit.pack(RowTable.cut(stretches, length: length), length: length)
        case .pad:
            let pieces = RowTable.cut(stretches, length: length)
            self.init(pieces: pieces, firstPieces: Array(0...pieces.count))
        }
    }

    init(pieces: [Piece], firstPieces: [Int]) {
        self.pieces = pieces
        self.firstPieces = firstPieces
    }

    /// Rows of exactly `length` tokens, the last one possibly shorter.
    private init(filling stretches: [Piece], length: Int) {
        pieces.reserveCapacity(stretches.count + stretches.count / 2)
        var room = length
        for var stretch in stretches {
            while stretch.count > 0 {
                let count = min(stretch.count, room)
                pieces.append(Piece(start: stretch.start, count: count, startsDocument: stretch.startsDocument))
                stretch = Piece(start: stretch.start + count, count: stretch.count - count, startsDocument: false)
                room -= count
                if room == 0 {
                    firstPieces.append(pieces.count)
                    room = length
                }
            }
        }
        if room < length { firstPieces.append(pieces.count) }
    }

    /// Stretches no longer than `length` whole, longer ones cut every `length` tokens from their start.
    static func cut(_ stretches: [Piece], length: Int) -> [Piece] {
        var pieces: [Piece] = []
        pieces.reserveCapacity(stretches.count)
        for stretch in stretches {
            var start = stretch.start
            while start < stretch.end {
                let count = min(length, stretch.end - start)
                pieces.append(
                    Piece(start: start, count: count, startsDocument: stretch.startsDocument && start == stretch.start))
                start += count
            }
        }
        return pieces
    }

    /// The stretches of documents that the rows hold for which `isLeft` is true; neighbours are one again.
    func stretches(ofRows isLeft: (Int) -> Bool) -> [Piece] {
        var left: [Piece] = []
        for row in 0..<rowCount where isLeft(row) { left.append(contentsOf: pieces(ofRow: row)) }
        left.sort { $0.start < $1.start }
        var stretches: [Piece] = []
        for piece in left {
            if let last = stretches.last, last.end == piece.start, !piece.startsDocument {
                stretches[stretches.count - 1].count += piece.count
            } else {
                stretches.append(piece)
            }
        }
        return stretches
    }
}
