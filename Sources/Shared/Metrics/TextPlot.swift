// Plots for a terminal: braille characters have 2 × 4 dots each, so that 60 characters are 120 points wide. Without colour,
// curves are told apart by letters that stand on them.

internal import Bytes

/// Plots and summaries as text.
public struct TextPlot {
    private let plots: [Plot]
    private let width: Int
    private let height: Int
    private let isColored: Bool
    private static let labelWidth = 8
    // The terminal's own colours: they suit its background.
    private static let colors = [34, 31, 32, 35, 33, 36, 90]

    /// - Parameters:
    ///   - width: characters in a line at most, at least 24.
    ///   - height: lines of dots in each plot.
    public init(_ plots: [Plot], width: Int, height: Int, isColored: Bool) {
        self.plots = plots
        self.width = max(24, width)
        self.height = max(2, height)
        self.isColored = isColored
    }

    public var text: String { plots.map(draw).joined(separator: "\n") }

    private func draw(_ plot: Plot) -> String {
        var canvas = Canvas(columns: width - TextPlot.labelWidth - 3, rows: height)
        let finite = plot.series.lazy.flatMap(\.points)
        let xs = extent(finite.map(\.x)) ?? 0...1
        let ys = extent((finite.map(\.y) + plot.references.map(\.value)).filter(plot.isVisible)) ?? 1...10
        let xScale = PlotScale(covering: xs, padding: 0, tickCount: max(2, canvas.columns / 14))
        let yScale = PlotScale(
            covering: ys, isLogarithmic: plot.isLogarithmic, padding: 0.02, tickCount: max(2, height / 3))
        func dot(_ point: Plot.Point) -> (x: Int, y: Int) {
            let x = xScale.position(point.x) * Double(canvas.columns * 2 - 1)
            let y = (1 - yScale.position(min(max(point.y, -1e300), 1e300))) * Double(canvas.rows * 4 - 1)
            return (Int(x.rounded()), Int(y.rounded()))
        }
        for reference in plot.references where plot.isVisible(reference.value) {
            let y = dot(Plot.Point(x: xs.lowerBound, y: reference.value)).y
            for x in stride(from: 0, to: canvas.columns * 2, by: 4) { canvas.set(x, y, color: 6) }
        }
        let curves = plot.series.filter { !$0.isBackground }
        for (index, series) in curves.enumerated() {
            var previous: (x: Int, y: Int)?
            for point in Plot.thinned(series.points, width: canvas.columns * 2) {
                guard plot.isVisible(point.y) else {
                    if !point.y.isFinite {
                        canvas.put("x", at: dot(Plot.Point(x: point.x, y: ys.upperBound)), color: index)
                    }
                    previous = nil
                    continue
                }
                let next = dot(point)
                canvas.line(from: previous ?? next, to: next, color: index)
                previous = next
            }
        }
        if curves.count > 1 {
            // At staggered places, so that the letters of curves that lie on each other stay apart.
            for (index, series) in curves.enumerated() {
                let points = series.points.filter { plot.isVisible($0.y) }
                for part in [0.3, 0.65, 1] where !points.isEmpty {
                    let shift = Double(index) * 0.06
                    let target = xs.lowerBound + (xs.upperBound - xs.lowerBound) * max(0, part - shift)
                    let place = points.firstIndex { $0.x >= target } ?? points.count - 1
                    canvas.put(TextPlot.letter(index), at: dot(points[place]), color: index)
                }
            }
        }
        return frame(plot, canvas, xScale, yScale, curves)
    }

    private func frame(
        _ plot: Plot, _ canvas: Canvas, _ xScale: PlotScale, _ yScale: PlotScale, _ curves: [Plot.Series]
    ) -> String {
        var labels: [Int: String] = [:]
        for tick in yScale.ticks {
            let row = Int(((1 - yScale.position(tick.value)) * Double(canvas.rows * 4 - 1)).rounded()) / 4
            if row >= 0 && row < canvas.rows && labels[row] == nil { labels[row] = tick.label }
        }
        var lines = [shortened(printable(plot.yTitle), to: width)]
        for row in 0..<canvas.rows {
            let label = String((labels[row] ?? "").prefix(TextPlot.labelWidth))
            let space = String(repeating: " ", count: TextPlot.labelWidth - label.count)
            lines.append(
                space + label + (labels[row] == nil ? " │" : " ┤") + canvas.text(row: row, isColored: isColored))
        }
        var axis = [Character](repeating: "─", count: canvas.columns)
        var ticks = [Character](repeating: " ", count: width)
        var free = 0
        for tick in xScale.ticks {
            let column = Int((xScale.position(tick.value) * Double(canvas.columns - 1)).rounded())
            guard column >= 0, column < canvas.columns else { continue }
            axis[column] = "┬"
            let start = min(max(0, TextPlot.labelWidth + 2 + column - tick.label.count / 2), width - tick.label.count)
            guard start >= free else { continue }
            for (offset, character) in tick.label.enumerated() { ticks[start + offset] = character }
            free = start + tick.label.count + 1
        }
        lines.append(String(repeating: " ", count: TextPlot.labelWidth + 1) + "└" + String(axis))
        lines.append(trimmedEnd(String(ticks)))
        let title = printable(plot.xTitle)
        lines.append(
            String(repeating: " ", count: max(0, TextPlot.labelWidth + 2 + (canvas.columns - title.count) / 2)) + title)
        lines += legend(curves)
        return lines.joined(separator: "\n") + "\n"
    }

