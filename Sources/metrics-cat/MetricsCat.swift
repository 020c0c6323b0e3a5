// metrics-cat: what runs reported, as a table to look at, as CSV for other programs, or as a plot.

import ArgumentParser
import Bytes
import CommandLine
import Metrics
import SystemPackage

@main
struct MetricsCat: Tool {
    static let configuration = CommandConfiguration(
        commandName: "metrics-cat",
        abstract: "Shows the metrics of training runs as a table, CSV or an SVG plot.",
        discussion: """
            Example: metrics-cat --to svg --reference 1.42:entropy --output loss.svg run1 run2

            Reads RUN/metrics.jsonl of each run's directory, metrics files, or standard input (-). Several runs stand side \
            by side, joined on the step, with columns RUN:METRIC. A run that is still going can be read.
            """,
        version: millraceVersion)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case table, csv, svg
    }

    @Option(help: "What to write: table, csv or svg.")
    var to = Format.table

    @Option(
        help: ArgumentHelp(
            "Metrics to show: a pattern with * and ?; repeatable, and words that name no file are more patterns. "
                + "Default: '*_loss' for plots and for tables of several runs, all but 'time' for tables of one, all "
                + "for CSV.",
            valueName: "glob"))
    var select: [String] = []

    @Option(help: ArgumentHelp("Where to write, whole or not at all; - is standard output.", valueName: "path"))
    var output = "-"

    @Option(help: ArgumentHelp("A dashed horizontal line in the plot; repeatable.", valueName: "value[:label]"))
    var reference: [ReferenceArgument] = []

    @Option(help: "What the plot's x axis counts: step, tokens or seconds.")
    var x = Plot.Axis.step

    @Flag(help: "A logarithmic y axis.")
    var logY = false

    @Option(
        help: ArgumentHelp(
            "Smooth curves of more than 2n values by a mean over n; the values stay faintly visible.", valueName: "n"))
    var smooth = 1

    @Option(help: "The plot's title.")
    var title: String?

    @Flag(help: "Show every row and column of a table, however many.")
    var all = false

    @Argument(help: ArgumentHelp("Runs' directories, metrics files, or - for standard input.", valueName: "run"))
    var inputs: [String] = []

    func validate() throws {
        if smooth < 1 { throw ValidationError("expected '--smooth' to be 1 or more, found \(smooth)") }
        if inputs.count(where: { $0 == "-" }) > 1 { throw ValidationError("standard input can be read once") }
    }

    func run() throws {
        // `--select a b RUN`: b is a pattern because a pattern was begun and no such file exists.
        let isPattern = { (word: String) in
            !select.isEmpty && word != "-" && FileSystem.kind(of: FilePath(word)) == nil
        }
        let paths = inputs.filter { !isPattern($0) }
        let words = inputs.filter(isPattern)
        if let word = words.first, paths.isEmpty {
            throw Fault(.noInput, "cannot open \(quoted(word)): No such file or directory")
        }
        if paths.isEmpty { try Self.helpIfInputIsTerminal() }
        let runs = try readRuns(paths.isEmpty ? ["-"] : paths, patterns: select + words)
        if output == "-" { return try write(runs, to: FileSink.standardOutput) }
        let file = try AtomicFile(FilePath(output))
        try write(runs, to: file)
        try file.commit()
    }
}

extension MetricsCat {
    private func write(_ runs: [MetricsRun], to sink: any ByteSink) throws {
        switch to {
        case .csv: try MetricsTable(runs).writeCSV(to: sink)
        case .svg:
            let plot = try Plot(
                runs, x: x, isLogarithmic: logY, smoothingOver: smooth, references: reference.map(\.reference),
                title: title)
            try sink.write(Array(plot.svg.utf8))
        case .table:
            let omission = try MetricsTable(runs).writeText(
                to: sink, maximumRows: all ? nil : 40, width: all ? nil : Self.terminalWidth)
            if omission.shownRows < omission.rows {
                StandardError.writeLine("note: \(omission.shownRows) of \(omission.rows) rows; --all shows every one")
            }
            if !omission.columns.isEmpty {
                let names = omission.columns.map(printable).joined(separator: ", ")
                StandardError.writeLine("note: no room for \(names); --select chooses, --all shows every one")
            }
        }
    }

    private func readRuns(_ paths: [String], patterns words: [String]) throws -> [MetricsRun] {
        let patterns = words.isEmpty ? defaultPatterns(runCount: paths.count) : words.map(Glob.init)
        func isSelected(_ key: String) -> Bool {
            to == .svg && key == x.rawValue || patterns.contains { $0.matches(key) }
                || words.isEmpty && to == .table && paths.count == 1 && key != "time"
        }
        var runs: [MetricsRun] = []
        for (path, label) in zip(paths, RunLabels.make(paths)) {
            var reader = try MetricsReader(opening: path)
            runs.append(try MetricsRun(label: label, reader: &reader, select: isSelected))
            if let line = reader.tornLine {
                StandardError.writeLine("note: \(quoted(reader.name)), line \(line), is not finished and left out")
            }
        }
        try requireMatch(words, runs)
        return runs
    }

    private func defaultPatterns(runCount: Int) -> [Glob] {
        switch to {
        case .csv: [Glob("*")]
        case .svg: [Glob("*_loss")]
        case .table: runCount == 1 ? [] : [Glob("*_loss")]
        }
    }

    /// A pattern that fits nothing is a slip worth telling, with what there is to choose from.
    private func requireMatch(_ patterns: [String], _ runs: [MetricsRun]) throws {
        let present = runs.reduce(into: Set(["step"])) { $0.formUnion($1.keys) }
        let others = runs.reduce(into: Set<String>()) { $0.formUnion($1.otherKeys) }
        if present.count + others.count == 1 { return }  // nothing but the step: a run that has just begun
        for pattern in patterns where !present.contains(where: Glob(pattern).matches) {
            throw Fault(
                .usage, "no metric matches \(quoted(pattern))",
                hint: "the runs have \(present.union(others).sorted().map(printable).joined(separator: ", "))")
        }
    }

    /// What COLUMNS says, else the terminal, else 120.
    private static var terminalWidth: Int {
        Host.environment("COLUMNS").flatMap { Int($0) } ?? StandardOutput.terminalWidth ?? 120
    }
}

extension Plot.Axis: ExpressibleByArgument {}
