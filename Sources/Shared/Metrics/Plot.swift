// A plot as data: curves over x, horizontal reference lines, titles. `Plot+SVG` draws it.

/// Curves over a common axis.
public struct Plot: Sendable {
    public struct Point: Sendable, Equatable {
        public var x: Double
        /// Not finite where the run's number was not: the curve has a gap there, and a mark at the upper edge.
        public var y: Double

        public init(x: Double, y: Double) {
            self.x = x
            self.y = y
        }
    }

    public struct Series: Sendable {
        public var label: String
        /// x ascending and finite.
        public var points: [Point]
        /// Which colour, and which dash pattern; both go round.
        public var color: Int
        public var dash: Int
        /// Drawn faintly and not named: the values behind a smoothed curve.
        public var isBackground: Bool

        public init(label: String, points: [Point], color: Int, dash: Int = 0, isBackground: Bool = false) {
            self.label = label
            self.isBackground = isBackground
            self.points = points
            self.color = color
            self.dash = dash
        }
    }

    /// A dashed horizontal line: a bound, a baseline.
    public struct Reference: Sendable, Equatable {
        public var value: Double
        public var label: String

        public init(value: Double, label: String) {
            self.value = value
            self.label = label
        }
    }

    public var title: String
    public var xTitle: String
    public var yTitle: String
    public var isLogarithmic: Bool
    public var series: [Series]
    public var references: [Reference]

    public init(
        title: String, xTitle: String, yTitle: String, isLogarithmic: Bool = false, series: [Series],
        references: [Reference] = []
    ) {
        self.title = title
        self.xTitle = xTitle
        self.yTitle = yTitle
        self.isLogarithmic = isLogarithmic
        self.series = series
        self.references = references
    }
}

extension Plot {
    /// Whether a value has a place on the y axis.
    func isVisible(_ y: Double) -> Bool { y.isFinite && (!isLogarithmic || y > 0) }

    /// Points of `series` that a drawing `width` pixels wide can tell apart: the lowest and the highest of each pixel, so
    /// that no spike is lost, and the first and the last. At most 2 × width + 2; shorter series are left alone.
    package static func thinned(_ points: [Point], width: Int) -> [Point] {
        guard points.count > 2 * width + 2, let first = points.first, let last = points.last, last.x > first.x else {
            return points
        }
        var result = [first]
        var start = 1
        let end = points.count - 1
        while start < end {
            let pixel = column(points[start].x, first.x, last.x, width)
            var stop = start
            var low = start
            var high = start
            while stop < end, column(points[stop].x, first.x, last.x, width) == pixel {
                // A value that is not finite wins, so that its gap and its mark stay.
                if !points[stop].y.isFinite { low = stop }
                if points[low].y.isFinite, points[stop].y < points[low].y { low = stop }
                if points[stop].y > points[high].y { high = stop }
                stop += 1
            }
            result.append(points[min(low, high)])
            if low != high { result.append(points[max(low, high)]) }
            start = stop
        }
        return result + [last]
    }

    private static func column(_ x: Double, _ low: Double, _ high: Double, _ width: Int) -> Int {
        let part = (x - low) / (high - low)
        return part.isNaN ? 0 : min(width - 1, Int(part * Double(width)))
    }
}
