// An ordered stretch of rows that batches are cut from: a window of packed blocks, or a whole epoch whose blocks are
// fetched as rows ask for them. Which row stands at which place is decided here and only here.

internal import Bytes

/// Rows in their final order.
protocol RowSource: Sendable {
    var rowCount: Int { get }
    /// Real positions of all rows.
    var tokenCount: Int { get }
    /// The block that holds row `index` of the order, and the row's number in it.
    func row(at index: Int, tools: WorkerTools) throws -> (block: PackedBlock, row: Int)
    /// Real positions of the rows before `index`; nil when only reading them would tell.
    func realPositions(before index: Int) -> Int?
}

/// The blocks of one window, all in memory.
struct WindowRows: RowSource {
    private let blocks: [PackedBlock]
    /// Rows before each block.
    private let firstRows: [Int]
    /// nil: as they lie.
    private let permutation: FeistelPermutation?
    let rowCount: Int
    let tokenCount: Int

    init(_ blocks: [PackedBlock], recipe: Recipe, epoch: Int, window: Int) {
        self.blocks = blocks
        var firstRows: [Int] = []
        var (rows, tokens) = (0, 0)
        for block in blocks {
            firstRows.append(rows)
            rows += block.rowCount
            tokens += block.tokenCount
        }
        self.firstRows = firstRows
        (rowCount, tokenCount) = (rows, tokens)
        permutation =
            recipe.order == .sequential
            ? nil
            : FeistelPermutation(count: rows, seed: recipe.seed, purpose: Purpose.rows, epoch: epoch, window: window)
    }

    private func place(_ index: Int) -> (block: PackedBlock, row: Int) {
        let row = permutation.map { $0(index) } ?? index
        let block = lastIndex(notAbove: row, in: firstRows)
        return (blocks[block], row - firstRows[block])
    }

    func row(at index: Int, tools: WorkerTools) -> (block: PackedBlock, row: Int) { place(index) }

    func realPositions(before index: Int) -> Int? {
        var count = 0
        for earlier in 0..<index {
            let (block, row) = place(earlier)
            count += block.realPositions(ofRow: row)
        }
        return count
    }
}

/// Every row of an epoch in one permutation; blocks are read when a row of theirs is due and the last ones are kept.
struct EpochRows: RowSource {
    /// Tokens of the blocks kept: 32 MiB of u16 ids.
    static let keptTokens = 1 << 24

    private let reader: BlockReader
    private let layout: RowLayout
    private let permutation: FeistelPermutation
    private let kept: Monitor<RecentValues<Int, PackedBlock>>

    init(
        _ reader: BlockReader, layout: RowLayout, recipe: Recipe, epoch: Int,
        kept: Monitor<RecentValues<Int, PackedBlock>>
    ) {
        self.reader = reader
        self.layout = layout
        self.kept = kept
        permutation = FeistelPermutation(
            count: layout.rowCount, seed: recipe.seed, purpose: Purpose.epochRows, epoch: epoch)
    }

    var rowCount: Int { layout.rowCount }
    var tokenCount: Int { reader.source.tokenCount }

    func row(at index: Int, tools: WorkerTools) throws -> (block: PackedBlock, row: Int) {
        let row = permutation(index)
        let number = lastIndex(notAbove: row, in: layout.firstRows)
        let place = row - layout.firstRows[number]
        if let block = kept.update({ $0[number] }) { return (block, place) }
        let block = try reader.read(number, using: tools.decompressor)
        kept.update { $0.insert(block, for: number, cost: block.tokenCount) }
        return (block, place)
    }

    func realPositions(before index: Int) -> Int? { index == 0 ? 0 : nil }
}

/// Where each block's rows begin when all rows of an epoch are numbered. O(blocks) memory; for best-fit it costs
/// reading the document index once.
struct RowLayout: Sendable {
    /// Rows before each block, then all rows.
    let firstRows: [Int]

    init(_ reader: BlockReader) throws(Fault) {
        var firstRows = [0]
        firstRows.reserveCapacity(reader.grid.blockCount + 1)
        var rows = 0
        for block in 0..<reader.grid.blockCount {
            rows += try reader.rowCount(of: block)
            firstRows.append(rows)
        }
        self.firstRows = firstRows
    }

    var rowCount: Int { firstRows[firstRows.count - 1] }

    func rows(ofBlock block: Int) -> Int { firstRows[block + 1] - firstRows[block] }
}

/// What a permutation is for; a number of its own makes it independent of the others.
enum Purpose {
    static let blocks: UInt64 = 1
    static let rows: UInt64 = 2
    static let epochRows: UInt64 = 3
}
