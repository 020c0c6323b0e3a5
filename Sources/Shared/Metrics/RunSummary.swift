// A run at a glance: a line a metric, with its course as a sparkline.

internal import Bytes

/// Metrics of runs, a line each.
public struct RunSummary {
    private let runs: [MetricsRun]
    private let width: Int
    private static let blocks = Array("▁▂▃▄▅▆▇█")

    public init(_ runs: [MetricsRun], width: Int) {
        self.runs = runs
        self.width = max(40, width)
    }

    public var text: String {
        var lines: [String] = []
        for run in runs {
            if let first = run.steps.first, let last = run.steps.last {
                lines.append(shortened("\(printable(run.label)), steps \(first) to \(last)", to: width))
            } else {
                lines.append("\(printable(run.label)), nothing recorded")
                continue
            }
            let keys = run.keys.filter { MetricMeaning.of($0).role != .clock }
            let names = min(24, max(6, keys.map(\.count).max() ?? 6))
            let spark = max(4, min(40, width - names - 2 - 4 * 11))
            lines.append(
                pad("", names) + "  " + pad("", spark)
                    + ["last", "lowest", "highest", "first"].map { lead($0, 11) }.joined())
            for key in keys {
                let values = (run.values(of: key) ?? []).compactMap { $0?.doubleValue }
                guard let last = values.last, let first = values.first else { continue }
                let finite = values.filter(\.isFinite)
                let style = NumberStyle(fitting: finite)
                let isWhole = finite.allSatisfy { $0 == $0.rounded() && abs($0) < 1e15 }
                func number(_ value: Double?) -> String {
                    guard let value else { return lead("-", 11) }
                    return lead(isWhole && value.isFinite ? String(Int(value)) : style.text(value), 11)
                }
                lines.append(
                    pad(shortened(printable(key), to: names), names) + "  " + pad(sparkline(values, spark), spark)
                        + number(last) + number(finite.min()) + number(finite.max()) + number(first))
            }
        }
        return lines.map { trimmedEnd($0) + "\n" }.joined()
    }

    /// The mean of each stretch, as a block of eight heights; `x` where a stretch holds what is not finite.
    private func sparkline(_ values: [Double], _ count: Int) -> String {
        let buckets = min(count, values.count)
        let finite = values.filter(\.isFinite)
        guard buckets > 0, let low = finite.min(), let high = finite.max() else {
            return String(repeating: "x", count: buckets)
        }
        return String(
            (0..<buckets).map { bucket -> Character in
                let range = values.count * bucket / buckets..<values.count * (bucket + 1) / buckets
                let stretch = values[range]
                if stretch.contains(where: { !$0.isFinite }) { return "x" }
                let mean = stretch.reduce(0) { $0 + $1 / Double(stretch.count) }
                let part = high > low ? (mean / 2 - low / 2) / (high / 2 - low / 2) : 0.5
                return RunSummary.blocks[min(7, max(0, Int(part * 8)))]
            })
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
    private func lead(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }
}
