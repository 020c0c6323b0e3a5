// An axis: from data to pixels, and where its ticks go. Ticks stand at 1, 2 or 5 times a power of ten, and every label
// of an axis has the same number of decimals.

/// A linear or logarithmic map of [low, high] to [0, 1], with ticks.
package struct PlotScale: Sendable {
    package struct Tick: Sendable, Equatable {
        package let value: Double
        package let label: String
    }

    let low: Double
    let high: Double
    let isLogarithmic: Bool
    package let ticks: [Tick]

    /// Covers `range`, which is finite and, on a logarithmic scale, positive.
    /// - Parameters:
    ///   - padding: the part of the extent to leave free at either end.
    ///   - tickCount: about how many ticks there is room for.
    package init(covering range: ClosedRange<Double>, isLogarithmic: Bool = false, padding: Double, tickCount: Int) {
        func map(_ value: Double) -> Double { isLogarithmic ? logarithm(value) : value }
        var (from, to) = (map(range.lowerBound), map(range.upperBound))
        if !(to - from > abs(from) * 1e-12) {  // a constant gets room around it
            let room = isLogarithmic ? 0.1 : from == 0 ? 1 : max(abs(from) * 0.1, 1e-6)
            (from, to) = (from - room, to + room)
        } else {
            let room = (to - from) * padding
            (from, to) = (from - room, to + room)
        }
        (low, high) = (from, to)
        self.isLogarithmic = isLogarithmic
        ticks =
            isLogarithmic
            ? PlotScale.logarithmicTicks(from, to, tickCount) : PlotScale.linearTicks(from, to, tickCount)
    }

    /// Where `value` lies: 0 at the low end, 1 at the high one.
    package func position(_ value: Double) -> Double {
        ((isLogarithmic ? logarithm(value) : value) - low) / (high - low)
    }

    private static func linearTicks(_ low: Double, _ high: Double, _ count: Int) -> [Tick] {
        let rough = (high - low) / Double(max(count, 1))
        var exponent = decimalExponent(rough)
        var factor = 10.0
        for candidate in [1.0, 2.0, 5.0] where candidate * powerOfTen(exponent) >= rough * 0.999 {
            factor = candidate
            break
        }
        if factor == 10 { (factor, exponent) = (1, exponent + 1) }
        // Multiples of the step are counted in whole numbers, so that 0.3 does not come out as 0.30000000000000004.
        let step = factor * powerOfTen(exponent)
        let first = (low / step - 1e-9).rounded(.up)
        let last = (high / step + 1e-9).rounded(.down)
        guard first <= last, last - first < 1000 else { return [] }
        let values = stride(from: first, through: last, by: 1).map { $0 == 0 ? 0 : $0 * step }
        return labelled(values, stepExponent: exponent)
    }

    private static func logarithmicTicks(_ low: Double, _ high: Double, _ count: Int) -> [Tick] {
        let decades = high - low
        let factors: [Double] = decades < 1.2 ? [1, 1.5, 2, 3, 4, 5, 6, 8] : decades < 3 ? [1, 2, 5] : [1]
        let stride = max(1, Int((decades / Double(max(count, 1))).rounded(.up)))
        var ticks: [Tick] = []
        for exponent in Int(low.rounded(.down))...Int(high.rounded(.up)) where exponent % stride == 0 {
            for factor in factors {
                let value = factor * powerOfTen(exponent)
                let place = logarithm(value)
                if place < low - 1e-9 || place > high + 1e-9 { continue }
                ticks.append(
                    Tick(value: value, label: abbreviated(value, decimals: factor == 1.5 ? 1 - exponent : -exponent)))
            }
        }
        if ticks.count >= 3 || decades > 1 { return ticks }
        // A narrow range is nearly linear.
        let (from, to) = (power(low), power(high))
        return linearTicks(from, to, count).filter { $0.value > 0 }
    }

    private static func labelled(_ values: [Double], stepExponent: Int) -> [Tick] {
        let largest = values.map(abs).max() ?? 0
        let (divisor, suffix) = PlotScale.prefix(largest)
        let decimals = max(0, decimalExponent(divisor) - stepExponent)
        let isTiny = largest > 0 && largest < 1e-3
        return values.map { value in
            if value == 0 { return Tick(value: value, label: "0") }
            if isTiny {
                return Tick(
                    value: value,
                    label: NumberStyle.scientific(max(0, decimalExponent(value) - stepExponent)).text(value))
            }
            return Tick(value: value, label: fixedText(value / divisor, decimals) + suffix)
        }
    }

    private static func abbreviated(_ value: Double, decimals: Int) -> String {
        if value < 1e-3 { return NumberStyle.scientific(0).text(value) }
        let (divisor, suffix) = prefix(value)
        return fixedText(value / divisor, max(0, decimals + decimalExponent(divisor))) + suffix
    }

    /// A decimal prefix for numbers too long for a label.
    private static func prefix(_ largest: Double) -> (divisor: Double, suffix: String) {
        for (divisor, suffix) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")]
        where largest >= (divisor == 1e3 ? 1e4 : divisor) {
            return (divisor, suffix)
        }
        return (1, "")
    }
}

/// log10 from the bits and an atanh series: the standard library has no logarithm and a pixel needs few digits.
package func logarithm(_ value: Double) -> Double {
    let ratio = (value.significand - 1) / (value.significand + 1)  // ln m = 2 atanh((m − 1) / (m + 1)), |ratio| ≤ 1/3
    let square = ratio * ratio
    var term = ratio
    var sum = 0.0
    for index in stride(from: 1.0, through: 31, by: 2) {
        sum += term / index
        term *= square
    }
    return (Double(value.exponent) * 0.693147180559945309 + 2 * sum) / 2.302585092994045684
}

/// 10^x for a real x.
package func power(_ x: Double) -> Double {
    let whole = x.rounded(.down)
    let rest = (x - whole) * 2.302585092994045684
    var term = 1.0
    var sum = 1.0
    for index in stride(from: 1.0, through: 30, by: 1) {
        term *= rest / index
        sum += term
    }
    return sum * powerOfTen(Int(whole))
}
