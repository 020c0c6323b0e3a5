// One pass over a run's plan. The calling thread decides whose turn each row is, hands a few batches at a time to the
// workers, and emits what they made in order, with its cursor; workers read blocks and assemble batches.

internal import Bytes
private import DequeModule
private import Tokens

struct ProducerRun {
    private let producer: BatchProducer
    private let pool: WorkPool
    private let shape: BatchShape
    /// Batches that one job assembles, so that tiny batches do not drown in hand-overs.
    private let chunkBatches: Int
    private var sources: [SourceRun]
    private var cursor: Cursor
    private var planned = 0
    private var plan = BatchPlan()
    /// Where the sources stand after each batch of the plan.
    private var ends: [[SourcePlace]] = []
    private var inFlight = Deque<(ticket: Ticket<[AssembledBatch]>, ends: [[SourcePlace]])>()
    /// This rank's rows since the stream began.
    private var ownEmitted = 0
    private var ownDigest = OrderDigest()

    init(_ producer: BatchProducer, _ pool: WorkPool) {
        self.producer = producer
        self.pool = pool
        let head = producer.head
        shape = BatchShape(
            rows: producer.rows, length: head.length, type: head.type, endOfDocument: head.endOfDocument,
            crossDocument: head.crossDocument, hasMask: producer.recipe.mask != .all,
            slots: BatchShape.slots(rows: producer.rows, rank: head.rank, world: head.world, lanes: head.lanes),
            sourceCount: producer.sources.count)
        chunkBatches = max(1, (1 << 19) / (producer.rows * head.length * 2 * head.type.byteCount))
        cursor = producer.start
        sources = zip(producer.settings, cursor.places).map {
            SourceRun($0, at: $1, windowBytes: producer.windowBytes, pool: pool)
        }
    }

    mutating func toEnd(emit: (EncodedBatch) throws -> Void) throws -> StreamEnd {
        while try planChunk(emit: emit) {
            while inFlight.count > 2 * max(1, producer.threads) { try emitChunk(emit) }
        }
        try drain(emit)
        // A source that had no turn since the cursor has a window open all the same.
        for index in sources.indices where sources[index].isInside { try sources[index].open(goesOn: nil) {} }
        var ledger = Ledger(tokensIn: 0, emitted: cursor.emitted, padded: cursor.padded, leftOver: 0)
        for (source, place) in zip(sources, cursor.places) {
            ledger.tokensIn += source.tokensIn
            ledger.leftOver += try source.tokensLeftOver(emitted: place.emitted)
        }
        if let imbalance = ledger.imbalance(
            rows: cursor.rows, length: shape.length, before: producer.start.counts)
        {
            throw LedgerViolation(description: "the ledger does not balance: \(imbalance)")
        }
        if producer.head.world == 1 {
            return StreamEnd(
                batches: cursor.batch, rows: cursor.rows, ledger: ledger, orderDigest: cursor.digest,
                cursor: cursor.description)
        }
        let rows = (cursor.batch - producer.start.batch) * producer.head.rows
        return StreamEnd(
            batches: cursor.batch, rows: rows,
            ledger: Ledger(
                tokensIn: ownEmitted, emitted: ownEmitted, padded: rows * shape.length - ownEmitted, leftOver: 0),
            orderDigest: ownDigest, cursor: cursor.description,
            run: RunTotals(rows: cursor.rows, ledger: ledger, orderDigest: cursor.digest))
    }

    /// Hands the next few batches to the workers. False when there are none.
    private mutating func planChunk(emit: (EncodedBatch) throws -> Void) throws -> Bool {
        while ends.count < chunkBatches, planned < producer.limit ?? .max {
            var missing = shape.rows
            while missing > 0, let index = turn {
                if !sources[index].isOpen {
                    try open(index, emit)
                    continue
                }
                if missing == shape.rows { plan.beginBatch() }
                let (rows, count) = try sources[index].take(sources.count == 1 ? missing : 1)
                plan.append(rows, count: count, source: sources.count == 1 ? nil : index)
                missing -= count
            }
            if missing == shape.rows { break }
            ends.append(sources.map(\.place))
            planned += 1
        }
        return submit()
    }

    /// The source that the next row comes from; nil after the last epoch.
    private var turn: Int? {
        if let epochs = producer.head.epochs,
            zip(sources, producer.mixture.shares).allSatisfy({ $1 == 0 || $0.place.epoch >= epochs })
        {
            return nil
        }
        return producer.mixture.turn(sources.lazy.map(\.place.taken))
    }

    /// Opens a source's next window. The last one is let go before: batches that are whole are sent, and the rows of the
    /// one begun are copied out.
    private mutating func open(_ index: Int, _ emit: (EncodedBatch) throws -> Void) throws {
        var source = sources[index]
        let goesOn = sources.count > 1 || (producer.head.epochs.map { source.place.epoch + 1 < $0 } ?? true)
        try source.open(goesOn: goesOn) {
            _ = submit()
            try drain(emit)
        }
        sources[index] = source
    }

    /// Hands the whole batches of the plan to the workers; rows of one begun stay, as copies. False when there is none.
    private mutating func submit() -> Bool {
        if ends.isEmpty { return false }
        let (whole, begun) = plan.split(batches: ends.count)
        let ticket = pool.submit(urgent: true) { [shape] _ in try shape.assemble(whole) }
        inFlight.append((ticket, ends))
        plan = begun
        ends = []
        return true
    }

    private mutating func drain(_ emit: (EncodedBatch) throws -> Void) throws {
        while !inFlight.isEmpty { try emitChunk(emit) }
        try plan.copyRows()
    }

    private mutating func emitChunk(_ emit: (EncodedBatch) throws -> Void) throws {
        let chunk = inFlight.removeFirst()
        for (batch, end) in zip(try chunk.ticket.value(), chunk.ends) {
            let index = cursor.batch
            let before = cursor.places
            cursor.places = end
            for number in before.indices {
                cursor.places[number].emitted =
                    before[number].emitted
                    + (before.count == 1 ? batch.realPositions : batch.sourcePositions[number])
            }
            cursor.batch += 1
            cursor.rows += shape.rows
            cursor.emitted += batch.realPositions
            cursor.padded += shape.rows * shape.length - batch.realPositions
            for checksum in batch.rowChecksums { cursor.digest.append(rowChecksum: checksum) }
            for checksum in batch.ownChecksums { ownDigest.append(rowChecksum: checksum) }
            ownEmitted += batch.ownPositions
            try emit(EncodedBatch(index: index, cursor: cursor, body: batch.body))
        }
    }
}
