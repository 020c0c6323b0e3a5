// metrics-cat: what runs reported, as a table to look at, as files for other programs, as a plot, or as a verdict.

import ArgumentParser
import Bytes
import CommandLine
import Metrics
import SystemPackage

@main
struct MetricsCat: Tool {
    static let configuration = CommandConfiguration(
        commandName: "metrics-cat",
        abstract:
            "Shows the metrics of training runs: as a table, a plot, a web page, or for other programs; and checks them.",
        discussion: """
            Example: metrics-cat --to svg --reference 1.42:entropy --output loss.svg run1 run2

            Reads RUN/metrics.jsonl of each run's directory, metrics files, or standard input (-); also TensorBoard's event \
            files and Hugging Face's trainer_state.json, told by their content. Several runs stand side by side, joined on \
            the step, with columns RUN:METRIC. A run that is still going can be read.

            For a person:
              metrics-cat --plot run
              metrics-cat --summary run
              metrics-cat --follow --plot run
              metrics-cat --compare --x tokens run1 run2
              metrics-cat --to html --output runs.html run1 run2

            For a script (exit code 1 and the first violation on standard error):
              metrics-cat --check 'validation_loss < 2.1' 'no nonfinite' run
              metrics-cat --check 'no stall 60s' 'monotonic step' run

            For dashboards:
              metrics-cat --to tensorboard --output logs run
              metrics-cat --to prometheus --output millrace.prom run
            """,
        version: millraceVersion)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case table, csv, tsv, json, tensorboard, prometheus, openmetrics, svg, html, vega
    }

    @Option(
        help: ArgumentHelp(
            "What to write: table; csv, tsv, json (an array); tensorboard (event files in the directory --output); "
                + "prometheus (latest values, for node_exporter's textfile collector), openmetrics (the history); svg, "
                + "html (one page), vega (Vega-Lite).", valueName: "format"))
    var to = Format.table

    @Flag(help: "Draw the curves with characters.")
    var plot = false

    @Flag(help: "Show a line a metric: its course, last, lowest, highest and first value.")
    var summary = false

    @Flag(help: "Compare runs where they have come equally far (--x; tokens where all runs have them); * is best.")
    var compare = false

    @Flag(help: "Show the table, --plot or --summary again whenever the run has something new, until interrupted.")
    var follow = false

    @Option(
        help: ArgumentHelp(
            "What must hold: 'METRIC < NUMBER' (<=, >, >=, ==, !=) for the last value or min(METRIC), max, mean, first, "
                + "all; 'no nonfinite [GLOB]'; 'no stall TIME'; 'monotonic METRIC'; 'age < TIME'. Repeatable, and words "
                + "with spaces that name no file are more checks.", valueName: "expression"))
    var check: [String] = []

    @Option(
        help: ArgumentHelp(
            "Metrics to show: a pattern with * and ?; repeatable, and words that name no file are more patterns. "
                + "Default: '*_loss' for plots, comparisons and tables of several runs, all but 'time' for tables of "
                + "one, all for files.",
            valueName: "glob"))
    var select: [String] = []

    @Option(
        help: ArgumentHelp(
            "Of each n rows keep those with the lowest and the highest values, after smoothing.", valueName: "n"))
    var every = 1

    @Option(
        help: ArgumentHelp(
            "Smooth what is measured by a bias-corrected exponential moving average: the weight of the past, under 1, "
                + "or a span of n values.", valueName: "weight"))
    var smooth: SmoothingArgument?

    @Option(
        help: ArgumentHelp(
            "Where to write, whole or not at all; - is standard output; a directory for tensorboard.", valueName: "path"
        ))
    var output = "-"

    @Option(help: ArgumentHelp("A dashed horizontal line in the plot; repeatable.", valueName: "value[:label]"))
    var reference: [ReferenceArgument] = []

    @Option(help: ArgumentHelp("What the x axis counts: step, tokens, seconds or time.", valueName: "axis"))
    var x: Plot.Axis?

    @Flag(help: "A logarithmic y axis.")
    var logY = false

    @Option(help: "The title of a plot or page.")
    var title: String?

    @Flag(help: "Show every row and column of a table, however many.")
    var all = false

    @Argument(help: ArgumentHelp("Runs' directories, files of metrics, or - for standard input.", valueName: "run"))
    var inputs: [String] = []

    func validate() throws {
        if let smooth, smooth.weight == nil {
            throw ValidationError(
                "expected '--smooth' to be a weight under 1 or a span of 1 or more, found \(quoted(smooth.text))")
        }
        if every < 1 { throw ValidationError("expected '--every' to be 1 or more, found \(every)") }
        if inputs.count(where: { $0 == "-" }) > 1 { throw ValidationError("standard input can be read once") }
        let views = [plot, summary, compare, !check.isEmpty, to != .table].count { $0 }
        if views > 1 {
            throw ValidationError("expected one of '--to', '--plot', '--summary', '--compare' and '--check'")
        }
        if to == .tensorboard && output == "-" {
            throw ValidationError("expected '--output' with a directory for '--to tensorboard'")
        }
        if [.prometheus, .openmetrics].contains(to) && (every > 1 || smooth != nil) {
            throw ValidationError("'--every' and '--smooth' do not go with '--to \(to.rawValue)'")
        }
        if follow && (to != .table || compare || !check.isEmpty || output != "-" || every > 1 || smooth != nil) {
            throw ValidationError("'--follow' goes with a table, '--plot' or '--summary' on standard output")
        }
    }

    func run() throws {
        // `--select a b RUN`: b is a pattern because a pattern was begun and no such file exists; checks have spaces.
        let isMissing = { (word: String) in word != "-" && FileSystem.kind(of: FilePath(word)) == nil }
        let isCheck = { (word: String) in !check.isEmpty && isMissing(word) && word.contains(" ") }
        let isPattern = { (word: String) in !select.isEmpty && isMissing(word) && !isCheck(word) }
        let paths = inputs.filter { !isPattern($0) && !isCheck($0) }
        let patterns = select + inputs.filter(isPattern)
        let checks = try (check + inputs.filter(isCheck)).map { try MetricsCheck($0) }
        if let word = inputs.first(where: isPattern), paths.isEmpty {
            throw Fault(.noInput, "cannot open \(quoted(word)): No such file or directory")
        }
        if paths.isEmpty { try Self.helpIfInputIsTerminal() }
        if follow { return try follow(paths, patterns) }
        let runs = try survey(paths.isEmpty ? ["-"] : paths)
        if !checks.isEmpty {
            for run in runs {
                if let violation = try MetricsCheck.firstViolation(of: checks, in: run) { throw Exit(.no, violation) }
            }
            return
        }
        let columns = try choose(runs, patterns)
        if to == .tensorboard { return try writeEvents(runs, columns) }
        if output == "-" { return try write(runs, columns, to: FileSink.standardOutput) }
        let file = try AtomicFile(FilePath(output))
        try write(runs, columns, to: file)
        try file.commit()
    }
}

