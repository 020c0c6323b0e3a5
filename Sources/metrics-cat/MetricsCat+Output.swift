// Each format and view: the runs in, text out.

import Bytes
import CommandLine
import Metrics
import SystemPackage

extension MetricsCat {
    func write(_ runs: [SurveyedRun], _ columns: [[String]], to sink: any ByteSink) throws {
        if plot || summary || compare { return try view(runs, columns, to: sink) }
        switch to {
        case .csv: try RowExport(runs, columns: columns, options: options).write(.csv, to: sink)
        case .tsv: try RowExport(runs, columns: columns, options: options).write(.tsv, to: sink)
        case .json: try RowExport(runs, columns: columns, options: options).write(.json, to: sink)
        case .prometheus: try PrometheusText(runs, columns: columns).writeLatest(to: sink)
        case .openmetrics:
            let leftOut = try PrometheusText(runs, columns: columns).writeHistory(to: sink)
            if leftOut > 0 {
                StandardError.writeLine(
                    "note: \(leftOut) samples left out whose time is not after that of the one before")
            }
        case .svg, .vega, .html: try draw(runs, columns, to: sink)
        case .table: try writeTable(MetricsTable(try load(runs, columns)), to: sink)
        case .tensorboard: break  // written into a directory, by `writeEvents`
        }
    }

    func writeEvents(_ runs: [SurveyedRun], _ columns: [[String]]) throws {
        for (run, columns) in zip(runs, columns) {
            var directory = FilePath(output)
            if runs.count > 1 {
                directory.append(
                    run.label.split(separator: "/").filter { $0 != "." && $0 != ".." }.joined(separator: "_"))
            }
            try EventExport(run, columns: columns, options: options).write(to: directory)
        }
    }

    private func writeTable(_ table: MetricsTable, to sink: any ByteSink) throws {
        let omission = try table.writeText(
            to: sink, maximumRows: all ? nil : 40, width: all ? nil : Self.terminalWidth(otherwise: 120))
        // A long run is thinned before it comes here.
        let rows = table.runs.count == 1 ? table.runs[0].rowCount : omission.rows
        if omission.shownRows < rows {
            StandardError.writeLine("note: \(omission.shownRows) of \(rows) rows; --all shows every one")
        }
        if !omission.columns.isEmpty {
            StandardError.writeLine(
                "note: no room for \(Self.listed(omission.columns)); --select chooses, --all shows every one")
        }
    }

    /// A few names, groups of a metric as one.
    private static func listed(_ columns: [String]) -> String {
        var names: [String] = []
        for column in columns {
            let name = column.firstRange(of: "_group_").map { column[..<$0.upperBound] + "*" } ?? column
            if !names.contains(name) { names.append(name) }
        }
        let (shown, rest) = (names.prefix(12).map(printable).joined(separator: ", "), names.count - 12)
        return rest > 0 ? "\(shown) and \(rest) more" : shown
    }

    private func draw(_ runs: [SurveyedRun], _ columns: [[String]], to sink: any ByteSink) throws {
        let keys = Self.union(columns)
        let axis = x ?? .step
        // The page's reader chooses the axis, and how much to smooth: it gets what was measured.
        let clocks = to == .html ? ["tokens", "seconds", "time"] : [axis.rawValue]
        let loaded = try load(runs, columns, with: clocks, options: to == .html ? RowOptions(every: every) : options)
        let raw = to != .html && smooth != nil ? try load(runs, columns, with: clocks, options: RowOptions()) : nil
        let panels = try Plot.panels(
            loaded, keys: keys, behind: raw, x: axis, isLogarithmic: logY, references: reference.map(\.reference),
            title: title)
        let name = title ?? runs.map(\.label).joined(separator: ", ")
        let grid = PlotGrid(title: name, panels: panels)
        switch to {
        case .html:
            let page = HTMLPage(
                title: name, runs: loaded, keys: keys, descriptions: try runs.map { try $0.input.description() },
                panels: panels, x: axis, isLogarithmic: logY, smoothing: smooth?.weight ?? 0,
                references: reference.map(\.reference))
            try sink.write(Array(page.html.utf8))
        case .vega: try sink.write(Array(grid.vegaLite.pretty.utf8))
        default: try sink.write(Array(grid.svg.utf8))
        }
    }

    /// --plot, --summary and --compare.
    private func view(_ runs: [SurveyedRun], _ columns: [[String]], to sink: any ByteSink) throws {
        let width = Self.terminalWidth(otherwise: 80)
        let keys = Self.union(columns)
        if compare {
            let hasTokens = runs.allSatisfy { $0.keys.contains("tokens") }
            let axis = x ?? (hasTokens ? .tokens : .step)
            let loaded = try load(runs, columns, with: [axis.rawValue])
            let text = try RunComparison(loaded, keys: keys.filter { $0 != axis.rawValue }, x: axis, width: width)
                .text()
            return try sink.write(Array(text.utf8))
        }
        let loaded = try load(runs, columns, with: plot ? [(x ?? .step).rawValue] : [])
        let text = try render(loaded, keys, width: width, height: nil)
        try sink.write(Array(text.utf8))
    }

    /// A plot with its summary below, or the summary alone.
    /// - Parameter height: lines for everything; nil for a height that reads well.
    func render(_ runs: [MetricsRun], _ keys: [String], width: Int, height: Int?) throws -> String {
        let shown = runs.map { $0.selecting(keys) }
        let summary = RunSummary(shown, width: width).text
        if !plot { return summary }
        let panels = try Plot.panels(
            runs, keys: keys, x: x ?? .step, isLogarithmic: logY, references: reference.map(\.reference), title: title)
        var rows = 14
        if let height {
            let lines = summary.count { $0 == "\n" } + panels.count * 6
            rows = min(24, max(4, (height - lines) / panels.count))
        }
        let isColored = Self.isColored && output == "-"
        return TextPlot(panels, width: width, height: rows, isColored: isColored).text + "\n" + summary
    }

    private func load(
        _ runs: [SurveyedRun], _ columns: [[String]], with clocks: [String] = [], options: RowOptions? = nil
    ) throws -> [MetricsRun] {
        try zip(runs, columns).map { run, columns in
            let more = clocks.filter { !columns.contains($0) && run.keys.contains($0) }
            return try MetricsRun(
                run, columns: columns + more, options: options ?? self.options,
                limit: all ? nil : MetricsRun.drawnRows)
        }
    }

    /// The metrics of all runs, in the order of their first appearance.
    static func union(_ columns: [[String]]) -> [String] {
        var seen = Set<String>()
        let keys = columns.flatMap { $0 }.filter { seen.insert($0).inserted }
        // A run's first record is that of a checkpoint, but a page begins with losses.
        return keys.filter { !MetricMeaning.isOfEvents($0) } + keys.filter(MetricMeaning.isOfEvents)
    }
}
