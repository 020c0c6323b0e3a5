// Numbers for people: a fixed count of decimals or a short scientific form, without a C library's locale.

/// How a column or an axis shows its numbers.
package enum NumberStyle: Sendable, Equatable {
    case fixed(Int)
    /// That many decimals in the mantissa.
    case scientific(Int)

    /// Five significant digits for the largest of `values`, scientific when that is beyond what reads well.
    package init(fitting values: some Sequence<Double>) {
        let largest = values.lazy.filter(\.isFinite).map(abs).max() ?? 0
        if largest == 0 {
            self = .fixed(1)
        } else if largest >= 1e7 || largest < 1e-2 {
            self = .scientific(3)
        } else {
            self = .fixed(min(6, max(0, 4 - decimalExponent(largest))))
        }
    }

    package func text(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        switch self {
        case .fixed(let digits): return fixedText(value, digits)
        case .scientific(let digits):
            if value == 0 { return "0" }
            var exponent = decimalExponent(value)
            var mantissa = fixedText(value / powerOfTen(exponent), digits)
            if mantissa.hasPrefix("10") || mantissa.hasPrefix("-10") {  // 9.9996 rounds up
                exponent += 1
                mantissa = fixedText(value / powerOfTen(exponent), digits)
            }
            return "\(mantissa)e\(exponent)"
        }
    }
}

/// The largest e with 10^e ≤ |value|; 0 for 0. Counted, not by logarithm, so that powers of ten come out right.
func decimalExponent(_ value: Double) -> Int {
    var value = abs(value)
    guard value > 0, value.isFinite else { return 0 }
    var exponent = 0
    while value >= 10 {
        value /= 10
        exponent += 1
    }
    while value < 1 {
        value *= 10
        exponent -= 1
    }
    return exponent
}

/// 10^exponent, exact for the exponents that doubles hold exactly.
func powerOfTen(_ exponent: Int) -> Double { Double("1e\(exponent)") ?? (exponent > 0 ? .infinity : 0) }

/// `value` rounded to `digits` decimals.
func fixedText(_ value: Double, _ digits: Int) -> String {
    let scale = powerOfTen(digits)
    let scaled = (abs(value) * scale).rounded()
    guard scaled < 9e15 else { return "\(value)" }
    let whole = Int(scaled)
    let unit = Int(scale)
    let sign = value < 0 && whole > 0 ? "-" : ""
    if digits == 0 { return sign + String(whole) }
    let fraction = String(whole % unit)
    return sign + String(whole / unit) + "." + String(repeating: "0", count: digits - fraction.count) + fraction
}
