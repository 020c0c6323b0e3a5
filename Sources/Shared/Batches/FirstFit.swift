// First-fit: every piece, as it comes, into the oldest row that takes it. What many trainers do; here it is what best-fit
// is measured against. A tree of the most room in each half finds that row in O(log rows).

enum FirstFit {
    /// Packs pieces of at most `length` tokens, in their order, into rows of at most `length`.
    static func pack(_ pieces: [Piece], length: Int) -> RowTable {
        var leaves = 1
        while leaves < pieces.count { leaves *= 2 }
        // Node k has the most room of nodes 2k and 2k + 1; rows that do not exist yet have all of it.
        var room = [Int](repeating: length, count: 2 * leaves)
        var rows = 0
        let rowOfPiece = pieces.map { piece in
            var node = 1
            while node < leaves { node = 2 * node + (room[2 * node] >= piece.count ? 0 : 1) }
            room[node] -= piece.count
            let row = node - leaves
            rows = max(rows, row + 1)
            while node > 1 {
                node /= 2
                room[node] = max(room[2 * node], room[2 * node + 1])
            }
            return row
        }
        return BestFit.table(pieces, rowOfPiece, rowCount: rows)
    }
}
