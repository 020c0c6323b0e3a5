// An ordered stretch of rows that batches are cut from: a window of packed blocks, or a whole epoch whose blocks are
// fetched as rows ask for them. Which row stands at which place is decided here and only here.

internal import Bytes

/// Rows in their final order.
protocol RowSource: Sendable {
    var rowCount: Int { get }
    /// Real positions of all rows.
    var tokenCount: Int { get }
    /// For each of the rows `range` of the order a block that holds it, and the row's number in that.
    func rows(_ range: Range<Int>, tools: WorkerTools) throws -> [(block: PackedBlock, row: Int)]
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

    func rows(_ range: Range<Int>, tools: WorkerTools) -> [(block: PackedBlock, row: Int)] { range.map(place) }

    func realPositions(before index: Int) -> Int? {
        var count = 0
        for earlier in 0..<index {
            let (block, row) = place(earlier)
            count += block.realPositions(ofRow: row)
        }
        return count
    }
}

/// Every row of an epoch in one permutation; blocks are read when rows of theirs are due and the last ones are kept.
struct EpochRows: RowSource {
    /// Bytes of the blocks kept.
    static let keptBytes = 1 << 25

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

    /// Rows come from all over the epoch. They are visited block by block, each block is read once, and what a row needs
    /// of it is copied out: holding the blocks until the batch is made would take memory of rows × block.
    func rows(_ range: Range<Int>, tools: WorkerTools) throws -> [(block: PackedBlock, row: Int)] {
        let wanted = range.map { permutation($0) }
        var copies = [PackedBlock?](repeating: nil, count: wanted.count)
        var open: (number: Int, block: PackedBlock)?
        for index in wanted.indices.sorted(by: { wanted[$0] < wanted[$1] }) {
            let number = lastIndex(notAbove: wanted[index], in: layout.firstRows)
            if open?.number != number {
                open = nil  // let it go before the next one comes
                open = (number, try block(number, tools: tools))
            }
            copies[index] = open?.block.copy(ofRow: wanted[index] - layout.firstRows[number])
        }
        return copies.map { ($0!, 0) }
    }

    private func block(_ number: Int, tools: WorkerTools) throws -> PackedBlock {
        if let block = kept.update({ $0[number] }) { return block }
        let block = try reader.read(number, using: tools.decompressor)
        kept.update { $0.insert(block, for: number, cost: block.byteCount) }
        return block
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
