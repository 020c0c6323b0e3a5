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

    /// - Parameter tickCount: about how many ticks either axis has room for.
    init(_ plot: Plot, left: Double, right: Double, top: Double, bottom: Double, tickCount: Int = 9) {
        self.plot = plot
        (self.left, self.right, self.top, self.bottom) = (left, right, top, bottom)
        let points = plot.series.lazy.flatMap(\.points)
        let xs = extent(points.map(\.x)) ?? 0...1
        let ys = extent((points.map(\.y) + plot.references.map(\.value)).filter(plot.isVisible)) ?? (1...10)
        xScale = PlotScale(covering: xs, padding: 0.01, tickCount: tickCount)
        yScale = PlotScale(covering: ys, isLogarithmic: plot.isLogarithmic, padding: 0.06, tickCount: tickCount)
    }

    private func x(_ value: Double) -> Double { left + xScale.position(value) * (right - left) }
    private func y(_ value: Double) -> Double { bottom - yScale.position(value) * (bottom - top) }

    /// Grid, frame, tick labels and axis titles.
    func axes(xTitle: String, yTitle: String?) -> String {
        var grid = ""
        var labels = ""
        for tick in xScale.ticks {
            let at = pixel(x(tick.value))
            grid += "M\(at) \(pixel(top))V\(pixel(bottom))"
            labels +=
                "<text x=\"\(at)\" y=\"\(pixel(bottom + 20))\" text-anchor=\"middle\">\(escaped(tick.label))</text>\n"
        }
        for tick in yScale.ticks {
            let at = y(tick.value)
            grid += "M\(pixel(left)) \(pixel(at))H\(pixel(right))"
            labels +=
                "<text x=\"\(pixel(left - 8))\" y=\"\(pixel(at + 4.5))\" text-anchor=\"end\">\(escaped(tick.label))</text>\n"
        }
        let middle = pixel((top + bottom) / 2)
        let side = yTitle.map {
            "<text transform=\"translate(\(pixel(left - 56)) \(middle)) rotate(-90)\" text-anchor=\"middle\">"
                + "\(escaped(shortened($0, to: 48)))</text>\n"
        }
        return """
            <path class="grid" d="\(grid)"/>
            <path class="frame" d="M\(pixel(left)) \(pixel(top))V\(pixel(bottom))H\(pixel(right))"/>
            \(labels)<text x="\(pixel((left + right) / 2))" y="\(pixel(bottom + 44))" text-anchor="middle">\(escaped(xTitle))</text>

            """ + (side ?? "")
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
            if (series.points.count <= 40 && !series.isBackground) || (isBroken && !plot.isVisible(next)) {
                marks += "M\(pixel(x(point.x))) \(pixel(y(point.y)))h0"
            }
            isBroken = false
        }
        var text = ""
        if !path.isEmpty {
            let attribute = dash.isEmpty ? "" : " stroke-dasharray=\"\(dash)\""
            let weight = series.isBackground ? " faint" : points.count > 200 ? " dense" : ""
            text += "<path class=\"curve c\(color)\(weight)\"\(attribute) d=\"\(path)\"/>\n"
        }
        if !marks.isEmpty { text += "<path class=\"curve c\(color)\" style=\"stroke-width:5.5\" d=\"\(marks)\"/>\n" }
        if !crosses.isEmpty && !series.isBackground {
            text += "<path class=\"curve c\(color)\" d=\"\(crosses)\"><title>not finite</title></path>\n"
        }
        return text
    }

    /// The reference lines, each with its label above or below it, at the right or the left end, wherever it hides least.
    func references(_ references: [Plot.Reference]) -> String {
        var lines = ""
        var labels = ""
        var taken = references.map { Box(left: left, right: right, top: y($0.value) - 1, bottom: y($0.value) + 1) }
        let curves = plot.series.flatMap(outline)
        for reference in references {
            let at = y(reference.value)
            let text = shortened(reference.label, to: 80)
            let width = Double(text.count) * 7.4
            var best: (box: Box, isRight: Bool, cost: Int)?
            for (isRight, isAbove) in [(true, false), (true, true), (false, true), (false, false)] {
                let from = isRight ? right - 8 - width : left + 8
                let box = Box(
                    left: from, right: from + width, top: isAbove ? at - 19 : at + 3, bottom: isAbove ? at - 3 : at + 19
                )
                var cost = curves.count { box.contains($0.x, $0.y) } + 100 * taken.count(where: box.meets)
                if box.top < top || box.bottom > bottom { cost += 1000 }
                if cost < best?.cost ?? .max { best = (box, isRight, cost) }
            }
            guard let best else { continue }
            taken.append(best.box)
            lines += "<path class=\"ref\" d=\"M\(pixel(left)) \(pixel(at))H\(pixel(right))\"/>\n"
            labels +=
                "<text class=\"reflabel\" x=\"\(pixel(best.isRight ? best.box.right : best.box.left))\" "
                + "y=\"\(pixel(best.box.bottom - 4))\"\(best.isRight ? " text-anchor=\"end\"" : "")>\(escaped(text))</text>\n"
        }
        return lines + labels
    }

    /// Points along a curve's line, a few pixels apart.
    private func outline(_ series: Plot.Series) -> [(x: Double, y: Double)] {
        let points = Plot.thinned(series.points, width: 100).filter { plot.isVisible($0.y) }
        let corners = points.map { (x: x($0.x), y: y($0.y)) }
        return zip(corners, corners.dropFirst()).flatMap { from, to in
            stride(from: 0.0, to: 1, by: 0.1).map { (from.x + (to.x - from.x) * $0, from.y + (to.y - from.y) * $0) }
        } + corners.suffix(1)
    }
}

private struct Box {
    let left: Double
    let right: Double
    let top: Double
    let bottom: Double

    func contains(_ x: Double, _ y: Double) -> Bool { x >= left && x <= right && y >= top && y <= bottom }

    func meets(_ other: Box) -> Bool {
        left < other.right && other.left < right && top < other.bottom && other.top < bottom
    }
}

/// The least and the greatest, or nil of nothing.
func extent(_ values: some Sequence<Double>) -> ClosedRange<Double>? {
    var range: ClosedRange<Double>?
    // Within bounds whose difference is finite too.
    for value in values.lazy.map({ min(max($0, -1e300), 1e300) }) where value.isFinite {
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

func shortened(_ text: String, to count: Int) -> String {
    if text.count <= count { return text }
    // What tells the groups of a metric apart stands at the end.
    return text.contains("_group_") ? "…" + text.suffix(count - 1) : text.prefix(count - 1) + "…"
}
