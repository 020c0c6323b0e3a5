// From runs to curves: one for each run and metric, coloured so that what belongs together looks so.

public import Bytes

extension Plot {
    /// What the x axis counts.
    public enum Axis: String, Sendable, CaseIterable {
        case step, tokens, seconds
    }

    /// One curve for each run and metric that has numbers.
    /// - Parameters:
    ///   - window: how many values a smoothed one is the mean of; curves of up to twice as many are left alone.
    ///   - title: nil for a title made from the runs and metrics.
    /// - Throws: `Fault` (bad data) when a run has no x values or there is nothing to draw.
    public init(
        _ runs: [MetricsRun], x axis: Axis, isLogarithmic: Bool = false, smoothingOver window: Int = 1,
        references: [Reference] = [], title: String? = nil
    ) throws(Fault) {
        let metrics = Plot.metrics(of: runs, without: axis)
        var series: [Series] = []
        for (runIndex, run) in runs.enumerated() {
            let xs = try Plot.xValues(of: run, axis)
            for (metricIndex, key) in metrics.enumerated() {
                guard let values = run.values(of: key) else { continue }
                var points: [Point] = []
                for (x, value) in zip(xs, values) {
                    if let x, x.isFinite, let y = value?.doubleValue { points.append(Point(x: x, y: y)) }
                }
                if points.isEmpty { continue }
                if !zip(points, points.dropFirst()).allSatisfy({ $0.x <= $1.x }) { points.sort { $0.x < $1.x } }
                var curve = Series(
                    label: runs.count == 1 ? key : metrics.count == 1 ? run.label : "\(run.label): \(key)",
                    points: points, color: runs.count == 1 ? metricIndex : runIndex,
                    dash: runs.count == 1 ? 0 : metricIndex)
                if window > 1 && points.count > 2 * window {
                    curve.isBackground = true
                    series.append(curve)
                    curve.isBackground = false
                    curve.points = Plot.smoothed(points, over: window)
                }
                series.append(curve)
            }
        }
        if !series.contains(where: { $0.points.contains { $0.y.isFinite && (!isLogarithmic || $0.y > 0) } }) {
            throw Fault(.badData, "no points to plot in \(runs.map { quoted($0.label) }.joined(separator: ", "))")
        }
        let names = metrics.joined(separator: ", ")
        let smoothing = window > 1 ? " (mean of \(window))" : ""
        self.init(
            title: title ?? (runs.count == 1 ? runs[0].label : names),
            xTitle: axis == .step ? "step" : axis == .tokens ? "tokens" : "seconds of training",
            yTitle: (metrics.allSatisfy { $0.hasSuffix("_loss") } ? "loss (nats a token)" : names) + smoothing,
            isLogarithmic: isLogarithmic, series: series, references: references)
    }

    /// The metrics of all runs, in the order of their first appearance.
    private static func metrics(of runs: [MetricsRun], without axis: Axis) -> [String] {
        var metrics: [String] = []
        for key in runs.lazy.flatMap(\.keys) where key != axis.rawValue && !metrics.contains(key) {
            metrics.append(key)
        }
        return metrics
    }

    private static func xValues(of run: MetricsRun, _ axis: Axis) throws(Fault) -> [Double?] {
        if axis == .step { return run.steps.map(Double.init) }
        guard let values = run.values(of: axis.rawValue) else {
            throw Fault(.badData, "\(quoted(run.label)) has no '\(axis.rawValue)' to plot over")
        }
        return values.map { $0?.doubleValue }
    }
}
