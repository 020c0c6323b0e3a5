// From datasets to batches: which rows come when, counted and digested in order. What a batch contains follows from the
// recipe and the cursor alone, so any number of workers and any interruption give the same stream. How a run goes is in
// ProducerRun.swift, how a cursor is followed in RunStart.swift.

public import Bytes
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
    public let sources: [TokenSource]
    public let recipe: Recipe

    let start: Cursor
    /// B, of all ranks.
    let rows: Int
    let limit: Int?
    let threads: Int
    let mixture: Mixture
    let settings: [SourceRun.Settings]

    /// Bytes of windows that a mixed run may hold as a whole: two of u16, one of u32. It changes speed and memory alone.
    package var windowBytes = 32 << 20

    /// Most sources of a mixed run: a cursor has a place in each.
    public static let maximumSources = 32

    /// A run over one source.
    /// - Parameters:
    ///   - rows: B, rows a batch of all ranks.
    ///   - epochs: of the whole run; nil: without end.
    ///   - limit: batches from here, at least 1; nil: all.
    ///   - cursor: where an earlier stream of the same recipe stopped; nil: the beginning.
    ///   - rank: the first row of each batch that this stream has.
    ///   - world: it has every `world`-th row from there.
    ///   - threads: workers.
    /// - Throws: `Fault` (usage) when a batch fits no frame or the cursor belongs elsewhere.
    public convenience init(
        _ source: TokenSource, recipe: Recipe, rows: Int, epochs: Int? = 1, limit: Int? = nil, cursor: Cursor? = nil,
        rank: Int = 0, world: Int = 1, threads: Int = 1
    ) throws(Fault) {
        try self.init(
            [source], .single, recipe: recipe, rows: rows, epochs: epochs, limit: limit, cursor: cursor, rank: rank,
            world: world, threads: threads)
    }

    /// A mixed run: every row comes from the source that is furthest behind its share. It ends when each source that has
    /// a share has been read `epochs` times; smaller ones begin again meanwhile.
    /// - Parameters:
    ///   - sources: in an order that the run keeps; new ones may be added at the end when it goes on.
    ///   - mixture: their shares, which may change when it goes on.
    /// Others as above.
    public convenience init(
        mixing sources: [TokenSource], _ mixture: Mixture, recipe: Recipe, rows: Int, epochs: Int? = 1,
        limit: Int? = nil, cursor: Cursor? = nil, rank: Int = 0, world: Int = 1, threads: Int = 1
    ) throws(Fault) {
        try self.init(
            sources, mixture, recipe: recipe, rows: rows, epochs: epochs, limit: limit, cursor: cursor, rank: rank,
            world: world, threads: threads)
    }

    private init(
        _ sources: [TokenSource], _ mixture: Mixture, recipe: Recipe, rows: Int, epochs: Int?, limit: Int?,
        cursor: Cursor?, rank: Int, world: Int, threads: Int
    ) throws(Fault) {
        guard let source = sources.first else { throw Fault(.usage, "no dataset was given") }
        guard sources.count == mixture.shares.count, sources.count <= BatchProducer.maximumSources else {
            throw Fault(.usage, "\(sources.count) sources, expected at most \(BatchProducer.maximumSources)")
        }
        try TokenSource.requireFit(sources.flatMap(\.datasets))
        guard rows >= 1, recipe.length >= 1, epochs ?? 1 >= 1, limit ?? 1 >= 1 else {
            throw Fault(.usage, "rows, length, epochs and limit are at least 1")
        }
        guard StreamHead.fits(rows: rows, length: recipe.length, type: source.type) else {
            throw Fault(.usage, "batches of \(rows) × \(recipe.length) do not fit a frame of 1 GiB")
        }
        try BatchProducer.check(rows: rows, rank: rank, world: world, lanes: recipe.lanes)
        if case .after(let separator) = recipe.mask, Int(separator) >= source.vocabularySize {
            throw Fault(
                .usage,
                "the separator is id \(separator), expected one below the vocabulary size \(source.vocabularySize)")
        }
        let begin = try RunStart(sources, mixture, recipe, epochs: epochs, cursor: cursor)
        self.sources = sources
        self.mixture = mixture
        self.recipe = recipe
        self.rows = rows
        self.limit = limit
        self.threads = threads
        start = begin.cursor
        settings = sources.enumerated().map {
            SourceRun.Settings(source: $1, recipe: recipe, number: $0, count: sources.count)
        }
        // A rank counts its own rows, and those only from here: what it had before another number of ranks may have had.
        var before = StreamCounts()
        before.batches = start.batch
        var head = StreamHead(
            rows: rows / world, length: recipe.length, type: source.type, vocabularySize: source.vocabularySize,
            endOfDocument: source.endOfDocument, tokenizer: source.datasets[0].manifest.tokenizer.json,
            dataset: RunStart.dataset(sources), recipe: start.recipe, order: recipe.order.rawValue,
            packing: recipe.packing.rawValue, seed: recipe.seed, epochs: epochs, crossDocument: recipe.crossDocument,
            rank: rank, world: world, start: begin.text, before: world == 1 ? start.counts : before)
        head.lanes = recipe.lanes
        let tokens = sources.reduce((partialValue: 0, overflow: false)) { sum, source in
            let (next, overflow) = sum.partialValue.addingReportingOverflow(source.tokenCount)
            return (next, overflow || sum.overflow)
        }
        head.epochTokens = tokens.overflow || tokens.partialValue > StreamCounts.maximum ? nil : tokens.partialValue
        head.mask = recipe.mask.json
        if sources.count > 1 {
            head.mix = zip(sources, mixture.shares).map { StreamHead.MixedSource(dataset: $0.digest, share: $1) }
        }
        self.head = head
    }

    private static func check(rows: Int, rank: Int, world: Int, lanes: Int) throws(Fault) {
        guard (1...1 << 20).contains(world), (0..<world).contains(rank) else {
            throw Fault(.usage, "rank \(rank) of \(world), expected a rank from 0 to below the number of ranks")
        }
        guard (1...1 << 20).contains(lanes) else { throw Fault(.usage, "\(lanes) lanes, expected 1 or more") }
        if lanes > 1, lanes % world != 0 {
            throw Fault(
                .usage, "\(lanes) lanes of \(world) ranks: expected a multiple of the ranks",
                hint: "a lane is summed as one, so it cannot be shared")
        }
        if rows % max(lanes, world) != 0 {
            throw Fault(
                .usage,
                "batches of \(rows) rows, expected a multiple of the \(max(lanes, world)) \(lanes > 1 ? "lanes" : "ranks")"
            )
        }
    }

    // MARK: Counting ahead

    /// Rows that `run` will emit, padding of the last batch included; nil: without end. But for `concat` it costs reading
    /// the document index.
    public func rowsToEmit() throws -> Int? {
        var batches = limit
        if sources.count > 1 {
            if head.epochs != nil {
                throw Fault(
                    .usage, "how many rows a mixed run of so many epochs has is only known when it is over",
                    hint: "give --epochs forever and --limit")
            }
        } else if head.epochs != nil || start.places[0].row > 0 {
            let left = try rowsLeft(start.places[0], epochs: head.epochs)
            if let left {
                let remaining = left / rows + (left % rows == 0 ? 0 : 1)
                batches = min(batches ?? remaining, remaining)
            } else if head.epochs != nil, limit == nil {
                throw BatchProducer.uncountable
            }
        }
        guard let batches else { return nil }
        let (rows, overflow) = batches.multipliedReportingOverflow(by: head.rows)
        if overflow { throw BatchProducer.uncountable }
        return rows
    }

    /// Rows from a place to the end of the last epoch; nil when there is none or they leave 63 bits.
    private func rowsLeft(_ place: SourcePlace, epochs: Int?) throws -> Int? {
        if let epochs, place.epoch >= epochs { return 0 }
        let settings = settings[0]
        var (rest, whole) = (0, epochs.map { $0 - place.epoch } ?? 0)
        if place.window > 0 || place.row > 0 || !place.stages.isEmpty {
            let reader = settings.reader(gridLength: place.grid)
            var window = place
            repeat {
                let count = try settings.layout(reader, window).rowCount
                if window.row > 0, window.row >= count {
                    throw Fault(.usage, "the cursor cannot be followed: row \(window.row) of \(count) in its window")
                }
                rest += count - window.row
                window = window.following(windowCount: settings.windowCount(reader.grid), length: recipe.length)
            } while window.epoch == place.epoch
            whole -= 1
        }
        guard epochs != nil else { return nil }
        if whole == 0 { return rest }
        let epoch = try RowLayout(
            settings.reader(gridLength: recipe.length), blocks: nil, stages: [], length: recipe.length
        ) { _, _ in nil }
        let (product, overflow) = whole.multipliedReportingOverflow(by: epoch.rowCount)
        let (rows, sumOverflow) = product.addingReportingOverflow(rest)
        return overflow || sumOverflow ? nil : rows
    }

    private static let uncountable = Fault(
        .usage, "the rows of this run leave 63 bits", hint: "give smaller --epochs or --limit")

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
}
