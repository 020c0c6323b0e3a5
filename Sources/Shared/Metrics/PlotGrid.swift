// Several plots on one page, a unit each: losses, norms and speeds have nothing in common but the x axis, and one y axis
// for all of them shows only the largest.

/// Plots side by side, as one SVG document. A single plot is that plot.
public struct PlotGrid: Sendable {
    public let title: String
    public let panels: [Plot]

    private static let panelHeight = 300.0
    private static let headHeight = 52.0

    public init(title: String, panels: [Plot]) {
        self.title = title
        self.panels = panels
    }

    public var svg: String {
        if panels.count == 1 { return panels[0].svg }
        let columns = panels.count == 2 ? 1 : 2
        let rows = (panels.count + columns - 1) / columns
        let height = Int(PlotGrid.headHeight + Double(rows) * PlotGrid.panelHeight)
        var text = """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 \(height)" width="900" height="\(height)" role="img">
            <title>\(escaped(title))</title>
            <style>
            \(Plot.style)
            .unit{font-size:14px;font-weight:bold}
            </style>
            <rect class="back" width="900" height="\(height)"/>
            <text class="title" x="24" y="32">\(escaped(shortened(title, to: 96)))</text>

            """
        let width = Plot.width / Double(columns)
        for (index, plot) in panels.enumerated() {
            text += panel(
                plot, left: Double(index % columns) * width, width: width,
                top: PlotGrid.headHeight + Double(index / columns) * PlotGrid.panelHeight)
        }
        return text + "</svg>\n"
    }

    private func panel(_ plot: Plot, left: Double, width: Double, top: Double) -> String {
        let legend = Plot.Legend(plot.series, width: width - 40)
        let layout = PlotLayout(
            plot, left: left + 70, right: left + width - 20, top: top + 30 + legend.height,
            bottom: top + PlotGrid.panelHeight - 56, tickCount: width < 600 ? 5 : 9)
        var text =
            "<text class=\"unit\" x=\"\(pixel(left + 24))\" y=\"\(pixel(top + 10))\">"
            + "\(escaped(shortened(plot.yTitle, to: Int(width / 9))))</text>\n"
        text += legend.svg(left: left + 24, top: top + 28)
        text += layout.axes(xTitle: plot.xTitle, yTitle: nil)
        // Few values on top of many.
        let ordered = plot.series.sorted { $0.points.count > $1.points.count }
        for curve in ordered.filter(\.isBackground) + ordered.filter({ !$0.isBackground }) {
            text += layout.curve(
                curve, dash: Plot.dashes[curve.dash % Plot.dashes.count], color: curve.color % Plot.colorCount)
        }
        return text + layout.references(plot.references.filter { plot.isVisible($0.value) })
    }
}
