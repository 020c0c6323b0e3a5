// The scalar twins of math_body.h: what exp, ln and a sum over 16 lanes mean, to the bit, on every processor. Each
// operation here is one IEEE operation; `addingProduct` is a fused multiply-add.

extension Naive {
    /// e^x to 1 ulp: 0 below the logarithm of the smallest normal number, infinity above that of the largest, NaN stays.
    ///
    /// x = n ln 2 + r with |r| ≤ ln 2 / 2; e^r = 1 + r + r² q(r), q minimax of degree 4; 2^n is added to the exponent.
    public static func exponential(_ x: Float) -> Float {
        if x.isNaN { return x }
        if x < -87.3365402 { return 0 }
        if x > 88.7228317 { return .infinity }
        let round: Float = 12582912  // 1.5 · 2^23: adding it rounds to an integer, kept in the low bits
        let shifted = round.addingProduct(x, 1.44269504)
        let n = shifted - round
        let r = x.addingProduct(n, -0.693359375).addingProduct(n, 2.12194440e-4)
        var p: Float = 0.00138143182
        for coefficient: Float in [0.00836885162, 0.0416684002, 0.166665196, 0.49999994, 1, 1] {
            p = coefficient.addingProduct(p, r)
        }
        return Float(bitPattern: p.bitPattern &+ (shifted.bitPattern << 23))
    }

    /// ln x to 1 ulp for positive normal x; infinity and NaN stay, 0 gives minus infinity.
    ///
    /// x = 2^e m with m in [√½, √2), f = m − 1: ln m = f − f²/2 + f³ p(f), p minimax of degree 8.
    public static func logarithm(_ x: Float) -> Float {
        guard x < .infinity else { return x }
        if x == 0 { return -.infinity }
        let root: Int32 = 0x3f35_04f3  // √½
        let above = Int32(bitPattern: x.bitPattern) &- root
        let e = Float(above >> 23)
        let f = Float(bitPattern: UInt32(bitPattern: (above & 0x007f_ffff) &+ root)) - 1
        var p: Float = 0.0674660131
        for coefficient: Float in [
            -0.116756409, 0.118881747, -0.124055915, 0.142195508, -0.166679963, 0.200021192, -0.250000089,
            0.333333135,
        ] {
            p = coefficient.addingProduct(p, f)
        }
        let square = f * f
        let tail = (e * -2.12194440e-4).addingProduct(p, square * f).addingProduct(square, -0.5)
        return (f + tail).addingProduct(e, 0.693359375)
    }

    /// 1 / (1 + e^-x).
    public static func sigmoid(_ x: Float) -> Float { 1 / (1 + exponential(-x)) }

    /// Σ a·b over 16 lanes (element i to lane i mod 16, one fused multiply-add each), then the fixed tree.
    public static func dot(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Float {
        var lanes = [Float](repeating: 0, count: 16)
        for (i, (x, y)) in zip(a, b).enumerated() { lanes[i % 16] = lanes[i % 16].addingProduct(x, y) }
        return sum(lanes: lanes)
    }

    /// Σ a over 16 lanes, then the fixed tree.
    public static func sum(_ a: ArraySlice<Float>) -> Float {
        var lanes = [Float](repeating: 0, count: 16)
        for (i, x) in a.enumerated() { lanes[i % 16] += x }
        return sum(lanes: lanes)
    }

    /// The tree over 16 lanes: 8 + 8, 4 + 4, 2 + 2, 1 + 1.
    public static func sum(lanes: [Float]) -> Float {
        var lanes = lanes
        for width in [8, 4, 2, 1] {
            for i in 0..<width { lanes[i] = lanes[i] + lanes[i + width] }
        }
        return lanes[0]
    }
}
