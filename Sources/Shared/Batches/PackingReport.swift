// What a packing costs: positions of padding, and documents that lie in more than one row. Found from the document index
// alone, so that it can be asked of a dataset of any size before a run, for every packing side by side.

public import Bytes
private import Tokens

/// The rows of one epoch, counted.
public struct PackingReport: Sendable, Equatable {
    /// `Packing.rawValue`, or `first-fit`, which no stream has.
    public let packing: String
    public private(set) var rows = 0
    public private(set) var tokens = 0
    public private(set) var documents = 0
    /// Documents in more than one row.
    public private(set) var split = 0
    /// Places inside documents at which a row ends.
    public private(set) var cuts = 0
    /// T.
    public let length: Int

    /// Positions of padding.
    public var padded: Int { rows * length - tokens }
    /// Their share of all positions.
    public var waste: Double { rows == 0 ? 0 : Double(padded) / (Double(rows) * Double(length)) }

    /// Best-fit, first-fit, concat and pad of a source. First-fit has the blocks of best-fit.
    /// - Throws: `Fault` for a damaged index.
    public static func compare(_ source: TokenSource, length: Int) throws(Fault) -> [PackingReport] {
        guard length >= 1 else { throw Fault(.usage, "rows of \(length) targets, expected at least 1") }
        var reports: [PackingReport] = []
        for (name, packing) in [
            ("best-fit", Packing.bestFit), ("first-fit", .bestFit), ("concat", .concat), ("pad", .pad),
        ] {
            let reader = BlockReader(source, gridLength: length, packing: packing, mask: .all)
            var report = PackingReport(packing: name, length: length)
            for block in 0..<reader.grid.blockCount {
                let (stretches, ends) = try reader.stretches(of: block)
                let table =
                    name == "first-fit"
                    ? FirstFit.pack(RowTable.cut(stretches, length: length), length: length)
                    : RowTable(packing: stretches, length: length, packing)
                report.add(table, ends)
            }
            reports.append(report)
        }
        return reports
    }

    private init(packing: String, length: Int) {
        self.packing = packing
        self.length = length
    }

    /// - Parameter ends: where documents end, rising.
    private mutating func add(_ table: RowTable, _ ends: [Int]) {
        rows += table.rowCount
        for piece in table.pieces {
            tokens += piece.count
            if !piece.startsDocument { cuts += 1 }
            if piece.startsDocument {
                documents += 1
                let next = ends.isEmpty || ends[0] > piece.end ? -1 : lastIndex(notAbove: piece.end, in: ends)
                if next < 0 || ends[next] != piece.end { split += 1 }
            }
        }
    }
}
