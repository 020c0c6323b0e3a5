// What the command line's words mean: reference lines, and names for the runs.

import ArgumentParser
import Metrics

/// `VALUE` or `VALUE:LABEL`.
struct ReferenceArgument: ExpressibleByArgument {
    let reference: Plot.Reference

    init?(argument: String) {
        let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let value = Double(parts[0]), value.isFinite else { return nil }
        // As it was typed, unless a program typed it with all its digits.
        let number = parts[0].count > 8 ? NumberStyle(fitting: [value]).text(value) : String(parts[0])
        let label = parts.count == 2 && !parts[1].isEmpty ? "\(parts[1]) \(number)" : number
        reference = Plot.Reference(value: value, label: label)
    }
}

enum RunLabels {
    /// The last component of each path that says something (`a/run1/metrics.jsonl` is `run1`); whole paths where those
    /// would not tell the runs apart.
    static func make(_ paths: [String]) -> [String] {
        let short = paths.map(label)
        if Set(short).count == short.count { return short }
        var seen: [String: Int] = [:]
        return paths.map { path in
            seen[path, default: 0] += 1
            let times = seen[path] ?? 1
            return times == 1 ? path : "\(path)#\(times)"
        }
    }

    private static func label(_ path: String) -> String {
        if path == "-" { return "stdin" }
        var parts = path.split(separator: "/").filter { $0 != "." }
        if parts.count > 1 && parts.last.map(String.init) == MetricsReader.fileName { parts.removeLast() }
        let last = parts.last.map(String.init) ?? path
        return last.hasSuffix(".jsonl") && last != ".jsonl" ? String(last.dropLast(6)) : last
    }
}
