// Records and rows of a metrics file, at the speed of a copy: values stay where they lie in the bytes that were read, by
// key, until somebody wants one. Lines that are not plain go through the strict parser, which also makes all complaints, so
// that there is one grammar. Memory: one piece of the file and the row under way.

internal import Bytes

/// Reads metrics.jsonl (docs/formats/metrics.md) in order, by records (`nextLine`) or by rows, which are neighbouring
/// records of one step (`nextRow`). After an error it must not be used again.
struct RowReader {
    private static let pieceBytes = 1 << 18

    private let source: any ByteSource
    /// True for a file that still grows: an end is no end, and a last line without newline is waited for.
    private let isLive: Bool
    /// True when values stay in `slots` until later ones come: a row is then the state of affairs after its step.
    private let isCumulative: Bool
    /// The piece that is being read, texts of the row under way before it, texts of lines that were not plain behind it.
    private(set) var bytes = [UInt8](repeating: 0, count: FlatJSON.padding)
    private var spare: [UInt8] = []
    private var position = 0
    private var end = 0
    /// Of bytes[position] in the source.
    private var offset = 0
    private(set) var keys = FlatJSON.Keys()
    private(set) var cells = [FlatJSON.Cell](repeating: .missing, count: 1 << 15)
    private var lines = [FlatJSON.Line](repeating: FlatJSON.Line(), count: 1 << 12)
    private var lineCount = 0
    private var lineIndex = 0
    private var linesBefore = 0
    private var isFinished = false

    /// Set at the end when the last line has no newline and is no record: a run is writing it, or was killed.
    private(set) var tornLine: Int?
    /// The step of the row that was read.
    private(set) var step = 0
    /// The row's values, by the numbers of their keys.
    private(set) var slots: [FlatJSON.Cell] = []

    var name: String { source.name }
    /// The metrics met so far, without `step`.
    var metricNames: [String] {
        keys.names.indices.dropFirst().filter { !keys.isCompanion($0) }.map { keys.names[$0] }
    }
    /// The number, from 1, of the line that `nextLine` returned.
    var lineNumber: Int { linesBefore + lineIndex }

    init(_ source: any ByteSource, isLive: Bool = false, isCumulative: Bool = false) {
        self.source = source
        self.isCumulative = isCumulative
        self.isLive = isLive
    }

    /// The next record, or nil at the end. Its cells are in `cells`, their texts in `bytes`, until the next call.
    mutating func nextLine() throws(Fault) -> FlatJSON.Line? {
        while lineIndex == lineCount {
            var nothing: [FlatJSON.Cell] = []
            if try !readBatch(keeping: &nothing) { return nil }
        }
        lineIndex += 1
        return lines[lineIndex - 1]
    }

    /// Reads the next row into `step` and `slots`. False at the end.
    mutating func nextRow() throws(Fault) -> Bool {
        if !isCumulative { for index in slots.indices { slots[index] = .missing } }
        var hasRow = false
        while true {
            while lineIndex == lineCount {
                var kept: [FlatJSON.Cell] = []
                swap(&kept, &slots)
                let hasMore = try readBatch(keeping: &kept)
                swap(&kept, &slots)
                if !hasMore { return hasRow }
            }
            let line = lines[lineIndex]
            if hasRow && line.step != step { return true }
            hasRow = true
            step = Int(line.step)
            lineIndex += 1
            while slots.count < keys.names.count { slots.append(.missing) }
            for index in line.cells {
                let cell = cells[index]
                if isCumulative && cell.kind == .null { continue }
                slots[Int(cell.key)] = cell
            }
        }
    }

    /// Reads more lines. False at the end.
    private mutating func readBatch(keeping kept: inout [FlatJSON.Cell]) throws(Fault) -> Bool {
        if isFinished { return false }
        linesBefore += lineCount
        (lineCount, lineIndex) = (0, 0)
        while true {
            while cells.count <= keys.names.count {
                cells.append(contentsOf: repeatElement(.missing, count: cells.count))
            }
            let found = FlatJSON.readLines(bytes, position..<end, keys: &keys, cells: &cells, lines: &lines)
            offset += found.end - position
            position = found.end
            if found.count > 0 {
                lineCount = found.count
                return true
            }
            if !found.isPlain {
                let newline = bytes[position..<end].firstIndex(of: UInt8(ascii: "\n")) ?? end
                let known = keys.names.count
                let (before, place) = (offset, position)
                try readLine(upTo: newline, next: newline + 1)
                if keys.names.count == known { return true }
                // Perhaps it was only the new keys, and now its values can stay as they are written.
                (offset, position, lineCount) = (before, place, 0)
                continue
            }
            if end - position >= LineReader.maximumLength { throw tooLong() }
            if try refill(keeping: &kept) { continue }
            if isLive { return false }
            isFinished = true
            if position == end { return false }
            do {
                try readLine(upTo: end, next: end)
                return true
            } catch {
                tornLine = linesBefore + 1
                return false
            }
        }
    }

