// Best-fit decreasing: pieces from long to short, each into the row with the least room that still takes it. It wastes
// under a few per cent where documents are shorter than rows, and never splits one (Ding et al. 2024, "Fewer
// Truncations Improve Language Modeling"). Rows with the same room are a linked stack, a two-level bit set finds the
// next size of room that occurs, so a piece costs near constant time.

enum BestFit {
    /// Packs pieces of at most `length` tokens into rows of at most `length`.
    /// - Parameter pieces: by rising start.
    /// - Returns: for each row its pieces by rising start; rows by their first piece.
    static func pack(_ pieces: [Piece], length: Int) -> RowTable {
        // Sorted by falling count, ties by position: a counting sort keeps the order of equals.
        var firsts = [Int](repeating: 0, count: length + 2)
        for piece in pieces { firsts[length - piece.count + 1] += 1 }
        for size in 1..<firsts.count { firsts[size] += firsts[size - 1] }
        var sorted = [Int](repeating: 0, count: pieces.count)
        for (index, piece) in pieces.enumerated() {
            sorted[firsts[length - piece.count]] = index
            firsts[length - piece.count] += 1
        }
        var rowOfPiece = [Int](repeating: 0, count: pieces.count)
        var rooms = Rooms(length: length)
        for index in sorted {
            rowOfPiece[index] = rooms.place(pieces[index].count)
        }
        return table(pieces, rowOfPiece, rowCount: rooms.rowCount)
    }

    /// - Parameter rowOfPiece: the row that each piece went into, rows numbered in any way.
    static func table(_ pieces: [Piece], _ rowOfPiece: [Int], rowCount: Int) -> RowTable {
        // In order of position, a row appears when its first piece does.
        var numbers = [Int](repeating: -1, count: rowCount)
        var firsts = [Int](repeating: 0, count: rowCount + 1)
        var next = 0
        for row in rowOfPiece {
            if numbers[row] < 0 {
                numbers[row] = next
                next += 1
            }
            firsts[numbers[row] + 1] += 1
        }
        for row in 0..<rowCount { firsts[row + 1] += firsts[row] }
        var places = firsts
        var sorted = pieces
        for (index, row) in rowOfPiece.enumerated() {
            sorted[places[numbers[row]]] = pieces[index]
            places[numbers[row]] += 1
        }
        return RowTable(pieces: sorted, firstPieces: firsts)
    }

    /// Open rows by the room they have left.
    private struct Rooms {
        let length: Int
        /// Newest row with each room, −1 for none; rows below it in the stack follow in `next`.
        private var newest: [Int32]
        private var next: [Int32] = []
        private var words: [UInt64]
        private var summary: [UInt64]

        init(length: Int) {
            self.length = length
            newest = [Int32](repeating: -1, count: length + 1)
            words = [UInt64](repeating: 0, count: length / 64 + 1)
            summary = [UInt64](repeating: 0, count: words.count / 64 + 1)
        }

        var rowCount: Int { next.count }

        /// The row that takes `count` tokens: the fullest that can, else a new one.
        mutating func place(_ count: Int) -> Int {
            let row: Int
            let room: Int
            if let fit = smallest(atLeast: count) {
                room = fit
                row = Int(newest[room])
                newest[room] = next[row]
                if newest[room] < 0 { clear(room) }
            } else {
                room = length
                row = next.count
                next.append(-1)
            }
            let left = room - count
            if left > 0 {
                next[row] = newest[left]
                newest[left] = Int32(row)
                words[left >> 6] |= 1 << UInt64(left & 63)
                summary[left >> 12] |= 1 << UInt64(left >> 6 & 63)
            }
            return row
        }

        private mutating func clear(_ room: Int) {
            words[room >> 6] &= ~(1 << UInt64(room & 63))
            if words[room >> 6] == 0 { summary[room >> 12] &= ~(1 << UInt64(room >> 6 & 63)) }
        }

        /// The smallest room that occurs and is at least `count`.
        private func smallest(atLeast count: Int) -> Int? {
            let word = count >> 6
            let rest = words[word] & ~0 << UInt64(count & 63)
            if rest != 0 { return word << 6 + rest.trailingZeroBitCount }
            var group = (word + 1) >> 6
            if group >= summary.count { return nil }
            var mask = summary[group] & ~0 << UInt64((word + 1) & 63)
            while mask == 0 {
                group += 1
                if group >= summary.count { return nil }
                mask = summary[group]
            }
            let found = group << 6 + mask.trailingZeroBitCount
            return found << 6 + words[found].trailingZeroBitCount
        }
    }
}
