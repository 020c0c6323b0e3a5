// Rows for other programs: CSV, TSV and a JSON array, several runs joined on the step. Numbers are copied as they are
// written in the file, so that no digit changes, and a run is never held in memory.
//
// CSV is RFC 4180: a header, CRLF at the end of every record, fields in quotes where they must be. TSV has no quoting; tabs
// cannot occur, because control characters are made harmless. Missing values are empty; nan, inf and -inf are spelled as
// DuckDB, pandas and R read them. JSON has null, and for what is not finite null and a companion, as metrics.jsonl has.

public import Bytes

/// Writes the rows of runs.
public struct RowExport {
    public enum Format: Sendable {
        case csv, tsv, json

        var style: FlatJSON.RowStyle {
            switch self {
            case .csv: .csv
            case .tsv: .tsv
            case .json: .json
            }
        }
    }

    private let runs: [SurveyedRun]
    /// Of each run, its columns.
    private let columns: [[String]]
    private let options: RowOptions
    private static let flushBytes = 1 << 17

    public init(_ runs: [SurveyedRun], columns: [[String]], options: RowOptions = RowOptions()) {
        precondition(runs.count == columns.count, "\(runs.count) runs, \(columns.count) lists of columns")
        self.runs = runs
        self.columns = columns
        self.options = options
    }

    /// `step`, and the columns' names, each with its run in front when there are several.
    public var header: [String] {
        ["step"]
            + zip(runs, columns).flatMap { run, columns in
                columns.map { runs.count == 1 ? $0 : "\(run.label):\($0)" }
            }
    }

    /// Writes every row.
    /// - Throws: `Fault` of the readers, and whatever the sink throws.
    public func write(_ format: Format, to sink: any ByteSink) throws {
        let names = header
        var writer: FlatJSON.RowWriter
        switch format {
        case .csv, .tsv:
            let separator = format == .csv ? "," : "\t"
            let newline = format == .csv ? "\r\n" : "\n"
            writer = FlatJSON.RowWriter(
                format.style, labels: names.dropFirst().map { _ in separator }, head: "", tail: newline)
            writer.append(text: names.map { RowExport.field($0, format) }.joined(separator: separator) + newline)
        case .json:
            writer = FlatJSON.RowWriter(
                .json, labels: names.dropFirst().map { ",\(RowExport.quotedJSON($0)):" }, head: "\n{\"step\":",
                tail: "}"
            )
            writer.append(text: "[")
        }
        if runs.count == 1 && options.keepsRows {
            try copy(format, names, &writer, to: sink)
        } else {
            try join(format, names, &writer, to: sink)
        }
        if format == .json { writer.append(text: "\n]\n") }
        try writer.flush(to: sink)
    }

    /// One run, its texts straight from the bytes that were read.
    private func copy(
        _ format: Format, _ names: [String], _ writer: inout FlatJSON.RowWriter, to sink: any ByteSink
    ) throws {
        var reader = RowReader(try runs[0].input.open())
        var map = ColumnMap(columns[0])
        var cells = [FlatJSON.Cell](repeating: .missing, count: columns[0].count)
        while try reader.nextRow() {
            map.update(reader.keys)
            for column in cells.indices {
                let number = map.numbers[column]
                cells[column] = number >= 0 && number < reader.slots.count ? reader.slots[number] : .missing
            }
            if !writer.append(step: reader.step, cells, in: reader.bytes) {
                spell(MetricsRow(step: reader.step, cells: cells, bytes: reader.bytes), format, names, &writer)
            }
            if format == .json { writer.head = Array(",\n{\"step\":".utf8) }
            try writer.flush(to: sink, atLeast: RowExport.flushBytes)
        }
    }

    /// The rows of all runs, merged by step.
    private func join(
        _ format: Format, _ names: [String], _ writer: inout FlatJSON.RowWriter, to sink: any ByteSink
    ) throws {
        var streams: [RowStream] = []
        for (run, columns) in zip(runs, columns) {
            streams.append(try RowStream(run, columns: columns, options: options))
        }
        var heads: [MetricsRow?] = []
        for index in streams.indices { heads.append(try streams[index].next()) }
        while let step = heads.compactMap({ $0?.step }).min() {
            var row = MetricsRow(step: step, cells: [], bytes: [])
            for index in streams.indices {
                guard let head = heads[index], head.step == step else {
                    row.cells += repeatElement(.missing, count: columns[index].count)
                    continue
                }
                let start = UInt32(row.bytes.count)
                row.cells += head.cells.map { cell in
                    var cell = cell
                    cell.offset += start
                    return cell
                }
                row.bytes += head.bytes
                heads[index] = try streams[index].next()
            }
            row.bytes += repeatElement(0, count: FlatJSON.padding)
            if !writer.append(step: step, row.cells, in: row.bytes) { spell(row, format, names, &writer) }
            if format == .json { writer.head = Array(",\n{\"step\":".utf8) }
            try writer.flush(to: sink, atLeast: RowExport.flushBytes)
        }
    }

    /// A row with something in it that cannot be copied as it is.
    private func spell(_ row: MetricsRow, _ format: Format, _ names: [String], _ writer: inout FlatJSON.RowWriter) {
        var text = format == .json ? String(decoding: writer.head, as: UTF8.self) + String(row.step) : String(row.step)
        for (column, cell) in row.cells.enumerated() {
            let value = cell.kind == .missing || cell.kind == .null ? "" : cell.text(in: row.bytes)
            if format != .json {
                text += (format == .csv ? "," : "\t") + RowExport.field(cell.nonfiniteName ?? value, format)
                continue
            }
            let name = names[column + 1]
            text += ",\(RowExport.quotedJSON(name)):"
            if let nonfinite = cell.nonfiniteName {
                text += "null,\(RowExport.quotedJSON(name + MetricsRecord.companionSuffix)):\"\(nonfinite)\""
            } else {
                switch cell.kind {
                case .missing, .null: text += "null"
                case .plain, .string: text += RowExport.quotedJSON(value)
                default: text += value
                }
            }
        }
        writer.append(text: text + (format == .json ? "}" : format == .csv ? "\r\n" : "\n"))
    }

    /// A JSON string in which nothing drives a terminal: what JSON lets stand is escaped, too.
    private static func quotedJSON(_ text: String) -> String {
        var result = ""
        for scalar in JSON.string(text).compact.unicodeScalars {
            switch scalar.value {
            case 0x7f..<0xa0, 0x202a...0x202e, 0x2066...0x2069:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Control characters are made harmless (a CSV is looked at in terminals), so that only commas, quotes and spaces at
    /// the ends are left to guard.
    private static func field(_ text: String, _ format: Format) -> String {
        let text = printable(text)
        if format != .csv { return text }
        let needsQuotes = text.utf8.contains { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "\"") }
        if !needsQuotes && text.utf8.first != 0x20 && text.utf8.last != 0x20 { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            quoted.unicodeScalars.append(scalar)
            if scalar == "\"" { quoted.unicodeScalars.append(scalar) }
        }
        return quoted + "\""
    }
}

extension FlatJSON.Cell {
    /// `nan`, `inf` or `-inf`, for a number that is not finite.
    var nonfiniteName: String? {
        switch kind {
        case .nan: "nan"
        case .infinity: "inf"
        case .minusInfinity: "-inf"
        default: nil
        }
    }
}
