// The plots as a Vega-Lite specification: data and marks in one JSON object, for notebooks, papers and whoever wants to go
// on drawing.

public import Bytes

extension PlotGrid {
    /// The specification (Vega-Lite 5), with the data in it: a plot a unit, each with its own y axis, that can be zoomed and
    /// hovered over. Curves are thinned to what a screen shows. What is not finite is null and has `nonfinite` beside it.
    public var vegaLite: JSON {
        .object([
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json", "title": .string(title),
            "vconcat": .array(panels.map(PlotGrid.view)), "config": ["view": ["continuousWidth": 640]],
        ])
    }

    private static func view(_ plot: Plot) -> JSON {
        let layers: [JSON] = [
            [
                "params": [["name": .string("zoom"), "select": "interval", "bind": "scales"]],
                "mark": ["type": "line", "tooltip": true, "invalid": "break-paths-show-domains"],
                "encoding": [
                    "x": [
                        "field": "x", "type": "quantitative", "title": .string(plot.xTitle), "axis": ["format": "~s"],
                    ],
                    "y": [
                        "field": "y", "type": "quantitative", "title": .string(plot.yTitle),
                        "scale": plot.isLogarithmic ? ["type": "log"] : ["zero": false],
                    ],
                    "color": ["field": "curve", "type": "nominal", "title": .null],
                    "opacity": [
                        "condition": ["test": "datum.raw", "value": 0.25], "value": 1,
                    ],
                    "detail": ["field": "raw"],
                ],
            ]
        ]
        let rules: [JSON] = plot.references.map { reference in
            [
                "data": ["values": [["y": .number(reference.value)]]],
                "mark": ["type": "rule", "strokeDash": [6, 5], "tooltip": .string(reference.label)],
                "encoding": ["y": ["field": "y", "type": "quantitative"]],
            ]
        }
        return [
            "width": 640, "height": 240, "title": .string(plot.yTitle),
            "data": ["values": .array(plot.series.flatMap { values($0, plot) })], "layer": .array(layers + rules),
        ]
    }

    private static func values(_ series: Plot.Series, _ plot: Plot) -> [JSON] {
        Plot.thinned(series.points, width: Plot.pixelColumns).map { point in
            var object: JSONObject = ["curve": .string(series.label), "raw": .bool(series.isBackground)]
            object["x"] =
                point.x == point.x.rounded() && abs(point.x) < 1e15 ? .integer(Int(point.x)) : .number(point.x)
            object["y"] = plot.isVisible(point.y) ? .number(point.y) : .null
            if !point.y.isFinite { object["nonfinite"] = .string(MetricsRecord.name(ofNonfinite: point.y)) }
            return .object(object)
        }
    }
}
