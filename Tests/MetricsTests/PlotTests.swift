// Axes, thinning and drawing: ticks that people read, no spike lost, and XML that holds whatever the names are.

import Bytes
import Metrics
import Testing

@Suite struct PlotTests {
    private func labels(_ low: Double, _ high: Double, log: Bool = false) -> [String] {
        PlotScale(covering: low...high, isLogarithmic: log, padding: 0, tickCount: 8).ticks.map(\.label)
    }

    @Test func ticksAreRoundNumbers() {
        #expect(labels(0, 1) == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"])
        #expect(labels(1.42, 1.58) == ["1.42", "1.44", "1.46", "1.48", "1.50", "1.52", "1.54", "1.56", "1.58"])
        #expect(labels(0, 0) == ["-1.0", "-0.5", "0", "0.5", "1.0"])
        #expect(labels(0, 1000) == ["0", "200", "400", "600", "800", "1000"])
        #expect(labels(0, 4_096_000) == ["0", "1M", "2M", "3M", "4M"])
        #expect(labels(0, 50_000) == ["0", "10k", "20k", "30k", "40k", "50k"])
        #expect(labels(0, 6e-4) == ["0", "1e-4", "2e-4", "3e-4", "4e-4", "5e-4", "6e-4"])
        #expect(labels(-0.3, 0.3) == ["-0.3", "-0.2", "-0.1", "0", "0.1", "0.2", "0.3"])
    }

    @Test func logarithmicTicks() {
        #expect(labels(1, 10000, log: true) == ["1", "10", "100", "1000", "10k"])
        #expect(labels(1.4, 6, log: true) == ["1.5", "2", "3", "4", "5", "6"])
        #expect(labels(1e-5, 1e-3, log: true) == ["1e-5", "2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "0.001"])
    }

    @Test(arguments: [1e-300, 1e-9, 0.5, 1, 2, 3.14159, 10, 1000, 1e15, 1.7e308])
    func logarithmAndPowerAreInverse(_ value: Double) {
        #expect(abs(power(logarithm(value)) / value - 1) < 1e-10)
    }

    @Test func degenerateRangesHaveAScale() {
        for value in [0, 1.5, -2, 1e300, 1e-300] {
            let scale = PlotScale(covering: value...value, padding: 0.05, tickCount: 8)
            #expect(abs(scale.position(value) - 0.5) < 1e-6)
        }
        let widest = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
        _ = PlotScale(covering: widest, padding: 0.05, tickCount: 8)
        _ = PlotScale(
            covering: .leastNonzeroMagnitude...Double.greatestFiniteMagnitude, isLogarithmic: true, padding: 0,
            tickCount: 8)
    }

    @Test func numbersHaveSensibleDigits() {
        func texts(_ values: [Double]) -> [String] { values.map { NumberStyle(fitting: values).text($0) } }
        #expect(texts([2.8125, 0.5, .nan]) == ["2.8125", "0.5000", "nan"])
        #expect(texts([51234.56]) == ["51235"])
        #expect(texts([6e-4, 2.39997e-5, 0]) == ["6.000e-4", "2.400e-5", "0"])
        #expect(texts([9.9996e-4]) == ["1.000e-3"])
        #expect(texts([1e22, -.infinity]) == ["1.000e22", "-inf"])
        #expect(texts([0, -0.0]) == ["0.0", "0.0"])
    }

    @Test func thinningKeepsSpikesAndStaysUnderTwoThousandPoints() {
        var points = (0..<1_000_000).map { Plot.Point(x: Double($0), y: Double($0 % 100)) }
        points[123_456].y = 1e6
        points[654_321].y = -1e6
        points[777_777].y = .nan
        let thin = Plot.thinned(points, width: 900)
        #expect(thin.count <= 2000)
        #expect(thin.contains { $0.y == 1e6 } && thin.contains { $0.y == -1e6 } && thin.contains { $0.y.isNaN })
        #expect(thin.first == points.first && thin.last == points.last)
        #expect(zip(thin, thin.dropFirst()).allSatisfy { $0.x < $1.x })
        #expect(Plot.thinned(Array(points.prefix(1800)), width: 900).count == 1800)
    }

    @Test func extremeCurvesAreDrawnWithoutTrap() {
        let extremes = [
            -Double.greatestFiniteMagnitude, .greatestFiniteMagnitude, .nan, .infinity, 0, .leastNonzeroMagnitude,
        ]
        for isLogarithmic in [false, true] {
            let points = extremes.enumerated().map { Plot.Point(x: Double($0.offset), y: $0.element) }
            let far = extremes.filter(\.isFinite).sorted().map { Plot.Point(x: $0, y: 1) }
            let plot = Plot(
                title: "", xTitle: "", yTitle: "", isLogarithmic: isLogarithmic,
                series: [.init(label: "a", points: points, color: 0), .init(label: "b", points: far, color: 1)],
                references: [.init(value: 1e308, label: "r")])
            #expect(plot.svg.hasSuffix("</svg>\n"))
        }
    }

    @Test func namesCannotBreakTheDocument() {
        let name = "</text><script>&\"'\u{1b}[2J\u{0}\u{ffff}\u{202e}"
        let svg = Plot(
            title: name, xTitle: name, yTitle: name,
            series: [.init(label: name, points: [.init(x: 0, y: 1), .init(x: 1, y: 2)], color: 0)],
            references: [.init(value: 1, label: name)]
        ).svg
        #expect(!svg.contains("<script") && svg.contains("&lt;script&gt;&amp;&quot;"))
        #expect(
            svg.unicodeScalars.allSatisfy {
                $0 == "\n" || ($0.value >= 0x20 && $0.value < 0xfffe && $0.value != 0x202e)
            })
    }

    @Test func globs() {
        #expect(Glob("*_loss").matches("train_loss") && !Glob("*_loss").matches("train_loss_x"))
        #expect(Glob("?ime").matches("time") && !Glob("?ime").matches("ime"))
        #expect(Glob("*").matches("") && Glob("").matches("") && !Glob("").matches("a"))
        #expect(Glob("a*b*c").matches("a_b_b_c") && !Glob("a*b*c").matches("acb"))
        #expect(!Glob(String(repeating: "*a", count: 40) + "b").matches(String(repeating: "a", count: 2000)))
    }
}
