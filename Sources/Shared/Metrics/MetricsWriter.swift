// Appends a run's records. A record is one write of a whole line, so that a kill tears the last line at most; the run's
// past is only touched when a resume goes back to a checkpoint, and then the file is replaced in one rename.

public import Bytes
public import SystemPackage

/// Writes metrics.jsonl (docs/formats/metrics.md). Not for concurrent use.
public final class MetricsWriter {
    public let path: FilePath
    private let file: AppendFile

    /// Opens the file for appending, making it when it is new. After a kill call `truncate(_:afterStep:)` first: what is
    /// appended to a torn line is torn too.
    /// - Throws: `Fault` (cannot create).
    public init(_ path: FilePath) throws(Fault) {
        self.path = path
        file = try AppendFile(path)
    }

    /// The metrics of the run in `directory`.
    public convenience init(run directory: FilePath) throws(Fault) {
        try self.init(directory.appending(MetricsReader.fileName))
    }

    /// Appends one line in one write.
    /// - Throws: `Fault` (input/output).
    public func append(_ record: MetricsRecord) throws(Fault) {
        precondition(record.step != nil, "a metrics record has a step")
        try file.write(record.line)
    }

    /// Flushes every record to the disk; call before the checkpoint that they led to is published.
    public func synchronize() throws(Fault) { try file.synchronize() }
}

extension MetricsWriter {
    /// What going back to a checkpoint took out of a metrics file.
    public struct Truncation: Sendable, Equatable {
        /// Records of later steps.
        public var laterRecords = 0
        /// Lines that are no records: torn by a kill, or damaged.
        public var unreadableLines = 0
        /// Whether the last record only lacked its newline and got it.
        public var repairedNewline = false

        public init() {}

        var changesNothing: Bool { self == Truncation() }
    }

    /// Takes every record after `step` and every line that is no record out of the metrics file at `path`, which may be
    /// absent. The file is read once when there is nothing to do; otherwise it is rewritten and replaced in one rename.
    /// - Returns: what was taken out, for the tool to tell.
    /// - Throws: `Fault` when the file cannot be read or replaced, or is no regular file.
    @discardableResult
    public static func truncate(_ path: FilePath, afterStep step: Int) throws(Fault) -> Truncation {
        guard let kind = FileSystem.kind(of: path) else { return Truncation() }
        // Before it is opened: a FIFO would be waited for.
        if kind != .file {
            throw Fault(
                .cannotCreate, "cannot create \(quoted(path.string)): something that is no regular file is in its place"
            )
        }
        let change = try scan(path, afterStep: step) { _ throws(Fault) in }
        if change.changesNothing { return change }
        let replacement = try AtomicFile(path)
        _ = try scan(path, afterStep: step) { line throws(Fault) in try replacement.write(line) }
        try replacement.commit()
        return change
    }

    /// As `truncate(_:afterStep:)`, of the run in `directory`.
    @discardableResult
    public static func truncate(run directory: FilePath, afterStep step: Int) throws(Fault) -> Truncation {
        try truncate(directory.appending(MetricsReader.fileName), afterStep: step)
    }

    /// Hands each line that stays to `keep`, newline included.
    private static func scan(
        _ path: FilePath, afterStep last: Int, keep: ([UInt8]) throws(Fault) -> Void
    ) throws(Fault) -> Truncation {
        var lines = LineReader(try FileSource.open(path.string))
        var change = Truncation()
        while let line = try lines.next() {
            guard !line.isTooLong,
                let record = try? MetricsRecord(
                    line: line.bytes, name: path.string, number: line.number, offset: line.offset),
                let step = record.step
            else {
                change.unreadableLines += 1
                continue
            }
            if step > last {
                change.laterRecords += 1
                continue
            }
            if !line.hasNewline { change.repairedNewline = true }
            try keep(line.bytes + [UInt8(ascii: "\n")])
        }
        return change
    }
}
