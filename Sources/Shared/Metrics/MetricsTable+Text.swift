// The terminal's table: aligned, a few digits, no more rows and columns than a person reads. Where rows are many, each
// stretch of the run shows the row that says most, so that rare validation losses are not thinned away.

public import Bytes

extension MetricsTable {
    /// What a table left out.
    public struct Omission: Sendable, Equatable {
        public var shownRows = 0
        public var rows = 0
        /// Names of columns that did not fit.
        public var columns: [String] = []
    }

    /// Writes the table.
    /// - Parameters:
    ///   - maximumRows: rows at most, nil for all.
    ///   - width: characters in a line at most, nil for any; columns are left out to fit, losses last.
    /// - Returns: what is not shown.
    /// - Throws: whatever the sink throws.
    public func writeText(to sink: any ByteSink, maximumRows: Int?, width: Int?) throws -> Omission {
        let rows = rowsToShow(maximumRows, isWhole: width == nil)
        let step = TextColumn(title: "step", cells: rows.map { String(steps[$0]) })
        let texts = columns.map { column in TextColumn(column.name, rows.map { value(row: $0, column: column) }) }
        var omission = Omission(shownRows: rows.count, rows: rowCount)
        var used = step.width
        var fitting = Set<Int>()
        // Losses are what people look for: they get their room first. Groups and events come when all else has its place.
        let ranks = columns.map { rank($0) }
        let byRank = (0...3).flatMap { rank in columns.indices.filter { ranks[$0] == rank } }
        for index in byRank where width.map({ used + 2 + texts[index].width <= $0 }) ?? true {
            used += 2 + texts[index].width
            fitting.insert(index)
        }
        omission.columns = columns.indices.filter { !fitting.contains($0) }.map { columns[$0].name }
        // The first record of a run is that of a checkpoint, but it is not what a table begins with.
        let isLast = { (index: Int) in width != nil && ranks[index] == 3 }
        let order = columns.indices.filter { !isLast($0) } + columns.indices.filter(isLast)
        let shown = [step] + order.filter(fitting.contains).map { texts[$0] }
        let buffer = BufferedSink(sink)
        try buffer.write(shown.map { $0.padded($0.title) }.joined(separator: "  ") + "\n")
        for row in rows.indices {
            try buffer.write(shown.map { $0.padded($0.cells[row]) }.joined(separator: "  ") + "\n")
        }
        try buffer.flush()
        return omission
    }

    private func rank(_ column: Column) -> Int {
        let key = runs[column.run].keys[column.index]
        if key.hasSuffix("_loss") { return 0 }
        return MetricMeaning.isOfEvents(key) ? 3 : key.contains("_group_") ? 2 : 1
    }

    /// Rows that hold more than clocks and events: that a run saved before its first step is no row of its curve. All of them
    /// in a table that is nothing but events, or shown whole.
    private func measuredRows(isWhole: Bool) -> [Int] {
        let measures = columns.filter {
            let key = runs[$0.run].keys[$0.index]
            return key != "tokens" && MetricMeaning.of(key).role != .clock && rank($0) < 3
        }
        if isWhole || measures.isEmpty { return Array(0..<rowCount) }
        return (0..<rowCount).filter { row in measures.contains { value(row: row, column: $0) != nil } }
    }

    /// The first row, the last, and of each equal stretch between them the latest of those with the most values.
    private func rowsToShow(_ maximum: Int?, isWhole: Bool) -> [Int] {
        let all = measuredRows(isWhole: isWhole)
        guard let maximum, all.count > max(maximum, 2), let first = all.first, let last = all.last else { return all }
        let stretches = max(maximum, 2) - 2
        let inner = all.count - 2
        var rows = [first]
        for stretch in 0..<stretches {
            let range = all[(1 + inner * stretch / stretches)..<(1 + inner * (stretch + 1) / stretches)]
            var best = range.first ?? first
            var most = -1
            for row in range {
                let count = columns.count { value(row: row, column: $0).map { $0 != .null } ?? false }
                if count >= most { (best, most) = (row, count) }
            }
            rows.append(best)
        }
        return rows + [last]
    }
}

/// A column as text.
private struct TextColumn {
    let title: String
    let cells: [String]
    let width: Int

    init(title: String, cells: [String]) {
        self.title = printable(title)
        self.cells = cells
        width = max(self.title.count, cells.lazy.map(\.count).max() ?? 0)
    }

    init(_ title: String, _ values: [MetricsRecord.Value?]) {
        let style = NumberStyle(
            fitting: values.lazy.compactMap { if case .number(let value)? = $0 { value } else { nil } })
        self.init(
            title: title,
            cells: values.map { value in
                switch value {
                case nil, .null: "-"
                case .integer(let value): String(value)
                case .number(let value): style.text(value)
                case .string(let value): TextColumn.shortened(printable(value))
                }
            })
    }

    func padded(_ text: String) -> String { String(repeating: " ", count: width - text.count) + text }

    private static func shortened(_ text: String) -> String { text.count > 24 ? text.prefix(23) + "…" : text }
}
