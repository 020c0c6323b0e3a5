// The twins of double_math.h: exp, ln, sine and cosine in Double from additions, multiplications and divisions only.

extension Naive {
    /// e^x; 0 below the logarithm of the smallest normal number. x = n ln 2 + r, Taylor's series to r^13.
    public static func exponential(_ x: Double) -> Double {
        if x.isNaN { return x }
        if x < -708 { return 0 }
        if x > 709 { return .infinity }
        let n = (x * 1.4426950408889634 + 0x1.8p52) - 0x1.8p52
        let r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33
        var sum = 0.0
        for k in (0...13).reversed() { sum = sum * r + 1 / (1...max(k, 1)).reduce(1.0) { $0 * Double($1) } }
        return sum * Double(bitPattern: UInt64(Int64(n) + 1023) << 52)
    }

    /// ln x for positive normal x; infinity and NaN stay, 0 gives minus infinity.
    public static func logarithm(_ x: Double) -> Double {
        guard x < .infinity else { return x }
        if x == 0 { return -.infinity }
        let root: Int64 = 0x3fe6_a09e_667f_3bcd  // √½
        let above = Int64(bitPattern: x.bitPattern) &- root
        let e = Double(above >> 52)
        let f = Double(bitPattern: UInt64(bitPattern: (above & 0x000f_ffff_ffff_ffff) &+ root)) - 1
        let s = f / (2 + f)
        let z = s * s
        let halfSquare = 0.5 * f * f
        var series = 0.0
        for k in (1...12).reversed() { series = (series + 2 / Double(2 * k + 1)) * z }
        return e * 0x1.62e42feep-1 + (f - (halfSquare - (s * (halfSquare + series) + e * 0x1.a39ef35793c76p-33)))
    }

    /// Sine and cosine of x for |x| < 10^6.
    public static func sineAndCosine(_ x: Double) -> (sine: Double, cosine: Double) {
        let n = (x * 0.6366197723675814 + 0x1.8p52) - 0x1.8p52
        let r = ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69
        let z = r * r
        var (s, c) = (0.0, 0.0)
        for k in (1...8).reversed() {
            s = (1 + s) * (-z / Double(2 * k * (2 * k + 1)))
            c = (1 + c) * (-z / Double((2 * k + 2) * (2 * k + 1)))
        }
        let (sine, cosine) = (r + r * s, 1 + (1 + c) * (-0.5 * z))
        switch Int64(n) & 3 {
        case 0: return (sine, cosine)
        case 1: return (cosine, -sine)
        case 2: return (-sine, -cosine)
        default: return (-cosine, sine)
        }
    }
}
