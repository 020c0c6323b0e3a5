// The twins of double_math.h: exp, ln, sine and cosine in Double from additions, multiplications and divisions only.

extension Naive {
    /// e^x for |x| < 700: x = k ln 2 + r, Taylor's series of r.
    public static func exponential(_ x: Double) -> Double {
        let k = (x * 1.4426950408889634074 + 0.5).rounded(.down)
        let r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
        var sum = 1.0
        for n in (1...15).reversed() { sum = sum * r / Double(n) + 1 }
        return sum * Double(bitPattern: UInt64(Int64(k) + 1023) << 52)
    }

    /// ln x for finite normal x > 0: x = m · 2^e with m in [√½, √2); ln m = 2 artanh((m − 1)/(m + 1)).
    public static func logarithm(_ x: Double) -> Double {
        var (m, exponent) = (x.significand, Double(x.exponent))
        if m > 1.4142135623730951 {
            m *= 0.5
            exponent += 1
        }
        let s = (m - 1) / (m + 1)
        let z = s * s
        var sum = 1.0 / 23
        for n in stride(from: 21, through: 3, by: -2) { sum = sum * z + 1 / Double(n) }
        let tail = 2 * s * z * sum
        return exponent * 0.693147180369123816490 + (2 * s + (tail + exponent * 1.90821492927058770002e-10))
    }

    /// Sine and cosine of x for 0 ≤ x < 2^30: x = k π/2 + r with π/2 in three parts, Taylor's series of r.
    public static func sineAndCosine(_ x: Double) -> (sine: Double, cosine: Double) {
        let k = (x * 0.63661977236758134308 + 0.5).rounded(.down)
        let r = ((x - k * 1.57079632673412561417) - k * 6.07710050630396597660e-11) - k * 2.02226624879595063154e-21
        let z = r * r
        var (s, c) = (1.0, 1.0)
        for n in stride(from: 20, through: 2, by: -2) {
            s = 1 - z * s / Double(n * (n + 1))
            c = 1 - z * c / Double(n * (n - 1))
        }
        s = r * s
        switch Int64(k) & 3 {
        case 0: return (s, c)
        case 1: return (c, -s)
        case 2: return (-s, -c)
        default: return (-c, s)
        }
    }
}
