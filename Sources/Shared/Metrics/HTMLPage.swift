// One page with everything in it: the curves of one or several runs, to zoom and hover over, and what their
// configurations differ in. It loads nothing, so that it can be mailed, archived and opened years later; without scripts it
// shows the plots as they stand.

public import Bytes

/// A self-contained HTML document.
public struct HTMLPage {
    private let title: String
    private let runs: [MetricsRun]
    private let keys: [String]
    private let descriptions: [JSON?]
    private let panels: [Plot]
    private let isLogarithmic: Bool
    private let smoothing: Double
    private let axis: Plot.Axis
    private let references: [Plot.Reference]

    /// - Parameters:
    ///   - runs: with `tokens`, `seconds` and `time` among their metrics where they have them.
    ///   - keys: the metrics to draw.
    ///   - descriptions: of each run its run.json, where there is one.
    ///   - panels: the same runs as plots, which say what belongs together.
    public init(
        title: String, runs: [MetricsRun], keys: [String], descriptions: [JSON?], panels: [Plot],
        x axis: Plot.Axis = .step,
        isLogarithmic: Bool = false, smoothing: Double = 0, references: [Plot.Reference] = []
    ) {
        precondition(runs.count == descriptions.count, "\(runs.count) runs, \(descriptions.count) descriptions")
        self.title = title
        self.runs = runs
        self.keys = keys
        self.descriptions = descriptions
        self.panels = panels
        self.axis = axis
        self.isLogarithmic = isLogarithmic
        self.smoothing = smoothing
        self.references = references
    }

    public var html: String {
        // A `<` in the data could end the script element; JSON may spell it otherwise.
        let data = JSON.object(data).compact.split(separator: "<", omittingEmptySubsequences: false)
            .joined(separator: "\\u003c")
        let picture = PlotGrid(title: title, panels: panels).svg.split(separator: "\n").dropFirst().joined(
            separator: "\n")
        return """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
            <title>\(escaped(title))</title>
            <style>
            \(HTMLPage.style)
            </style>
            </head>
            <body>
            <header><h1>\(escaped(title))</h1><div id="controls"></div></header>
            <main id="panels"></main>
            <section id="configuration"></section>
            <noscript>
            \(picture)
            </noscript>
            <script type="application/json" id="data">\(data)</script>
            <script>
            \(HTMLPage.script)
            </script>
            </body>
            </html>

            """
    }

    private var data: JSONObject {
        let list = zip(runs, descriptions).map { run, description -> JSON in
            var flat = JSONObject()
            if let description { HTMLPage.flatten(description, prefix: "", into: &flat) }
            return ["label": .string(run.label), "config": .object(flat)]
        }
        var groups: [(unit: String, series: [JSON])] = []
        for key in keys {
            let unit = MetricMeaning.of(key).unit
            for (index, run) in runs.enumerated() {
                guard let series = HTMLPage.series(run, index, key) else { continue }
                if let group = groups.firstIndex(where: { $0.unit == unit }) {
                    groups[group].series.append(series)
                } else {
                    groups.append((unit, [series]))
                }
            }
        }
        return [
            "title": .string(title), "axis": .string(axis.rawValue), "log": .bool(isLogarithmic),
            "smooth": .number(smoothing), "runs": .array(list),
            "panels": .array(groups.map { ["unit": .string($0.unit), "series": .array($0.series)] }),
            "references": .array(references.map { ["value": .number($0.value), "label": .string($0.label)] }),
        ]
    }

    /// A metric's points, thinned to what a screen shows, and where they stand on each axis.
    private static func series(_ run: MetricsRun, _ index: Int, _ key: String) -> JSON? {
        guard let values = run.values(of: key) else { return nil }
        let points = values.indices.compactMap { row in
            values[row]?.doubleValue.map { Plot.Point(x: Double(row), y: $0) }
        }
        if points.isEmpty { return nil }
        let thin = Plot.thinned(points, width: Plot.pixelColumns)
        let rows = thin.map { Int($0.x) }
        var object: JSONObject = ["run": .integer(index), "key": .string(key)]
        object["step"] = .array(rows.map { .integer(run.steps[$0]) })
        for clock in ["tokens", "seconds", "time"] {
            guard let values = run.values(of: clock) else { continue }
            object[clock] = .array(rows.map { json(values[$0]?.doubleValue) })
        }
        object["y"] = .array(thin.map { json($0.y) })
        let odd = thin.indices.filter { !thin[$0].y.isFinite }
        object["nonfinite"] = .array(odd.map { [.integer($0), .string(MetricsRecord.name(ofNonfinite: thin[$0].y))] })
        return .object(object)
    }

    private static func json(_ value: Double?) -> JSON {
        guard let value, value.isFinite else { return .null }
        return value == value.rounded() && abs(value) < 1e15 ? .integer(Int(value)) : .number(value)
    }

    /// Nested objects as dotted names; arrays as their text.
    private static func flatten(_ json: JSON, prefix: String, into flat: inout JSONObject) {
        guard let members = json.objectValue?.members else {
            flat[prefix] = .string(json.stringValue ?? json.compact)
            return
        }
        for (key, value) in members { flatten(value, prefix: prefix.isEmpty ? key : prefix + "." + key, into: &flat) }
    }
}
