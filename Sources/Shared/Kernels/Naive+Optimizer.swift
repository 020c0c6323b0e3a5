// The twins of the flat passes.

extension Naive {
    /// As `Engine.sumOfSquares`: blocks of 4096, eight lanes of double, a fixed tree.
    public static func sumOfSquares(_ x: [Float]) -> Double { sumOfSquares(x.map(Double.init)) }

    private static func sumOfSquares(_ x: [Double]) -> Double {
        var total = 0.0
        for begin in stride(from: 0, to: x.count, by: 4096) {
            var lane = [Double](repeating: 0, count: 8)
            for i in begin..<min(begin + 4096, x.count) {
                lane[(i - begin) % 8].addProduct(x[i], x[i])
            }
            total += ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]))
        }
        return total
    }

    /// As `Engine.magnitude`.
    public static func magnitude(_ x: [Float]) -> Magnitude {
        let largest = x.reduce(Float(0)) { $0.isNaN || $1.isNaN ? .nan : max($0, abs($1)) }
        return Magnitude(count: x.count, squares: sumOfSquares(x), largest: largest)
    }

    /// What an update that is measured returns.
    public static func updateSquares(before: [Float], after: [Float]) -> UpdateSquares {
        UpdateSquares(
            update: sumOfSquares(zip(before, after).map { Double($1) - Double($0) }),
            weight: sumOfSquares(before))
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

    /// As `Engine.lion`.
    public static func lion(
        _ update: LionUpdate, gradient: [Float], parameters p: inout [Float], m: inout [Float]
    ) {
        for i in p.indices {
            let difference = gradient[i] * update.gradientScale - m[i]
            let c = m[i].addingProduct(update.oneMinusBeta1, difference)
            m[i] = m[i].addingProduct(update.oneMinusBeta2, difference)
            p[i] = p[i].addingProduct(-update.decay, p[i])
            if c > 0 { p[i] -= update.stepSize } else if c < 0 { p[i] += update.stepSize }
        }
    }

    /// As `Engine.sgd`; without momentum `m` is empty.
    public static func sgd(
        _ update: SGDUpdate, gradient: [Float], parameters p: inout [Float], m: inout [Float]
    ) {
        for i in p.indices {
            var direction = (gradient[i] * update.gradientScale).addingProduct(update.decay, p[i])
            if !m.isEmpty {
                m[i] = direction.addingProduct(update.momentum, m[i])
                direction = update.nesterov ? direction.addingProduct(update.momentum, m[i]) : m[i]
            }
            p[i] = p[i].addingProduct(-update.stepSize, direction)
        }
    }

    /// As `Engine.average`.
    public static func average(
        _ x: [Float], scale: Float = 1, weight: Float, into y: inout [Float], nesterov: Bool = false
    ) -> [Float] {
        y.indices.map { i in
            let scaled = x[i] * scale
            y[i] = y[i].addingProduct(weight, scaled - y[i])
            return nesterov ? scaled.addingProduct(1 - weight, y[i] - scaled) : y[i]
        }
    }

    /// As `Engine.combine`.
    public static func combine(_ a: Float, _ x: [Float], _ b: Float, _ y: inout [Float]) {
        for i in y.indices { y[i] = (b * y[i]).addingProduct(a, x[i]) }
    }
}
