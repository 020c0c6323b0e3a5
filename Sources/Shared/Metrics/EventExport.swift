// Metrics as TensorBoard's event files, one directory a run. A file that is there already is gone on with: when what it
// holds is how the new export begins, only the rest is appended, which a running TensorBoard follows. When the run went back
// to a checkpoint and did steps anew, everything is written into a new file with a later name; it begins with a START at step
// 0, at which whoever reads the directory forgets what came before. The file before it stays: a running TensorBoard that
// finds its file gone waits for it for ever. Those before that one are removed. So exporting again at any moment, also after
// a kill in the middle of an export, shows every step once.

internal import Bytes
public import SystemPackage

/// Writes the scalars of a run into a directory.
public struct EventExport {
    private let run: SurveyedRun
    private let columns: [String]
    private let options: RowOptions
    private static let prefix = "events.out.tfevents."
    private static let suffix = ".millrace"
    private static let partial = "millrace-export"

    public init(_ run: SurveyedRun, columns: [String], options: RowOptions = RowOptions()) {
        self.run = run
        self.columns = columns
        self.options = options
    }

    /// Brings the event file in `directory`, which is made when it is missing, up to date.
    /// - Throws: `Fault` of the reader; (cannot create, input/output) of the writing.
    public func write(to directory: FilePath) throws {
        try FileSystem.makeDirectory(directory)
        let lock = try FileLock(directory.appending(".metrics-cat.lock"), subject: directory.string)
        defer { withExtendedLifetime(lock) {} }
        try FileSystem.removeStaleTemporaries(in: directory, prefix: EventExport.partial)
        let numbers = try FileSystem.list(directory).compactMap(EventExport.number).sorted()
        if let number = numbers.last {
            let path = directory.appending(EventExport.name(number))
            let continuation = try Continuation(path)
            do {
                try writeEvents(to: continuation)
                if try continuation.finish() { return }
            } catch is Differs {}
        }
        // TensorBoard reads whatever has `tfevents` in its name, also what is not whole yet.
        let file = try AtomicFile(directory.appending(EventExport.partial))
        try writeEvents(to: file)
        try file.commit()
        try FileSystem.rename(
            directory.appending(EventExport.partial), to: directory.appending(EventExport.name((numbers.last ?? 0) + 1))
        )
        for number in numbers.dropLast() { try FileSystem.remove(directory.appending(EventExport.name(number))) }
    }

    /// Names sort as their numbers do.
    private static func name(_ number: Int) -> String {
        let digits = String(number)
        return prefix + String(repeating: "0", count: max(0, 10 - digits.count)) + digits + suffix
    }

    private static func number(_ name: String) -> Int? {
        guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
        return Int(name.dropFirst(prefix.count).dropLast(suffix.count))
    }

    // MARK: Events

    private func writeEvents(to sink: any ByteSink) throws {
        let buffer = BufferedSink(sink)
        if options.keepsRows { try writeRecords(to: buffer) } else { try writeRows(to: buffer) }
        try buffer.flush()
    }

    private struct Event {
        var time: Double
        var values: [(key: Int32, value: Double)]
    }

    /// An event a record. A step's later records add what it has not yet; of what is measured twice the later counts.
    private func writeRecords(to sink: BufferedSink) throws {
        let chosen = Set(columns)
        var reader = RowReader(try run.input.open())
        var step: Int64?
        var pending: [Event] = []
        var isChosen: [Bool] = []
        var isMeasure: [Bool] = []
        var tags: [String] = []
        var hasHead = false
        func emit() throws {
            for event in pending where !event.values.isEmpty {
                if !hasHead { try sink.write(EventFile.head(time: event.time, step: 0)) }
                hasHead = true
                try sink.write(
                    EventFile.scalars(
                        time: event.time, step: Int(step ?? 0), event.values.map { (tags[Int($0.key)], $0.value) }))
            }
            pending = []
        }
        while let line = try reader.nextLine() {
            if line.step != step {
                try emit()
                step = line.step
            }
            while tags.count < reader.keys.names.count {
                let name = reader.keys.names[tags.count]
                tags.append(name)
                isChosen.append(name != "time" && chosen.contains(name))
                isMeasure.append(MetricMeaning.of(name).role == .measure)
            }
            var event = Event(time: 0, values: [])
            for index in line.cells {
                let cell = reader.cells[index]
                let key = Int(cell.key)
                guard let value = cell.double(in: reader.bytes) else { continue }
                if tags[key] == "time" { event.time = value.isFinite ? value : 0 }
                guard isChosen[key] else { continue }
                let earlier = pending.firstIndex { $0.values.contains { $0.key == cell.key } }
                if let earlier {
                    if !isMeasure[key] { continue }
                    pending[earlier].values.removeAll { $0.key == cell.key }
                }
                event.values.append((cell.key, value))
            }
            pending.append(event)
        }
        try emit()
        if !hasHead { try sink.write(EventFile.head(time: 0, step: 0)) }
    }

    /// An event a row, where rows are smoothed or thinned.
    private func writeRows(to sink: BufferedSink) throws {
        let columns = columns.filter { $0 != "time" }
        var stream = try RowStream(run, columns: columns + ["time"], options: options)
        var hasHead = false
        while let row = try stream.next() {
            let time = row.double(columns.count).flatMap { $0.isFinite ? $0 : nil } ?? 0
            if !hasHead { try sink.write(EventFile.head(time: time, step: 0)) }
            hasHead = true
            let values = columns.indices.compactMap { column in row.double(column).map { (columns[column], $0) } }
            if !values.isEmpty { try sink.write(EventFile.scalars(time: time, step: row.step, values)) }
        }
        if !hasHead { try sink.write(EventFile.head(time: 0, step: 0)) }
    }
}

/// The file that is there begins otherwise than the export does.
private struct Differs: Error {}

/// Compares what is written with a file, and appends what comes after its end.
private final class Continuation: ByteSink {
    let name: String
    private let existing: InputFile
    private var offset = 0
    private let path: FilePath
    private var appending: AppendFile?

    init(_ path: FilePath) throws(Fault) {
        self.path = path
        name = path.string
        existing = try InputFile(path)
    }

    func write(_ bytes: [UInt8]) throws {
        let known = min(bytes.count, existing.size - offset)
        if known > 0 {
            if try existing.read(at: offset, count: known) != Array(bytes[..<known]) { throw Differs() }
            offset += known
        }
        if known == bytes.count { return }
        if appending == nil { appending = try AppendFile(path) }
        try appending?.write(Array(bytes[known...]))
    }

    /// False when the file has more than the export.
    func finish() throws -> Bool {
        if offset < existing.size { return false }
        try appending?.synchronize()
        return true
    }
}
