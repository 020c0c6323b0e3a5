// What lies inside the plot's frame: axes, curves, reference lines.

private import Bytes

/// The frame of a plot in pixels, and the scales that map data into it.
struct PlotLayout {
    private let plot: Plot
    private let left: Double
    private let right: Double
    private let top: Double
    private let bottom: Double
    private let xScale: PlotScale
    private let yScale: PlotScale

    init(_ plot: Plot, left: Double, right: Double, top: Double, bottom: Double) {
        self.plot = plot
        (self.left, self.right, self.top, self.bottom) = (left, right, top, bottom)
        let points = plot.series.lazy.flatMap(\.points)
        let xs = extent(points.map(\.x)) ?? 0...1
        let ys = extent((points.map(\.y) + plot.references.map(\.value)).filter(plot.isVisible)) ?? (1...10)
        xScale = PlotScale(covering: xs, padding: 0.01, tickCount: 9)
        yScale = PlotScale(covering: ys, isLogarithmic: plot.isLogarithmic, padding: 0.05, tickCount: 8)
    }

    private func x(_ value: Double) -> Double { left + xScale.position(value) * (right - left) }
    private func y(_ value: Double) -> Double { bottom - yScale.position(value) * (bottom - top) }

    /// Grid, frame, tick labels and axis titles.
    func axes(xTitle: String, yTitle: String) -> String {
        var grid = ""
        var labels = ""
        for tick in xScale.ticks {
            let at = pixel(x(tick.value))
            grid += "M\(at) \(pixel(top))V\(pixel(bottom))"
            labels += "<text x=\"\(at)\" y=\"\(pixel(bottom + 20))\" text-anchor=\"middle\">\(escaped(tick.label))</text>\n"
        }
        for tick in yScale.ticks {
            let at = y(tick.value)
            grid += "M\(pixel(left)) \(pixel(at))H\(pixel(right))"
            labels +=
                "<text x=\"\(pixel(left - 8))\" y=\"\(pixel(at + 4.5))\" text-anchor=\"end\">\(escaped(tick.label))</text>\n"
        }
        let middle = pixel((top + bottom) / 2)
        return """
            <path class="grid" d="\(grid)"/>
            <path class="frame" d="M\(pixel(left)) \(pixel(top))V\(pixel(bottom))H\(pixel(right))"/>
            \(labels)<text x="\(pixel((left + right) / 2))" y="\(pixel(bottom + 44))" text-anchor="middle">\(escaped(xTitle))</text>
            <text transform="translate(20 \(middle)) rotate(-90)" text-anchor="middle">\(escaped(yTitle))</text>

            """
    }

    /// One curve; where values are few each is marked, so that they can be told from the line between them.
    func curve(_ series: Plot.Series, dash: String, color: Int) -> String {
        let points = Plot.thinned(series.points, width: Plot.pixelColumns)
        var path = ""
        var marks = ""
        var crosses = ""
        var isBroken = true
        for (index, point) in points.enumerated() {
            guard plot.isVisible(point.y) else {
                if !point.y.isFinite {
                    crosses += "M\(pixel(x(point.x) - 4)) \(pixel(top + 4))l8 8m0-8l-8 8"
                }
                isBroken = true
                continue
            }
            path += (isBroken ? "M" : "L") + pixel(x(point.x)) + " " + pixel(y(point.y))
            let next = index + 1 < points.count ? points[index + 1].y : .nan
            // A value alone between gaps has no line: a dot keeps it visible.
            if series.points.count <= 40 || (isBroken && !plot.isVisible(next)) {
                marks += "M\(pixel(x(point.x))) \(pixel(y(point.y)))h0"
            }
            isBroken = false
        }
        var text = ""
        if !path.isEmpty {
            let attribute = dash.isEmpty ? "" : " stroke-dasharray=\"\(dash)\""
            text += "<path class=\"curve c\(color)\"\(attribute) d=\"\(path)\"/>\n"
        }
        if !marks.isEmpty { text += "<path class=\"curve c\(color)\" style=\"stroke-width:5.5\" d=\"\(marks)\"/>\n" }
        if !crosses.isEmpty { text += "<path class=\"curve c\(color)\" d=\"\(crosses)\"/>\n" }
        return text
    }

    /// The reference lines from low to high, each with its label above it, or below where the next line is too near.
    func references(_ references: [Plot.Reference]) -> String {
        let sorted = references.sorted { $0.value < $1.value }
        var text = ""
        for (index, reference) in sorted.enumerated() {
            let at = y(reference.value)
            let next = index + 1 < sorted.count ? y(sorted[index + 1].value) : -.infinity
            let above = at - next > 22 && at - top > 20
            text += "<path class=\"ref\" d=\"M\(pixel(left)) \(pixel(at))H\(pixel(right))\"/>\n"
            text +=
                "<text class=\"reflabel\" x=\"\(pixel(right - 6))\" y=\"\(pixel(above ? at - 6 : at + 16))\" text-anchor=\"end\">"
                + escaped(shortened(reference.label, to: 80)) + "</text>\n"
        }
        return text
    }
}

/// The least and the greatest, or nil of nothing.
private func extent(_ values: some Sequence<Double>) -> ClosedRange<Double>? {
    var range: ClosedRange<Double>?
    for value in values where value.isFinite {
        range = range.map { min($0.lowerBound, value)...max($0.upperBound, value) } ?? value...value
    }
    return range
}

/// `text` as XML character data: markup escaped, and nothing in it that XML 1.0 forbids or that drives a terminal.
func escaped(_ text: String) -> String {
    var result = ""
    for scalar in printable(text).unicodeScalars {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "\u{fffe}", "\u{ffff}": result += "\u{fffd}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

func shortened(_ text: String, to count: Int) -> String { text.count > count ? text.prefix(count - 1) + "…" : text }
