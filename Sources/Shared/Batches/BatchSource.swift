// Where a run's batches come from: a stream on a pipe, datasets in this process, or whatever an embedder has. A source hands
// its batches over on a thread of its own, ahead of the training.

public import Bytes
internal import Tokens

/// What a source hands over: its head, then batches.
public enum BatchItem: Sendable {
    case head(StreamHead)
    case batch(TokenBatch)
}

/// A source of batches.
///
/// A run that is resumed is fed from where it stopped: the source must begin at the run's cursor and say so in
/// `StreamHead.start`. What a cursor looks like is the source's business; `TrainingRun` keeps that of the last batch.
public protocol BatchSource: Sendable {
    /// For messages.
    var name: String { get }

    /// Hands over the head, once, and every batch in order, then returns.
    /// - Parameter receive: waits until there is room. When it returns false nobody wants more, and `run` should return.
    /// - Throws: what ends the run: a `Fault`, or any other error, which becomes one.
    func run(_ receive: (BatchItem) -> Bool) throws
}

/// A batch stream (docs/formats/batch-stream.md): what `tok-pack` writes.
public struct BatchStream: BatchSource {
    private let source: any ByteSource & Sendable

    /// - Parameter source: nobody else may read from it.
    public init(_ source: any ByteSource & Sendable) { self.source = source }

    public var name: String { source.name }

    public func run(_ receive: (BatchItem) -> Bool) throws {
        var reader = try BatchStreamReader(source)
        if !receive(.head(reader.head)) { return }
        while let batch = try reader.next() {
            if !receive(.batch(batch)) { return }
        }
    }
}

/// Batches of datasets, packed in this process: `tok-pack` without the pipe.
public struct DatasetBatches: BatchSource {
    public var sources: [TokenSource]
    public var mixture: Mixture
    public var recipe: Recipe
    /// B.
    public var rows: Int
    /// nil: without end.
    public var epochs: Int?
    /// Batches from here; nil: all.
    public var limit: Int?
    /// Where to begin, in a run's spelling (`TrainingState.cursor`).
    public var cursor: String
    /// Workers.
    public var threads: Int

    /// - Parameter source: for several, set `sources` and `mixture`.
    public init(
        _ source: TokenSource, recipe: Recipe, rows: Int, epochs: Int? = 1, limit: Int? = nil,
        cursor: String = Cursor.start, threads: Int = 1
    ) {
        sources = [source]
        mixture = .single
        self.recipe = recipe
        self.rows = rows
        self.epochs = epochs
        self.limit = limit
        self.cursor = cursor
        self.threads = threads
    }

    public var name: String { sources.first?.datasets.first?.path ?? "datasets" }

    public func run(_ receive: (BatchItem) -> Bool) throws {
        let producer = try BatchProducer(
            mixing: sources, mixture, recipe: recipe, rows: rows, epochs: epochs, limit: limit,
            cursor: try Cursor.parsing(ofRun: cursor), threads: threads)
        if !receive(.head(producer.head)) { return }
        struct Enough: Error {}
        do {
            _ = try producer.run { batch in
                if !receive(.batch(try batch.decoded(producer.head))) { throw Enough() }
            }
        } catch is Enough {}
    }
}
