// From datasets to batches: which rows come when, read ahead by workers, counted and digested in order. The calling
// thread plans and emits; workers read blocks and assemble batches. What a batch contains follows from the recipe and
// the cursor alone, so any number of workers and any interruption give the same stream.

public import Bytes
private import DequeModule
private import Tokens

/// A batch ready for a stream.
public struct EncodedBatch: Sendable {
    public let index: Int
    /// After this batch.
    public let cursor: Cursor
    let body: BatchBody

    /// The batch as a reader of the stream would see it.
    public func decoded(_ head: StreamHead) throws(Fault) -> TokenBatch {
        try TokenBatch(index: index, cursor: cursor.description, body: body, head: head)
    }
}

/// The books do not balance: a bug of ours, never of the data; there must be no DONE.
public struct LedgerViolation: Error, Sendable, CustomStringConvertible {
    public let description: String
}

/// Produces the batches of a run, from any cursor.
public final class BatchProducer {
    public let head: StreamHead
    public let source: TokenSource
    public let recipe: Recipe

    private let start: Cursor
    private let limit: Int?
    private let threads: Int
    private let reader: BlockReader

    /// - Parameters:
    ///   - rows: B, rows a batch.
    ///   - epochs: of the whole run; nil: without end.
    ///   - limit: batches from here, at least 1; nil: all.
    ///   - cursor: where an earlier stream of the same recipe stopped; nil: the beginning.
    ///   - threads: workers.
    /// - Throws: `Fault` (usage) when a batch fits no frame or the cursor belongs elsewhere.
    public init(
        _ source: TokenSource, recipe: Recipe, rows: Int, epochs: Int? = 1, limit: Int? = nil, cursor: Cursor? = nil,
        threads: Int = 1
    ) throws(Fault) {
        guard rows >= 1, recipe.length >= 1, epochs ?? 1 >= 1, limit ?? 1 >= 1 else {
            throw Fault(.usage, "rows, length, epochs and limit are at least 1")
        }
        guard StreamHead.fits(rows: rows, length: recipe.length, type: source.type) else {
            throw Fault(.usage, "batches of \(rows) × \(recipe.length) do not fit a frame of 1 GiB")
        }
        if let cursor, let mismatch = recipe.mismatch(with: cursor, dataset: source.digest) { throw mismatch }
        let fingerprint = recipe.fingerprint(dataset: source.digest)
        let start = cursor ?? Cursor(recipe: fingerprint)
        self.source = source
        self.recipe = recipe
        self.start = start
        self.limit = limit
        self.threads = threads
        reader = BlockReader(source, length: recipe.length, packing: recipe.packing)
        head = StreamHead(
            rows: rows, length: recipe.length, type: source.type, vocabularySize: source.vocabularySize,
            endOfDocument: source.endOfDocument, tokenizer: source.datasets[0].manifest.tokenizer.json,
            dataset: source.digest, recipe: fingerprint, order: recipe.order.rawValue,
            packing: recipe.packing.rawValue, seed: recipe.seed, epochs: epochs, crossDocument: recipe.crossDocument,
            start: start.description, before: start.counts)
        if let reason = contradiction(in: start) {
            throw Fault(
                .usage, "the cursor cannot be followed: \(reason)", hint: "copy it whole, as the stream carried it")
        }
    }

    private func contradiction(in cursor: Cursor) -> String? {
        if let epochs = head.epochs {
            if cursor.epoch > epochs || cursor.epoch == epochs && (cursor.block > 0 || cursor.row > 0) {
                return "it stands in epoch \(cursor.epoch + 1) of \(epochs)"
            }
        }
        if cursor.block >= windowCount && cursor.block > 0 {
            return "window \(cursor.block) of \(windowCount)"
        }
        let (positions, overflow) = cursor.rows.multipliedReportingOverflow(by: recipe.length)
        let (counted, sumOverflow) = cursor.emitted.addingReportingOverflow(cursor.padded)
        if overflow || sumOverflow || positions != counted {
            return
                "\(cursor.rows) rows of \(recipe.length) positions, but \(cursor.emitted) emitted + \(cursor.padded) padded"
        }
        let (whole, epochOverflow) = source.tokenCount.multipliedReportingOverflow(by: cursor.epoch)
        if epochOverflow || cursor.emitted < whole || cursor.emitted - whole > source.tokenCount {
            return "\(cursor.emitted) tokens emitted after \(cursor.epoch) epochs of \(source.tokenCount)"
        }
        return cursor.batch > cursor.rows ? "\(cursor.batch) batches of \(cursor.rows) rows" : nil
    }

    // MARK: Windows

    private var windowBlocks: Int { max(1, Recipe.windowTokens / reader.grid.blockTokens) }

    private var windowCount: Int {
        recipe.order == .full ? 1 : (reader.grid.blockCount + windowBlocks - 1) / windowBlocks
    }