    private func legend(_ curves: [Plot.Series]) -> [String] {
        var lines: [String] = []
        var line = ""
        var used = 0
        for (index, series) in curves.enumerated() {
            let mark = curves.count > 1 ? String(TextPlot.letter(index)) + " " : ""
            let entry = mark + shortened(printable(series.label), to: max(8, width - 4))
            if used > 0 && used + 3 + entry.count > width {
                lines.append(line)
                (line, used) = ("", 0)
            }
            line += (used > 0 ? "   " : "  ") + paint(entry, index)
            used += (used > 0 ? 3 : 2) + entry.count
        }
        return lines + [line]
    }

    private func paint(_ text: String, _ color: Int) -> String {
        isColored ? "\u{1b}[\(TextPlot.colors[color % TextPlot.colors.count])m\(text)\u{1b}[0m" : text
    }

    private static func letter(_ index: Int) -> Character {
        let letters = Array("abcdefghijklmnopqrstuvwxyz")
        return letters[index % letters.count]
    }

    /// Dots, and letters on top of them.
    private struct Canvas {
        let columns: Int
        let rows: Int
        private var dots: [UInt8]
        private var colors: [Int]
        private var letters: [Character?]

        init(columns: Int, rows: Int) {
            self.columns = columns
            self.rows = rows
            dots = [UInt8](repeating: 0, count: columns * rows)
            colors = [Int](repeating: 0, count: columns * rows)
            letters = [Character?](repeating: nil, count: columns * rows)
        }

        // Which bit a dot is (Unicode 1991, block U+2800): the lowest row was added later.
        private static let bits: [[UInt8]] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]

        mutating func set(_ x: Int, _ y: Int, color: Int) {
            guard x >= 0, y >= 0, x < columns * 2, y < rows * 4 else { return }
            let cell = y / 4 * columns + x / 2
            dots[cell] |= Canvas.bits[y % 4][x % 2]
            colors[cell] = color
        }

        mutating func put(_ letter: Character, at place: (x: Int, y: Int), color: Int) {
            let column = min(max(0, place.x / 2), columns - 1)
            let row = min(max(0, place.y / 4), rows - 1)
            letters[row * columns + column] = letter
            colors[row * columns + column] = color
        }

        mutating func line(from: (x: Int, y: Int), to: (x: Int, y: Int), color: Int) {
            let steps = max(abs(to.x - from.x), abs(to.y - from.y), 1)
            for step in 0...steps {
                set(
                    from.x + (to.x - from.x) * step / steps, from.y + (to.y - from.y) * step / steps, color: color)
            }
        }

        func text(row: Int, isColored: Bool) -> String {
            var text = ""
            var current: Int?
            for column in 0..<columns {
                let cell = row * columns + column
                let isEmpty = dots[cell] == 0 && letters[cell] == nil
                let color = isEmpty ? nil : colors[cell]
                if isColored && color != current {
                    if current != nil { text += "\u{1b}[0m" }
                    if let color { text += "\u{1b}[\(TextPlot.colors[color % TextPlot.colors.count])m" }
                    current = color
                }
                if let letter = letters[cell] {
                    text.append(letter)
                } else if isEmpty {
                    text += " "
                } else {
                    text.unicodeScalars.append(Unicode.Scalar(0x2800 + UInt32(dots[cell])) ?? "?")
                }
            }
            return current == nil ? trimmedEnd(text) : text + "\u{1b}[0m"
        }
    }
}

func trimmedEnd(_ text: String) -> String {
    var text = text
    while text.last == " " { text.removeLast() }
    return text
}