extension MetricsCat {
    var options: RowOptions { RowOptions(smoothing: smooth?.weight ?? 0, every: every) }

    /// Whether metrics are drawn, not listed.
    var isDrawn: Bool { plot || compare || [.svg, .html, .vega].contains(to) }

    private func survey(_ paths: [String]) throws -> [SurveyedRun] {
        try zip(paths, RunLabels.make(paths)).map { path, label in
            let input = try MetricsInput(opening: path, label: label)
            let run = try SurveyedRun(input)
            for note in input.notes { StandardError.writeLine("note: \(note)") }
            if let line = run.tornLine {
                StandardError.writeLine("note: \(quoted(input.name)), line \(line), is not finished and left out")
            }
            return run
        }
    }

    /// Of each run, the metrics to show.
    private func choose(_ runs: [SurveyedRun], _ patterns: [String]) throws -> [[String]] {
        try requireMatch(patterns, runs)
        return runs.map { run in run.keys.filter { isSelected($0, patterns, runCount: runs.count) } }
    }

    func isSelected(_ key: String, _ patterns: [String], runCount: Int) -> Bool {
        let role = MetricMeaning.of(key).role
        if !patterns.isEmpty {
            // A clock over another is drawn for those who name it.
            return patterns.contains { Glob($0).matches(key) && !(isDrawn && role == .clock && $0 != key) }
        }
        if to == .html { return role == .measure || key == "learning_rate" || key == "loss_scale" }
        if isDrawn { return Glob("*_loss").matches(key) }
        if to == .table && !summary { return runCount == 1 ? key != "time" : Glob("*_loss").matches(key) }
        return true
    }

    /// A pattern that fits nothing is a slip worth telling, with what there is to choose from.
    private func requireMatch(_ patterns: [String], _ runs: [SurveyedRun]) throws {
        let present = runs.reduce(into: Set(["step"])) { $0.formUnion($1.keys) }
        if present.count == 1 { return }  // nothing but the step: a run that has just begun
        for pattern in patterns where !present.contains(where: Glob(pattern).matches) {
            throw Fault(
                .usage, "no metric matches \(quoted(pattern))",
                hint: "the runs have \(present.sorted().map(printable).joined(separator: ", "))")
        }
    }

    /// What COLUMNS says, else the terminal, else `otherwise`.
    static func terminalWidth(otherwise: Int) -> Int {
        Host.environment("COLUMNS").flatMap { Int($0) } ?? StandardOutput.terminalWidth ?? otherwise
    }

    /// Colour for terminals that have it and users who want it (no-color.org).
    static var isColored: Bool {
        StandardOutput.isTerminal && (Host.environment("NO_COLOR") ?? "").isEmpty && Host.environment("TERM") != "dumb"
    }
}

extension Plot.Axis: ExpressibleByArgument {}
