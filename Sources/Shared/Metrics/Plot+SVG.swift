// The drawing, as SVG 1.1 written by hand: no scripts, no fonts to load, a background of its own so that it reads on
// light and dark pages alike (and turns dark where the viewer prefers that), Okabe and Ito's colours, which stay apart
// for colour-blind readers (Okabe & Ito 2008, "Color Universal Design").

extension Plot {
    static let width = 900.0
    static let height = 540.0
    /// 2 × this + 2 ≤ 2000 points a curve.
    static let pixelColumns = 900

    static let dashes = ["", "7 4", "2 3", "9 3 2 3"]
    static let colorCount = 7
    static let style = """
        text{font-family:Helvetica,Arial,"DejaVu Sans",sans-serif;font-size:13px;fill:#333}
        .title{font-size:17px;font-weight:bold;fill:#111}
        .back{fill:#fff}.grid{stroke:#e3e3e3}.frame{stroke:#888;fill:none}
        .curve{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
        .dense{stroke-width:1.2}.faint{stroke-width:1;opacity:.3}
        .ref{stroke:#555;stroke-width:1.4;stroke-dasharray:6 5}.reflabel{paint-order:stroke;stroke:#fff;stroke-width:4px}
        .c0{stroke:#0072b2}.c1{stroke:#d55e00}.c2{stroke:#009e73}.c3{stroke:#cc79a7}.c4{stroke:#e69f00}.c5{stroke:#56b4e9}
        .c6{stroke:#777}
        @media(prefers-color-scheme:dark){text{fill:#ccc}.title{fill:#eee}.back{fill:#16181c}.grid{stroke:#33363c}
        .frame{stroke:#777}.ref{stroke:#aaa}.reflabel{stroke:#16181c}.c0{stroke:#3d9fe0}.c6{stroke:#aaa}}
        """

    /// The plot as an SVG document.
    public var svg: String {
        let legend = Legend(series, width: Plot.width - 100)
        let top = 52 + legend.height
        let layout = PlotLayout(self, left: 76, right: Plot.width - 24, top: top, bottom: Plot.height - 58)
        var text = """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 540" width="900" height="540" role="img">
            <title>\(escaped(title))</title>
            <style>
            \(Plot.style)
            </style>
            <rect class="back" width="900" height="540"/>
            <text class="title" x="76" y="32">\(escaped(shortened(title, to: 90)))</text>

            """
        text += legend.svg(left: 76, top: 52)
        text += layout.axes(xTitle: xTitle, yTitle: yTitle)
        for curve in series.filter(\.isBackground) + series.filter({ !$0.isBackground }) {
            text += layout.curve(
                curve, dash: Plot.dashes[curve.dash % Plot.dashes.count], color: curve.color % Plot.colorCount)
        }
        text += layout.references(references.filter { isVisible($0.value) })
        return text + "</svg>\n"
    }

    /// The legend: samples and names in as many rows as they need.
    struct Legend {
        private struct Entry {
            let series: Series
            let x: Double
            let row: Int
        }
        private var entries: [Entry] = []
        private var rows = 1

        var height: Double { Double(rows) * 20 + 4 }

        init(_ series: [Series], width: Double) {
            var x = 0.0
            for curve in series where !curve.isBackground {
                // Letters are about 0.56 em wide; a little too much room does no harm.
                let needed = 34 + Double(shortened(curve.label, to: 70).count) * 7.4 + 22
                if x > 0 && x + needed > width {
                    rows += 1
                    x = 0
                }
                entries.append(Entry(series: curve, x: x, row: rows - 1))
                x += needed
            }
        }

        func svg(left: Double, top: Double) -> String {
            entries.map { entry in
                let x = left + entry.x
                let y = top + Double(entry.row) * 20
                let line =
                    "<path class=\"curve c\(entry.series.color % colorCount)\"\(dashAttribute(entry.series.dash)) "
                    + "d=\"M\(pixel(x)) \(pixel(y))h26\"/>"
                return line + "<text x=\"\(pixel(x + 33))\" y=\"\(pixel(y + 4.5))\">"
                    + escaped(shortened(entry.series.label, to: 70)) + "</text>\n"
            }.joined()
        }

        private func dashAttribute(_ dash: Int) -> String {
            let pattern = dashes[dash % dashes.count]
            return pattern.isEmpty ? "" : " stroke-dasharray=\"\(pattern)\""
        }
    }
}

/// A coordinate, to a tenth of a pixel.
func pixel(_ value: Double) -> String {
    let text = fixedText(value, 1)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}
