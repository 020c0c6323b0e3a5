// The twins of the flat passes.

extension Naive {
    /// As `Engine.sumOfSquares`: blocks of 4096, eight lanes of double, a fixed tree.
    public static func sumOfSquares(_ x: [Float]) -> Double {
        var total = 0.0
        for begin in stride(from: 0, to: x.count, by: 4096) {
            var lane = [Double](repeating: 0, count: 8)
            for i in begin..<min(begin + 4096, x.count) {
                lane[(i - begin) % 8].addProduct(Double(x[i]), Double(x[i]))
            }
            total += ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]))
        }
        return total
    }

    /// As `Engine.adamW`.
    public static func adamW(
        _ update: AdamWUpdate, gradient: [Float], parameters p: inout [Float], m: inout [Float], v: inout [Float]
    ) {
        for i in p.indices {
            let g = gradient[i] * update.gradientScale
            m[i] = m[i].addingProduct(update.oneMinusBeta1, g - m[i])
            v[i] = v[i].addingProduct(update.oneMinusBeta2, (-v[i]).addingProduct(g, g))
            let decayed = p[i].addingProduct(-update.decay, p[i])
            let denominator = v[i].squareRoot() * update.inverseSquareRootBias2 + update.epsilon
            p[i] = decayed - (update.stepSize * m[i]) / denominator
        }
    }
}
