// CSV by RFC 4180: a header, CRLF at the end of every record, fields in quotes where they must be. Missing values are
// empty; numbers keep every digit; nan, inf and -inf are spelled as DuckDB, pandas and R read them.

public import Bytes

extension MetricsTable {
    /// Writes every row.
    /// - Throws: whatever the sink throws.
    public func writeCSV(to sink: any ByteSink) throws {
        let buffer = BufferedSink(sink)
        try buffer.write(MetricsTable.csvLine(header))
        for row in 0..<rowCount {
            let cells = columns.map { MetricsTable.exactText(value(row: row, column: $0)) }
            try buffer.write(MetricsTable.csvLine([String(steps[row])] + cells))
        }
        try buffer.flush()
    }

    static func exactText(_ value: MetricsRecord.Value?) -> String {
        switch value {
        case nil, .null: ""
        case .integer(let value): String(value)
        case .number(let value): value.description
        case .string(let value): value
        }
    }

    private static func csvLine(_ cells: [String]) -> String {
        cells.map(csvField).joined(separator: ",") + "\r\n"
    }

    /// Control characters are made harmless (a CSV is looked at in terminals), so that only commas, quotes and spaces at
    /// the ends are left to guard.
    private static func csvField(_ text: String) -> String {
        let text = printable(text)
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