    /// The blocks of a window, in order.
    private func blocks(epoch: Int, window: Int) -> [Int] {
        let places = window * windowBlocks..<min((window + 1) * windowBlocks, reader.grid.blockCount)
        if recipe.order == .sequential { return Array(places) }
        let permutation = FeistelPermutation(
            count: reader.grid.blockCount, seed: recipe.seed, purpose: Purpose.blocks, epoch: epoch)
        return places.map { permutation($0) }
    }

    /// Rows that `run` will emit, padding of the last batch included; nil: without end. For best-fit it costs reading
    /// the document index.
    public func rowsToEmit() throws -> Int? {
        var batches = limit
        if head.epochs != nil || start.row > 0 {
            let layout = try RowLayout(reader)
            let before = try rowsBeforeStart(layout)
            if let epochs = head.epochs {
                let (rows, overflow) = (epochs - start.epoch).multipliedReportingOverflow(by: layout.rowCount)
                // Rows that leave 63 bits are more than any limit.
                if overflow && limit == nil { throw BatchProducer.uncountable }
                if !overflow {
                    let remaining = (rows - before) / head.rows + ((rows - before) % head.rows == 0 ? 0 : 1)
                    batches = min(batches ?? remaining, remaining)
                }
            }
        }
        guard let batches else { return nil }
        let (rows, overflow) = batches.multipliedReportingOverflow(by: head.rows)
        if overflow { throw BatchProducer.uncountable }
        return rows
    }

    /// Rows of the epoch that the cursor has behind it.
    private func rowsBeforeStart(_ layout: RowLayout) throws(Fault) -> Int {
        func rows(ofWindow window: Int) -> Int {
            if recipe.order == .full { return layout.rowCount }
            return blocks(epoch: start.epoch, window: window).reduce(0) { $0 + layout.rows(ofBlock: $1) }
        }
        if start.row > 0 { try BatchProducer.check(row: start.row, of: rows(ofWindow: start.block)) }
        return (0..<start.block).reduce(start.row) { $0 + rows(ofWindow: $1) }
    }

    private static let uncountable = Fault(
        .usage, "the rows of this run leave 63 bits", hint: "give smaller --epochs or --limit")

    private static func check(row: Int, of rows: Int) throws(Fault) {
        if row >= rows {
            throw Fault(.usage, "the cursor cannot be followed: row \(row) of \(rows) in its window")
        }
    }

    // MARK: Running

    /// Emits every batch in order, from the cursor to the limit or the last epoch's end.
    /// - Returns: what DONE says.
    /// - Throws: what `emit` throws; `Fault` for damaged data; `LedgerViolation`.
    public func run(emit: (EncodedBatch) throws -> Void) throws -> StreamEnd {
        let pool = try WorkPool(threads: threads)
        defer { pool.close() }
        var run = ProducerRun(self, pool)
        return try run.toEnd(emit: emit)
    }

    /// One pass over the plan: positions, read-ahead, counts.
    private struct ProducerRun {
        private typealias Chunk = Ticket<[AssembledBatch]>
        private struct Place {
            var epoch: Int
            var window: Int
            var row: Int
        }

        private let producer: BatchProducer
        private let pool: WorkPool
        private let shape: BatchShape
        /// Batches that one job assembles, so that tiny batches do not drown in hand-overs.
        private let chunkBatches: Int

        private var cursor: Cursor
        private var place: Place
        private var current: (any RowSource)?
        private var ahead: (epoch: Int, window: Int, blocks: [Ticket<PackedBlock>])?
        private var layout: RowLayout?
        private let kept = Monitor(RecentValues<Int, PackedBlock>(capacity: EpochRows.keptBytes))
        private var tokensIn = 0
        private var planned = 0
        private var inFlight = Deque<(ticket: Chunk, ends: [Place])>()

        init(_ producer: BatchProducer, _ pool: WorkPool) {
            self.producer = producer
            self.pool = pool
            let head = producer.head
            shape = BatchShape(
                rows: head.rows, length: head.length, type: head.type, endOfDocument: head.endOfDocument,
                crossDocument: head.crossDocument)
            // With `full` a job reads a block for every few rows: more rows a job, fewer readings of a block.
            chunkBatches = max(1, (1 << (producer.recipe.order == .full ? 18 : 16)) / (head.rows * head.length))
            cursor = producer.start
            place = Place(epoch: cursor.epoch, window: cursor.block, row: cursor.row)
            tokensIn = cursor.emitted
        }

        mutating func toEnd(emit: (EncodedBatch) throws -> Void) throws -> StreamEnd {
            while try planChunk(emit: emit) {
                while inFlight.count > 2 * max(1, producer.threads) { try emitChunk(emit) }
            }
            try drain(emit)
            let leftOver = try tokensLeftOver()
            let end = StreamEnd(
                batches: cursor.batch, rows: cursor.rows,
                ledger: Ledger(
                    tokensIn: tokensIn, emitted: cursor.emitted, padded: cursor.padded, leftOver: leftOver),
                orderDigest: cursor.digest, cursor: cursor.description)
            if let imbalance = end.ledger.imbalance(rows: end.rows, length: shape.length) {
                throw LedgerViolation(description: "the ledger does not balance: \(imbalance)")
            }
            return end
        }

