// Runs against each other at equal steps, tokens or times. Runs record at different steps and have batches of different
// sizes; their values are therefore compared where both have come equally far, on the line between neighbouring records.

public import Bytes

/// A table for each metric: what each run had after so many tokens, how far it is from the first run, and which is best.
public struct RunComparison {
    private let runs: [MetricsRun]
    private let keys: [String]
    private let axis: Plot.Axis
    private let width: Int
    private static let rows = 10

    /// - Parameter keys: the metrics to compare.
    public init(_ runs: [MetricsRun], keys: [String], x axis: Plot.Axis, width: Int) {
        self.runs = runs
        self.keys = keys
        self.axis = axis
        self.width = max(40, width)
    }

    /// The tables.
    /// - Throws: `Fault` (bad data) when a run lacks the axis, or no metric is in two runs.
    public func text() throws(Fault) -> String {
        var xs: [[Double?]] = []
        for run in runs { xs.append(try Plot.xValues(of: run, axis)) }
        var tables: [String] = []
        for key in keys {
            let curves = runs.indices.map { index in
                (Plot.points(of: runs[index], key, xs[index]) ?? []).filter(\.y.isFinite)
            }
            if curves.count(where: { !$0.isEmpty }) < 2 { continue }
            tables.append(table(key, curves))
        }
        if tables.isEmpty {
            throw Fault(
                .badData, "no metric to compare that two runs have",
                hint: "--select chooses metrics; by default they are those that end in '_loss'")
        }
        return tables.joined(separator: "\n")
    }

    private struct Column {
        var title: String
        var cells: [String]
    }

    private func table(_ key: String, _ curves: [[Plot.Point]]) -> String {
        let present = runs.indices.filter { !curves[$0].isEmpty }
        let low = present.compactMap { curves[$0].first?.x }.max() ?? 0
        let high = present.compactMap { curves[$0].last?.x }.min() ?? 0
        let meaning = MetricMeaning.of(key)
        let style = NumberStyle(fitting: present.flatMap { curves[$0].map(\.y) })
        var places: [Double] = []
        if low < high {
            places = (0..<RunComparison.rows).map { low + (high - low) * Double($0) / Double(RunComparison.rows - 1) }
            if axis == .step || axis == .tokens { places = places.map { $0.rounded() } }
        } else if low == high {
            places = [low]
        }
        var columns = [
            Column(title: axis == .step ? "step" : axis.rawValue, cells: places.map(place) + ["last", "best"])
        ]
        let at = places.map { x in present.map { RunComparison.value(curves[$0], at: x) } }
        let last = present.map { curves[$0].last }
        let best = present.map { index in
            curves[index].min { meaning.better == .higher ? $0.y > $1.y : $0.y < $1.y }
        }
        // Each run's last and best values lie at places of their own: they are shown without a difference.
        for (column, run) in present.enumerated() {
            var cells = at.map { values in mark(values[column], among: values, meaning, style) }
            cells.append(mark(last[column]?.y, among: last.map { $0?.y }, meaning, style))
            cells.append(meaning.better == nil ? "-" : mark(best[column]?.y, among: best.map { $0?.y }, meaning, style))
            columns.append(Column(title: shortened(printable(runs[run].label), to: 20), cells: cells))
        }
        for (column, run) in present.enumerated().dropFirst() {
            let cells = at.map { values -> String in
                guard let value = values[column], let first = values[0] else { return "-" }
                return signed(value - first, style)
            }
            let title = "\(runs[run].label) - \(runs[present[0]].label)"
            columns.append(Column(title: shortened(printable(title), to: 24), cells: cells + ["", ""]))
        }
        var head = "\(printable(key)) at equal \(axis == .step ? "steps" : axis == .time ? "time" : axis.rawValue)"
        if places.isEmpty { head += ": the runs have no stretch in common" }
        if meaning.better != nil { head += "; * is best" }
        return shortened(head, to: width) + "\n" + blocks(columns).joined(separator: "\n")
    }

    /// Columns that do not fit beside each other stand below each other, each time with the first.
    private func blocks(_ columns: [Column]) -> [String] {
        func size(_ column: Column) -> Int { ([column.title] + column.cells).map(\.count).max() ?? 0 }
        var blocks: [[Column]] = []
        var block = [columns[0]]
        var used = size(columns[0])
        for column in columns.dropFirst() {
            if block.count > 1 && used + 2 + size(column) > width {
                blocks.append(block)
                block = [columns[0]]
                used = size(columns[0])
            }
            block.append(column)
            used += 2 + size(column)
        }
        blocks.append(block)
        return blocks.map { block in
            let sizes = block.map(size)
            let rows = (-1..<block[0].cells.count).compactMap { row -> String? in
                let cells = block.indices.map { row < 0 ? block[$0].title : block[$0].cells[row] }
                if cells.dropFirst().allSatisfy(\.isEmpty) { return nil }
                return trimmedEnd(
                    zip(cells, sizes).map { String(repeating: " ", count: $1 - $0.count) + $0 }.joined(separator: "  "))
            }
            return rows.map { $0 + "\n" }.joined()
        }
    }

    /// On the line between the neighbours of `x`; nil outside of the curve.
    static func value(_ points: [Plot.Point], at x: Double) -> Double? {
        guard let first = points.first, let last = points.last, x >= first.x, x <= last.x else { return nil }
        var low = 0
        var high = points.count - 1
        while low < high {
            let middle = (low + high) / 2
            if points[middle].x < x { low = middle + 1 } else { high = middle }
        }
        let right = points[low]
        if right.x == x || low == 0 { return right.y }
        let left = points[low - 1]
        return left.y + (right.y - left.y) * ((x - left.x) / (right.x - left.x))
    }

    private func mark(
        _ value: Double?, among values: [Double?], _ meaning: MetricMeaning, _ style: NumberStyle
    ) -> String {
        guard let value else { return "- " }
        let known = values.compactMap { $0 }
        let best = meaning.better == .lower ? known.min() : meaning.better == .higher ? known.max() : nil
        return style.text(value) + (known.count > 1 && value == best ? "*" : " ")
    }

    private func place(_ x: Double) -> String {
        axis == .step || axis == .tokens ? String(Int(x)) : fixedText(x, 2)
    }

    private func signed(_ value: Double, _ style: NumberStyle) -> String {
        let text = style.text(value)
        return value > 0 ? "+" + text : text
    }
}
