// Which rows a set of blocks has, all numbered: the blocks of an epoch when single rows are permuted, or those of a
// window that rows of other lengths were taken from. Rows taken are not stored anywhere: the permutation is followed back
// to the place at which each row came, and what came before the cut is gone.

internal import Bytes

/// Where each block's rows begin when the rows of several blocks are numbered. O(blocks) memory; but for `concat` it costs
/// reading their document index once, and once more for each earlier length.
struct RowLayout: Sendable {
    /// Rows of an earlier length.
    private struct Stage: Sendable {
        let length: Int
        /// Of them so many were taken.
        let taken: Int
        let firstRows: [Int]
        let permutation: FeistelPermutation?

        func isLeft(_ row: Int) -> Bool { (permutation.map { $0.inverse(row) } ?? row) >= taken }
    }

    /// nil: every block of the grid.
    let blocks: [Int]?
    private let stages: [Stage]
    private let reader: BlockReader
    private let length: Int
    /// Rows before each block, then all rows.
    let firstRows: [Int]

    /// - Parameters:
    ///   - stages: lengths of earlier rows, and how many of each were taken.
    ///   - permutation: of so many rows, in a stage.
    /// - Throws: `Fault` (usage) when more was taken than there was.
    init(
        _ reader: BlockReader, blocks: [Int]?, stages: [SourcePlace.Stage], length: Int,
        permutation: (_ count: Int, _ stage: Int) -> FeistelPermutation?
    ) throws(Fault) {
        var done: [Stage] = []
        for (number, stage) in stages.enumerated() {
            let firstRows = try RowLayout.firstRows(reader, blocks, done, length: stage.length)
            let count = firstRows[firstRows.count - 1]
            if stage.rows > count {
                throw Fault(.usage, "the cursor cannot be followed: \(stage.rows) of \(count) rows in its window")
            }
            done.append(
                Stage(
                    length: stage.length, taken: stage.rows, firstRows: firstRows,
                    permutation: permutation(count, number)))
        }
        firstRows = try RowLayout.firstRows(reader, blocks, done, length: length)
        self.reader = reader
        self.blocks = blocks
        self.stages = done
        self.length = length
    }

    private static func firstRows(
        _ reader: BlockReader, _ blocks: [Int]?, _ stages: [Stage], length: Int
    ) throws(Fault) -> [Int] {
        let count = blocks?.count ?? reader.grid.blockCount
        var firstRows = [0]
        firstRows.reserveCapacity(count + 1)
        var rows = 0
        for index in 0..<count {
            let block = blocks?[index] ?? index
            if let first = stages.first {
                let table = try reader.rows(of: block, length: first.length)
                rows += left(of: table, at: index, stages, length: length, reader.packing).rowCount
            } else {
                rows += try reader.rowCount(of: block, length: length)
            }
            firstRows.append(rows)
        }
        return firstRows
    }

    var rowCount: Int { firstRows[firstRows.count - 1] }

    /// Number of the block at `index`.
    func block(at index: Int) -> Int { blocks?[index] ?? index }

    /// Whether rows of earlier lengths were taken.
    var hasStages: Bool { !stages.isEmpty }

    func rows(at index: Int) -> Int { firstRows[index + 1] - firstRows[index] }

    /// The length that a block is packed with first.
    var firstLength: Int { stages.first?.length ?? length }

    /// What is left of the block at `index`, packed with the present length.
    /// - Parameter table: the block packed with `firstLength`.
    func left(of table: RowTable, at index: Int) -> RowTable {
        RowLayout.left(of: table, at: index, stages, length: length, reader.packing)
    }

    private static func left(
        of table: RowTable, at index: Int, _ stages: [Stage], length: Int, _ packing: Packing
    ) -> RowTable {
        var table = table
        for (number, stage) in stages.enumerated() {
            let stretches = table.stretches { stage.isLeft(stage.firstRows[index] + $0) }
            let next = number + 1 < stages.count ? stages[number + 1].length : length
            table = RowTable(packing: stretches, length: next, packing)
        }
        return table
    }
}
