// An ordered stretch of rows that batches are cut from: a window of packed blocks, or a whole epoch whose blocks are
// read as rows ask for them. Which row stands at which place is decided here and only here.

internal import Bytes
private import Tokens

/// Rows in their final order. Used by the thread that plans.
protocol RowSource {
    var rowCount: Int { get }
    /// The rows `range` of the order, to be fetched by the worker that assembles them.
    func plan(_ range: Range<Int>) -> any RowStretch
    /// Real positions of all rows, and of those before `index`; nil when only reading them would tell.
    func realPositions(before index: Int) throws -> (all: Int, before: Int)?
}

/// Some rows of a source.
protocol RowStretch: Sendable {
    /// For each row a block that holds it, and the row's number in that. Called once.
    func rows() throws -> [(block: PackedBlock, row: Int)]
}

/// The blocks of one window, all in memory.
struct WindowRows: RowSource, Sendable {
    private let blocks: [PackedBlock]
    /// Rows before each block.
    private let firstRows: [Int]
    /// nil: as they lie.
    private let permutation: FeistelPermutation?
    let rowCount: Int
    private let tokenCount: Int

    /// - Parameter permutation: of so many rows.
    init(_ blocks: [PackedBlock], permutation: (_ count: Int) -> FeistelPermutation?) {
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
        self.permutation = permutation(rows)
    }

    private func place(_ index: Int) -> (block: PackedBlock, row: Int) {
        let row = permutation.map { $0(index) } ?? index
        let block = lastIndex(notAbove: row, in: firstRows)
        return (blocks[block], row - firstRows[block])
    }

    private struct Stretch: RowStretch {
        let window: WindowRows
        let range: Range<Int>

        func rows() -> [(block: PackedBlock, row: Int)] { range.map(window.place) }
    }

    func plan(_ range: Range<Int>) -> any RowStretch { Stretch(window: self, range: range) }

    func realPositions(before index: Int) -> (all: Int, before: Int)? {
        var count = 0
        for earlier in 0..<index {
            let (block, row) = place(earlier)
            count += block.realPositions(ofRow: row)
        }
        return (tokenCount, count)
    }
}

/// The rows of an epoch, or of a window that shall not be in memory as a whole, in one permutation. Reading a block for one row is dear, so whoever reads it takes all its rows
/// that are due within a horizon; they wait, as copies, until their turn comes. How far it reaches follows from the memory
/// that may be waiting, so the larger the dataset is beside that memory, the fewer rows a block gives at once.
final class WaitingRows: RowSource {
    /// Bytes of copies that wait in a run over one source, about.
    static let waitingBytes = 28 << 20
    /// Bytes that a copied row takes beside its tokens: four arrays, a piece of a document or two.
    private static let bytesARow = 320

    /// Copies of rows that one reading of a block has given, by their place in the order, until they are taken.
    private final class Visit: Sendable {
        /// Places below this one need no other visit.
        let end: Int
        let ticket: Ticket<Monitor<[Int: PackedBlock]>>

        init(end: Int, ticket: Ticket<Monitor<[Int: PackedBlock]>>) {
            self.end = end
            self.ticket = ticket
        }

        func take(_ place: Int) throws -> PackedBlock {
            guard let block = try ticket.value().update({ $0.removeValue(forKey: place) }) else {
                preconditionFailure("row \(place) of an epoch was not copied")
            }
            return block
        }
    }

    private struct Stretch: RowStretch {
        var places: [(place: Int, visit: Visit)] = []

        func rows() throws -> [(block: PackedBlock, row: Int)] { try places.map { (try $0.visit.take($0.place), 0) } }
    }

    private let reader: BlockReader
    private let layout: RowLayout
    private let length: Int
    /// nil: as they lie.
    private let permutation: FeistelPermutation?
    private let pool: WorkPool
    /// The last visit of each block that has rows waiting.
    private let live: LiveVisits
    private let horizon: Int
    private let begin: Int