    private func tooLong() -> Fault {
        Fault(
            .badData,
            "\(quoted(name)), line \(linesBefore + 1), at byte \(offset): longer than \(LineReader.maximumLength) bytes"
        )
    }

    /// Moves what is still needed to the front and reads a piece behind it. False when the source has no more.
    private mutating func refill(keeping kept: inout [FlatJSON.Cell]) throws(Fault) -> Bool {
        let more = try source.read(upTo: RowReader.pieceBytes)
        if more.isEmpty { return false }
        spare.removeAll(keepingCapacity: true)
        for index in kept.indices where !kept[index].isMissing {
            let start = spare.count
            spare.append(contentsOf: bytes[kept[index].range])
            kept[index].offset = UInt32(start)
        }
        let start = spare.count
        spare.append(contentsOf: bytes[position..<end])
        spare.append(contentsOf: more)
        position = start
        end = spare.count
        spare.append(contentsOf: repeatElement(0, count: FlatJSON.padding))
        swap(&bytes, &spare)
        return true
    }

    /// Reads one line with the strict parser.
    private mutating func readLine(upTo newline: Int, next: Int) throws(Fault) {
        if next - position > LineReader.maximumLength { throw tooLong() }
        let record = try MetricsRecord(
            line: Array(bytes[position..<newline]), name: name, number: linesBefore + 1, offset: offset)
        var count = 0
        for field in record.fields where field.key != "step" {
            let number = keys.number(of: field.key)
            let start = bytes.count
            var kind: FlatJSON.Kind
            switch field.value {
            case .null: kind = .null
            case .integer(let value):
                kind = .integer
                bytes.append(contentsOf: String(value).utf8)
            case .number(let value):
                kind = value.isNaN ? .nan : value.isFinite ? .number : value < 0 ? .minusInfinity : .infinity
                if value.isFinite { bytes.append(contentsOf: value.description.utf8) }
                if !value.isFinite {
                    _ = keys.number(of: field.key + MetricsRecord.companionSuffix, companionOf: number)
                }
            case .string(let value):
                let isPlain = value.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x5c }
                kind = isPlain ? .plain : .string
                bytes.append(contentsOf: value.utf8)
            }
            let cell = FlatJSON.Cell(key: number, kind: kind, offset: start, length: bytes.count - start)
            if count < cells.count { cells[count] = cell } else { cells.append(cell) }
            count += 1
        }
        bytes.append(contentsOf: repeatElement(0, count: FlatJSON.padding))
        lines[0] = FlatJSON.Line(
            step: record.step ?? 0, first: 0, count: count, offset: position, length: next - position)
        offset += next - position
        position = next
        lineCount = 1
    }
}

extension FlatJSON.Cell {
    /// The number, integers included; nil for texts and nothing.
    func double(in bytes: [UInt8]) -> Double? {
        switch kind {
        case .integer, .number: FlatJSON.double(bytes, range)
        case .nan: .nan
        case .infinity: .infinity
        case .minusInfinity: -.infinity
        case .missing, .null, .plain, .string: nil
        }
    }

    /// The value; nil where there is none.
    func value(in bytes: [UInt8]) -> MetricsRecord.Value? {
        switch kind {
        case .missing: nil
        case .null: .null
        case .integer: Int(text(in: bytes)).map { .integer($0) } ?? .number(FlatJSON.double(bytes, range))
        case .plain, .string: .string(text(in: bytes))
        case .number, .nan, .infinity, .minusInfinity: double(in: bytes).map { .number($0) }
        }
    }

    func text(in bytes: [UInt8]) -> String { String(decoding: bytes[range], as: UTF8.self) }
}
