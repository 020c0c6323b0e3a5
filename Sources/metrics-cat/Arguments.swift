// What the command line's words mean: reference lines, amounts of smoothing, and names for the runs.

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

/// How strongly to smooth: a weight under 1, as TensorBoard's slider has it, or a span of n values, as pandas calls it, whose
/// weight is (n − 1) / (n + 1).
struct SmoothingArgument: ExpressibleByArgument {
    let text: String
    /// Of the past, in 0 ..< 1; nil when the text says something else.
    let weight: Double?

    init(argument: String) {
        text = argument
        guard let value = Double(argument), value > 0, value.isFinite else {
            weight = nil
            return
        }
        weight = value < 1 ? value : (value - 1) / (value + 1)
    }

    var defaultValueDescription: String { text }
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
        if parts.count > 1 && ["metrics.jsonl", "trainer_state.json"].contains(parts.last.map(String.init) ?? "") {
            parts.removeLast()
        }
        let last = parts.last.map(String.init) ?? path
        return last.hasSuffix(".jsonl") && last != ".jsonl" ? String(last.dropLast(6)) : last
    }
}