    private final class LiveVisits {
        var visits: [Int: Visit] = [:]
        var nextSweep = 4096
    }

    /// - Parameters:
    ///   - length: T.
    ///   - begin: the first row that will be asked for.
    ///   - waitingBytes: of copies that may wait, about.
    init(
        _ reader: BlockReader, layout: RowLayout, length: Int, permutation: FeistelPermutation?, begin: Int,
        waitingBytes: Int, pool: WorkPool
    ) {
        self.reader = reader
        self.layout = layout
        self.length = length
        self.permutation = permutation
        self.begin = begin
        self.pool = pool
        live = LiveVisits()
        // Blocks are visited at different times, so on average a row waits half the horizon.
        horizon = max(
            1, 2 * waitingBytes / (length * reader.source.type.byteCount + WaitingRows.bytesARow))
    }

    var rowCount: Int { layout.rowCount }

    /// Of an epoch they would cost reading all of its index; of a window it is read.
    func realPositions(before index: Int) throws -> (all: Int, before: Int)? {
        guard let blocks = layout.blocks else { return nil }
        var positions = (all: 0, before: 0)
        for (number, block) in blocks.enumerated() {
            if index == 0, !layout.hasStages {
                positions.all += try reader.tokenCount(of: block)
                continue
            }
            let table = layout.left(of: try reader.rows(of: block, length: layout.firstLength), at: number)
            for row in 0..<table.rowCount {
                let count = table.pieces(ofRow: row).reduce(0) { $0 + $1.count }
                let place = layout.firstRows[number] + row
                positions.all += count
                if (permutation.map { $0.inverse(place) } ?? place) < index { positions.before += count }
            }
        }
        return positions
    }

    func plan(_ range: Range<Int>) -> any RowStretch {
        sweep(before: range.lowerBound)
        var stretch = Stretch()
        stretch.places.reserveCapacity(range.count)
        for place in range {
            let row = permutation.map { $0(place) } ?? place
            let block = lastIndex(notAbove: row, in: layout.firstRows)
            let visit: Visit
            if let last = live.visits[block], last.end > place {
                visit = last
            } else {
                visit = self.visit(block, from: place)
                live.visits[block] = visit
            }
            stretch.places.append((place, visit))
        }
        return stretch
    }

    private func visit(_ block: Int, from place: Int) -> Visit {
        var reach = horizon
        if place - begin < horizon {
            // The first visits come together: were they all as long, so would the next ones.
            reach = max(1, Int(splitmix64(UInt64(block)) % UInt64(horizon)))
        }
        let end = min(rowCount, place + reach)
        let (reader, layout, length, permutation) = (reader, layout, length, permutation)
        let ticket = pool.submit(urgent: true) { tools in
            func turn(ofRow row: Int) -> Int {
                let number = layout.firstRows[block] + row
                return permutation.map { $0.inverse(number) } ?? number
            }
            let due = place..<end
            let whole = try reader.read(
                layout.block(at: block), length: length, left: (layout, block),
                isNeeded: { due.contains(turn(ofRow: $0)) }, using: tools.decompressor)
            var copies: [Int: PackedBlock] = [:]
            for row in 0..<whole.rowCount {
                let other = turn(ofRow: row)
                if due.contains(other) { copies[other] = whole.copy(ofRow: row) }
            }
            return Monitor(copies)
        }
        return Visit(end: end, ticket: ticket)
    }

    /// Forgets visits whose rows have all been asked for.
    private func sweep(before place: Int) {
        if live.visits.count < live.nextSweep { return }
        live.visits = live.visits.filter { $0.value.end > place }
        live.nextSweep = max(4096, 2 * live.visits.count)
    }
}

/// What a permutation is for; a number of its own makes it independent of the others.
enum Purpose {
    static let blocks: UInt64 = 1
    static let rows: UInt64 = 2
    static let epochRows: UInt64 = 3
}
