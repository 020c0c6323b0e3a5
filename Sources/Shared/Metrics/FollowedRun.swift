// A run while it goes on: what is new in its file since the last look. A resume that goes back to a checkpoint puts another
// file in its place or a shorter one; then everything is read anew.

public import Bytes
internal import SystemPackage

/// A metrics file that grows.
public struct FollowedRun {
    private let path: String
    public let label: String
    private let isSelected: (String) -> Bool
    private var columns: [String] = []
    private var collector = RowCollector(columns: [], limit: MetricsRun.drawnRows)
    private var stream: RowStream?
    private var identity: FileIdentity?
    /// The last row, to which records of its step may still come.
    private var open: MetricsRow?

    /// - Parameter path: a run's directory or a metrics file, which may not be there yet.
    public init(_ path: String, label: String, select: @escaping (String) -> Bool) {
        self.path = path
        self.label = label
        isSelected = select
    }

    /// The run as it was at the last look.
    public var run: MetricsRun {
        var all = collector
        if let open { all.add(open) }
        return MetricsRun(label: label, all)
    }

    /// Looks again.
    /// - Returns: whether anything is new.
    /// - Throws: `Fault` (bad data) when what is new is no record.
    public mutating func update() throws(Fault) -> Bool {
        let file = MetricsInput.metricsFile(path)
        guard let now = FileSystem.identity(of: file) else {
            let wasThere = identity != nil
            forget()
            return wasThere
        }
        if let known = identity, known.isSameFile(as: now), now.size >= known.size, stream != nil {
            let isNew = now.size > known.size
            if !isNew { return false }
        } else {
            forget()
        }
        identity = now
        if stream == nil {
            let source = try FileSource.open(file.string)
            if try ForeignLogs.sniff(try FileSource.open(file.string)).content != .metrics {
                throw Fault(.usage, "cannot follow \(quoted(file.string)): it is no metrics.jsonl")
            }
            let reader = RowReader(try FileSource.open(file.string), isLive: true)
            var first = RowReader(source, isLive: true)
            while try first.nextLine() != nil {}
            columns = first.metricNames.filter(isSelected)
            collector = RowCollector(columns: columns, limit: MetricsRun.drawnRows)
            stream = RowStream(reader, columns: columns, options: RowOptions())
        }
        while let row = try stream?.next() { take(row) }
        if let names = stream?.metricNames, names.filter(isSelected) != columns {
            // A metric that was not there before: its column belongs in all rows.
            stream = nil
            identity = nil
            return try update()
        }
        return true
    }

    private mutating func forget() {
        stream = nil
        open = nil
        collector = RowCollector(columns: columns, limit: MetricsRun.drawnRows)
    }

    private mutating func take(_ row: MetricsRow) {
        guard var last = open, last.step == row.step else {
            if let open { collector.add(open) }
            open = row
            return
        }
        let start = UInt32(last.bytes.count)
        last.bytes += row.bytes
        for column in row.cells.indices where !row.cells[column].isMissing {
            last.cells[column] = row.cells[column]
            last.cells[column].offset += start
        }
        open = last
    }
}
