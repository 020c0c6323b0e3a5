// Records from a file, a run's directory or standard input, one at a time.

public import Bytes
private import SystemPackage

/// Reads metrics.jsonl (docs/formats/metrics.md) in order.
public struct MetricsReader {
    /// The file's name in a run's directory.
    public static let fileName = "metrics.jsonl"

    private var lines: LineReader
    /// Set at the end when the last line has no newline and is no record: a run is writing it, or was killed.
    public private(set) var tornLine: Int?

    /// The name that messages put in quotes.
    public var name: String { lines.name }

    public init(_ source: any ByteSource) { lines = LineReader(source) }

    /// Opens a metrics file, a run's directory (its metrics.jsonl) or, for `-`, standard input.
    /// - Throws: `Fault` (no input).
    public init(opening path: String) throws(Fault) {
        let isRun = path != "-" && FileSystem.kind(of: FilePath(path)) == .directory
        self.init(try FileSource.open(isRun ? FilePath(path).appending(MetricsReader.fileName).string : path))
    }

    /// The next record, or nil at the end.
    /// - Throws: `Fault` (bad data) naming file, line and byte.
    public mutating func next() throws(Fault) -> MetricsRecord? {
        guard let line = try lines.next() else { return nil }
        if line.isTooLong {
            throw Fault(
                .badData,
                "\(quoted(name)), line \(line.number), at byte \(line.offset): longer than \(LineReader.maximumLength) bytes"
            )
        }
        do {
            return try MetricsRecord(line: line.bytes, name: name, number: line.number, offset: line.offset)
        } catch {
            if line.hasNewline { throw error }
            tornLine = line.number
            return nil
        }
    }
}