        /// Hands the next few batches to the workers. False when there are none.
        private mutating func planChunk(emit: (EncodedBatch) throws -> Void) throws -> Bool {
            var plan = BatchPlan()
            var ends: [Place] = []
            while ends.count < chunkBatches, planned < producer.limit ?? .max {
                var missing = shape.rows
                while missing > 0, let source = try openSource(emit) {
                    if missing == shape.rows { plan.beginBatch() }
                    let count = min(missing, source.rowCount - place.row)
                    plan.append(source, place.row..<place.row + count)
                    missing -= count
                    place.row += count
                    if place.row == source.rowCount { try closeSource() }
                }
                if missing == shape.rows { break }
                ends.append(place)
                planned += 1
            }
            if ends.isEmpty { return false }
            let ticket = pool.submit(urgent: true) { [shape, plan] tools in try shape.assemble(plan, tools: tools) }
            inFlight.append((ticket, ends))
            return true
        }

        private mutating func drain(_ emit: (EncodedBatch) throws -> Void) throws {
            while !inFlight.isEmpty { try emitChunk(emit) }
        }

        private mutating func emitChunk(_ emit: (EncodedBatch) throws -> Void) throws {
            let chunk = inFlight.removeFirst()
            for (batch, end) in zip(try chunk.ticket.value(), chunk.ends) {
                let index = cursor.batch
                (cursor.epoch, cursor.block, cursor.row) = (end.epoch, end.window, end.row)
                cursor.batch += 1
                cursor.rows += shape.rows
                cursor.emitted += batch.realPositions
                cursor.padded += shape.rows * shape.length - batch.realPositions
                for checksum in batch.rowChecksums { cursor.digest.append(rowChecksum: checksum) }
                try emit(EncodedBatch(index: index, cursor: cursor, body: batch.body))
            }
        }

        // MARK: Sources of rows

        /// The source that `place` stands in, or nil after the last epoch.
        private mutating func openSource(_ emit: (EncodedBatch) throws -> Void) throws -> (any RowSource)? {
            if let current { return current }
            if let epochs = producer.head.epochs, place.epoch >= epochs { return nil }
            let source: any RowSource
            if producer.recipe.order == .full {
                if layout == nil { layout = try RowLayout(producer.reader) }
                source = EpochRows(
                    producer.reader, layout: layout!, recipe: producer.recipe, epoch: place.epoch, kept: kept)
            } else {
                if ahead.map({ ($0.epoch, $0.window) == (place.epoch, place.window) }) != true {
                    ahead = readAhead(epoch: place.epoch, window: place.window)
                }
                let tickets = ahead!.blocks
                // What is ready goes out before we wait for what is not.
                try drain(emit)
                source = WindowRows(
                    try tickets.map { try $0.value() }, recipe: producer.recipe, epoch: place.epoch,
                    window: place.window)
                ahead = nil
                let next = following(place)
                if producer.head.epochs.map({ next.epoch < $0 }) ?? true {
                    ahead = readAhead(epoch: next.epoch, window: next.window)
                }
            }
            try count(source)
            current = source
            return source
        }

        private func readAhead(epoch: Int, window: Int) -> (epoch: Int, window: Int, blocks: [Ticket<PackedBlock>]) {
            let reader = producer.reader
            let tickets = producer.blocks(epoch: epoch, window: window).map { block in
                pool.submit(urgent: false) { try reader.read(block, using: $0.decompressor) }
            }
            return (epoch, window, tickets)
        }

        /// Enters an opened source into the books; on a resume only what the cursor has not counted.
        private mutating func count(_ source: any RowSource) throws {
            if place.row > 0 { try BatchProducer.check(row: place.row, of: source.rowCount) }
            if place.row == 0 {
                tokensIn += source.tokenCount
            } else if let before = source.realPositions(before: place.row) {
                tokensIn += source.tokenCount - before
            } else {
                tokensIn = (place.epoch + 1) * producer.source.tokenCount
            }
        }

        private mutating func closeSource() throws {
            place = following(place)
            current = nil
            if place.window == 0 {
                let expected = place.epoch * producer.source.tokenCount
                if tokensIn != expected {
                    throw LedgerViolation(
                        description: "after \(place.epoch) epochs of \(producer.source.tokenCount) tokens "
                            + "\(tokensIn) have been read, expected \(expected)")
                }
            }
        }

        /// The beginning of the next window.
        private func following(_ place: Place) -> Place {
            place.window + 1 < producer.windowCount
                ? Place(epoch: place.epoch, window: place.window + 1, row: 0)
                : Place(epoch: place.epoch + 1, window: 0, row: 0)
        }

        /// Tokens of the open window that were not emitted.
        private func tokensLeftOver() throws -> Int {
            guard let current else { return 0 }
            if let before = current.realPositions(before: place.row) { return current.tokenCount - before }
            return tokensIn - cursor.emitted
        }
    }
}
