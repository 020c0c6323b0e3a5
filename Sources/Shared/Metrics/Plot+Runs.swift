// From runs to curves: metrics of one unit share a plot, runs and metrics are coloured so that what belongs together looks
// so.

public import Bytes

extension Plot {
    /// What the x axis counts.
    public enum Axis: String, Sendable, CaseIterable {
        case step, tokens, seconds, time

        var title: String {
            switch self {
            case .step: "step"
            case .tokens: "tokens"
            case .seconds: "seconds of training"
            case .time: "seconds since the first record"
            }
        }
    }

    /// A plot for each unit that the runs' metrics have, with a curve for each run and metric that has numbers.
    /// - Parameters:
    ///   - keys: the metrics to draw.
    ///   - raw: the runs as they were before smoothing, drawn faintly behind the curves.
    ///   - title: nil for titles made from the runs and metrics.
    /// - Throws: `Fault` (bad data) when a run has no x values or there is nothing to draw.
    public static func panels(
        _ runs: [MetricsRun], keys: [String], behind raw: [MetricsRun]? = nil, x axis: Axis,
        isLogarithmic: Bool = false,
        references: [Reference] = [], title: String? = nil
    ) throws(Fault) -> [Plot] {
        var groups: [(unit: String, keys: [String])] = []
        for key in keys where key != axis.rawValue {
            let unit = MetricMeaning.of(key).unit
            if let index = groups.firstIndex(where: { $0.unit == unit }) {
                groups[index].keys.append(key)
            } else {
                groups.append((unit, [key]))
            }
        }
        var panels: [Plot] = []
        for (unit, keys) in groups {
            var series: [Series] = []
            if let raw { series += try curves(raw, keys, axis, isBackground: true) }
            series += try curves(runs, keys, axis, isBackground: false)
            let isVisible = { (y: Double) in y.isFinite && (!isLogarithmic || y > 0) }
            if !series.contains(where: { $0.points.contains { isVisible($0.y) } }) { continue }
            let names = keys.joined(separator: ", ")
            panels.append(
                Plot(
                    title: title ?? (runs.count == 1 ? runs[0].label : names), xTitle: axis.title, yTitle: unit,
                    isLogarithmic: isLogarithmic, series: series, references: panels.isEmpty ? references : []))
        }
        if panels.isEmpty {
            throw Fault(.badData, "no points to plot in \(runs.map { quoted($0.label) }.joined(separator: ", "))")
        }
        return panels
    }

    private static func curves(
        _ runs: [MetricsRun], _ keys: [String], _ axis: Axis, isBackground: Bool
    ) throws(Fault) -> [Series] {
        var series: [Series] = []
        for (runIndex, run) in runs.enumerated() {
            let xs = try xValues(of: run, axis)
            for (metricIndex, key) in keys.enumerated() {
                guard let points = points(of: run, key, xs) else { continue }
                series.append(
                    Series(
                        label: runs.count == 1 ? key : keys.count == 1 ? run.label : "\(run.label): \(key)",
                        points: points, color: runs.count == 1 ? metricIndex : runIndex,
                        dash: runs.count == 1 ? 0 : metricIndex, isBackground: isBackground))
            }
        }
        return series
    }

    /// A metric over x, ascending; nil when it has no numbers.
    static func points(of run: MetricsRun, _ key: String, _ xs: [Double?]) -> [Point]? {
        guard let values = run.values(of: key) else { return nil }
        var points: [Point] = []
        for (x, value) in zip(xs, values) {
            if let x, x.isFinite, let y = value?.doubleValue { points.append(Point(x: x, y: y)) }
        }
        if points.isEmpty { return nil }
        if !zip(points, points.dropFirst()).allSatisfy({ $0.x <= $1.x }) { points.sort { $0.x < $1.x } }
        return points
    }

    /// Where the run's rows stand on the axis.
    /// - Throws: `Fault` (bad data) when the run has no such values.
    static func xValues(of run: MetricsRun, _ axis: Axis) throws(Fault) -> [Double?] {
        if axis == .step { return run.steps.map(Double.init) }
        guard let values = run.values(of: axis.rawValue) else {
            throw Fault(.badData, "\(quoted(run.label)) has no '\(axis.rawValue)' to plot over")
        }
        let numbers = values.map { $0?.doubleValue }
        if axis != .time { return numbers }
        let first = numbers.lazy.compactMap { $0 }.first ?? 0
        return numbers.map { $0.map { $0 - first } }
    }
}
