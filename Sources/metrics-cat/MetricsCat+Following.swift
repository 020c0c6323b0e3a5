// --follow: the same view again and again while a run goes on. On a terminal it is redrawn in its place; into a pipe go new
// rows, one a line, as they come, because what was written cannot be taken back.

import Bytes
import CommandLine
import Metrics
import SystemPackage

extension MetricsCat {
    func follow(_ paths: [String], _ patterns: [String]) throws {
        if paths.isEmpty || paths.contains("-") {
            throw Fault(.usage, "cannot follow standard input", hint: "name the run's directory or its metrics.jsonl")
        }
        Interruption.exitAtOnce()
        let axis = (x ?? .step).rawValue
        let runs = zip(paths, RunLabels.make(paths)).map { path, label in
            FollowedRun(path, label: label) {
                isSelected($0, patterns, runCount: paths.count) || plot && $0 == axis
            }
        }
        // Runs that are not there yet may come; a slip in a name should not wait for ever without a word.
        for path in paths where FileSystem.kind(of: FilePath(path)) == nil {
            StandardError.writeLine("note: \(quoted(path)) is not there yet")
        }
        if StandardOutput.isTerminal { try redraw(runs, patterns) } else { try stream(runs) }
    }

    private func redraw(_ followed: [FollowedRun], _ patterns: [String]) throws {
        var runs = followed
        var lines = 0
        var size = (0, 0)
        while true {
            var isNew = false
            for index in runs.indices where try runs[index].update() { isNew = true }
            let now = (Self.terminalWidth(otherwise: 80), StandardOutput.terminalHeight ?? 24)
            if isNew || now != size {
                let text = try picture(runs.map(\.run), patterns, width: now.0, height: now.1 - 1)
                // Up to where the last picture began, and clear from there.
                try FileSink.standardOutput.write((lines > 0 ? "\u{1b}[\(lines)A" : "") + "\r\u{1b}[J" + text)
                lines = text.count { $0 == "\n" }
                size = now
            }
            Host.sleep(seconds: 0.5)
        }
    }

    /// At most `height` lines.
    private func picture(_ runs: [MetricsRun], _ patterns: [String], width: Int, height: Int) throws -> String {
        var text: String
        if runs.allSatisfy({ $0.steps.isEmpty }) {
            text = "waiting for records\n"
        } else if plot || summary {
            let keys = Self.union(runs.map { $0.keys.filter { isSelected($0, patterns, runCount: runs.count) } })
            text = try render(runs, keys, width: width, height: height)
        } else {
            let sink = MemorySink()
            _ = try MetricsTable(runs).writeText(to: sink, maximumRows: max(3, height - 1), width: width)
            text = String(decoding: sink.bytes, as: UTF8.self)
        }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).prefix(height)
        text = lines.joined(separator: "\n")
        return text.hasSuffix("\n") ? text : text + "\n"
    }

    /// New rows of all runs as they come; a row is written when its step is over.
    private func stream(_ followed: [FollowedRun]) throws {
        var runs = followed
        var written = runs.map { _ in -1 }
        while true {
            for index in runs.indices where try runs[index].update() {
                let run = runs[index].run
                // A run that went back to a checkpoint goes on from there.
                if let last = run.steps.last, last < written[index] { written[index] = last - 1 }
                for (row, step) in run.steps.enumerated().dropLast() where step > written[index] {
                    let cells = run.keys.compactMap { key in
                        run.values(of: key)?[row].map { value in "\(printable(key))=\(Self.text(value))" }
                    }
                    let name = runs.count > 1 ? printable(run.label) + "  " : ""
                    try FileSink.standardOutput.write("\(name)step=\(step)  \(cells.joined(separator: "  "))\n")
                    written[index] = step
                }
            }
            Host.sleep(seconds: 0.5)
        }
    }

    private static func text(_ value: MetricsRecord.Value) -> String {
        switch value {
        case .integer(let value): String(value)
        case .number(let value): NumberStyle(fitting: [value]).text(value)
        case .string(let value): printable(value)
        case .null: "-"
        }
    }
}
