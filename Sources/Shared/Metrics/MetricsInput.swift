// Where a run's records come from: a metrics file, a run's directory, standard input, or what another program logged
// (TensorBoard's event files, Hugging Face's trainer_state.json), told by its content. Some outputs need two passes, one to
// learn the columns and one to write the rows; what can be read once only is kept, in memory while it is short and in an
// unlinked file when it is not.

public import Bytes
public import SystemPackage

/// Something that can be read as metrics.jsonl, more than once.
public final class MetricsInput {
    /// The name that messages put in quotes.
    public let name: String
    /// Short, for headers and legends.
    public let label: String
    /// The run's directory, where there may be a run.json.
    public let directory: FilePath?
    /// What the content is.
    public let content: Content
    private let make: () throws(Fault) -> any ByteSource
    private var isSorted = false
    private let spoken: Notes

    /// What is worth telling about the content, after it was read.
    public var notes: [String] { spoken.lines }

    public enum Content: Sendable { case metrics, tensorBoard, trainerState }

    /// Opens a metrics file, a run's directory, an event file, a trainer state, or, for `-`, standard input.
    /// - Throws: `Fault` (no input).
    public init(opening path: String, label: String) throws(Fault) {
        self.label = label
        let notes = Notes()
        spoken = notes
        let place = FilePath(path)
        if path != "-", FileSystem.kind(of: place) == .directory {
            directory = place
            let metrics = place.appending(MetricsReader.fileName)
            if FileSystem.kind(of: metrics) == nil, let foreign = try ForeignLogs.find(in: place, notes: notes) {
                (name, content, make) = (foreign.name, foreign.content, foreign.open)
                return
            }
            name = metrics.string
        } else {
            name = path == "-" ? "standard input" : path
            directory = path == "-" ? nil : place.removingLastComponent()
        }
        let file = path == "-" ? "-" : name
        let source = try FileSource.open(file)
        let isRegular = path != "-" && FileSystem.kind(of: FilePath(name)) == .file
        let (content, head) = try ForeignLogs.sniff(source)
        self.content = content
        let label = name
        let raw: () throws(Fault) -> any ByteSource
        if isRegular {
            raw = { () throws(Fault) -> any ByteSource in try FileSource.open(file) }
        } else {
            let spool = Spool(JoinedSource(head, then: source))
            raw = { () throws(Fault) -> any ByteSource in try spool.open() }
        }
        switch content {
        case .metrics: make = raw
        case .tensorBoard:
            make = { () throws(Fault) -> any ByteSource in EventLines(files: [(label, raw)], notes: notes) }
        case .trainerState:
            make = { () throws(Fault) -> any ByteSource in TrainerStateLines(try raw()) }
        }
    }

    /// The file of a run's directory, or the path itself.
    static func metricsFile(_ path: String) -> FilePath {
        let place = FilePath(path)
        return FileSystem.kind(of: place) == .directory ? place.appending(MetricsReader.fileName) : place
    }

    /// The run's run.json; nil when there is none.
    /// - Throws: `Fault` (bad data) for a file that is no JSON.
    public func description() throws(Fault) -> JSON? {
        guard let directory else { return nil }
        let path = directory.appending(RunDescription.fileName)
        if FileSystem.kind(of: path) != .file { return nil }
        return try JSON(parsing: try InputFile(path).readAll(limit: 1 << 24), name: path.string)
    }

    /// The records as metrics.jsonl, from the start.
    public func open() throws(Fault) -> any ByteSource {
        isSorted ? try SortedLines(try make()) : try make()
    }

    /// The records in the order in which they were made.
    func openUnsorted() throws(Fault) -> any ByteSource { try make() }

    /// From now on records come in the order of their steps, which takes as much memory as they have bytes.
    func sort() { isSorted = true }
}

/// What was read already, and then the rest.
private final class JoinedSource: ByteSource {
    private var head: [UInt8]
    private let rest: any ByteSource
    var name: String { rest.name }

    init(_ head: [UInt8], then rest: any ByteSource) {
        self.head = head
        self.rest = rest
    }

    func read(upTo count: Int) throws(Fault) -> [UInt8] {
        if head.isEmpty { return try rest.read(upTo: count) }
        let piece = Array(head.prefix(count))
        head.removeFirst(piece.count)
        return piece
    }
}

/// Lets a source that can be read once be read again: its bytes are kept, in memory up to a limit and from there on in a
/// temporary file that has no name any more.
private final class Spool {
    private static let memoryBytes = 16 << 20
    private var source: (any ByteSource)?
    private let name: String
    private var memory: [UInt8] = []
    private var file: SpillFile?

    init(_ source: any ByteSource) {
        self.source = source
        name = source.name
    }

    /// The bytes from the start. The first reader takes them from the source as they come.
    func open() throws(Fault) -> any ByteSource { Reader(self) }

    /// Up to `count` bytes from `offset`; empty at the end.
    fileprivate func read(at offset: Int, upTo count: Int) throws(Fault) -> [UInt8] {
        let known = memory.count + (file?.size ?? 0)
        if offset < memory.count { return Array(memory[offset..<min(memory.count, offset + count)]) }
        if offset < known, let file {
            let place = offset - memory.count
            return try file.read(at: place, count: min(count, file.size - place))
        }
        guard let source else { return [] }
        let piece = try source.read(upTo: count)
        if piece.isEmpty {
            self.source = nil
        } else if file == nil && memory.count + piece.count <= Spool.memoryBytes {
            memory += piece
        } else {
            if file == nil { file = try SpillFile() }
            try file?.append(piece)
        }
        return piece
    }

    private final class Reader: ByteSource {
        let spool: Spool
        var offset = 0
        var name: String { spool.name }

        init(_ spool: Spool) { self.spool = spool }

        func read(upTo count: Int) throws(Fault) -> [UInt8] {
            let piece = try spool.read(at: offset, upTo: count)
            offset += piece.count
            return piece
        }
    }
}

/// Lines in the order of their steps; lines of a step stay in theirs.
private final class SortedLines: ByteSource {
    let name: String
    private var lines: [(step: Int64, text: [UInt8])] = []
    private var next = 0

    init(_ source: any ByteSource) throws(Fault) {
        name = source.name
        var reader = RowReader(source)
        while let line = try reader.nextLine() {
            let start = Int(line.offset)
            var text = Array(reader.bytes[start..<start + Int(line.length)])
            if text.last != UInt8(ascii: "\n") { text.append(UInt8(ascii: "\n")) }
            lines.append((line.step, text))
        }
        lines.sort { $0.step < $1.step }  // stable
    }

    func read(upTo count: Int) -> [UInt8] {
        var piece: [UInt8] = []
        while next < lines.count, piece.isEmpty || piece.count + lines[next].text.count <= count {
            piece += lines[next].text
            lines[next].text = []
            next += 1
        }
        return piece
    }
}
