// The consumer's side of a batch stream: HEAD, batches, DONE, and nothing else. A stream that stops without DONE is
// bad data that names the last good batch: an epoch cut short by a dying producer must never look like a short epoch.

public import Bytes

/// Reads and verifies a batch stream.
///
/// ```swift
/// var reader = try BatchStreamReader(FileSource.standardInput)
/// while let batch = try reader.next() { … }
/// let end = reader.end  // what DONE said
/// ```
public struct BatchStreamReader {
    public let head: StreamHead
    /// DONE, once `next` has returned nil.
    public private(set) var end: StreamEnd?
    /// Index of the last batch that was read whole, nil before the first.
    public private(set) var lastGoodBatch: Int?

    private let source: any ByteSource
    private var frames: FrameReader
    private var cursor: String
    /// HEAD's counts and what came since.
    private var counts: StreamCounts

    /// Reads HEAD.
    /// - Throws: `Fault` (bad data) when the stream does not begin with a sound HEAD.
    public init(_ source: any ByteSource) throws(Fault) {
        self.source = source
        frames = FrameReader(source, maximumPayload: StreamHead.maximumPayload)
        guard let frame = try frames.next() else {
            throw .badData(
                source.name, "the batch stream is empty: expected HEAD",
                hint: "the program before the pipe failed, or nothing was piped in")
        }
        guard frame.type == .head else {
            throw .badData(source.name, byte: 0, "a batch stream begins with HEAD, found \(frame.type)")
        }
        head = try StreamHead(parsing: frame.payload, name: source.name, base: 8)
        cursor = head.start
        counts = head.before
    }

    /// The next batch, or nil after DONE.
    /// - Throws: `Fault`: damage, a batch that contradicts HEAD, a batch that is missing, a stream that stopped.
    public mutating func next() throws(Fault) -> TokenBatch? {
        if end != nil { return nil }
        let offset = frames.offset
        let frame: Frame?
        do { frame = try frames.next() } catch {
            throw error.kind == .badData ? Fault(.badData, error.message + progress, hint: error.hint) : error
        }
        guard let frame else {
            throw .badData(
                source.name, byte: offset, "the stream stops without DONE" + progress,
                hint: "the program that wrote it was interrupted; what was read so far is sound")
        }
        switch frame.type {
        case .batch:
            let batch = try TokenBatch(
                parsing: frame.payload, head: head, digest: &counts.orderDigest, name: source.name, base: offset + 8)
            if batch.index != counts.batches {
                throw .badData(
                    source.name, byte: offset + 8,
                    lastGoodBatch.map { "batch \(batch.index) follows batch \($0)" }
                        ?? "the first batch has index \(batch.index), expected \(counts.batches) as in HEAD")
            }
            counts.add(batch)
            lastGoodBatch = batch.index
            cursor = batch.cursor
            return batch
        case .done:
            try finish(frame, at: offset)
            return nil
        default:
            throw .badData(source.name, byte: offset + 4, "expected BTCH or DONE, found \(frame.type)" + progress)
        }
    }

    private mutating func finish(_ frame: Frame, at offset: Int) throws(Fault) {
        let end = try StreamEnd(parsing: frame.payload, head: head, name: source.name, base: offset + 8)
        for (what, stated, counted) in [
            ("batches", end.batches, counts.batches), ("rows", end.rows, counts.rows),
            ("emitted tokens", end.ledger.emitted, counts.emitted),
            ("positions of padding", end.ledger.padded, counts.padded),
        ] where stated != counted {
            throw .badData(
                source.name, byte: offset + 8,
                "DONE counts \(stated) \(what), expected \(counted): those of HEAD and of the batches since" + progress)
        }
        if end.orderDigest != counts.orderDigest {
            throw .badData(
                source.name, byte: offset + 8,
                "the order digest in DONE is \(end.orderDigest), expected \(counts.orderDigest) of the rows that came")
        }
        if end.cursor != cursor {
            throw .badData(
                source.name, byte: offset + 8,
                "the cursor in DONE is \(quoted(end.cursor)), expected \(quoted(cursor)) of the last batch")
        }
        if try !source.read(upTo: 1).isEmpty {
            throw .badData(source.name, byte: frames.offset, "bytes after DONE")
        }
        self.end = end
    }

    private var progress: String {
        lastGoodBatch.map { "; the last good batch is \($0)" } ?? "; no batch was read"
    }
}

extension FrameType {
    static let head = FrameType("HEAD")
    static let batch = FrameType("BTCH")
    static let done = FrameType("DONE")
}
