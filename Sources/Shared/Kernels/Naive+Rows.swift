// The scalar twins of rows.c: plain loops that say, to the bit, what each row kernel computes. Matrices are row-major
// arrays; gradients that the kernel adds to are `inout`.

extension Naive {
    /// Tables (positions, d/2) of the cosine and sine of p · theta^(-2i/d), computed in Double.
    public static func ropeTable(theta: Double, positions: Int, d: Int) -> (cosine: [Float], sine: [Float]) {
        var (cosine, sine): ([Float], [Float]) = ([], [])
        for p in 0..<positions {
            for i in 0..<d / 2 {
                let frequency = exponential(-2 * Double(i) / Double(d) * logarithm(theta))
                let angle = sineAndCosine(Double(p) * frequency)
                cosine.append(Float(angle.cosine))
                sine.append(Float(angle.sine))
            }
        }
        return (cosine, sine)
    }

    /// Rotates `heads` heads of width d in each row of x (rows `stride` apart), pairs (i, i + d/2), by the angle whose
    /// cosine and sine stand in row position[row] of the (positions, d/2) tables (arXiv:2104.09864).
    public static func rope(
        _ x: inout [Float], heads: Int, d: Int, stride: Int, positions: [UInt32], cosine: [Float], sine: [Float],
        inverse: Bool
    ) {
        let half = d / 2
        for (row, position) in positions.enumerated() {
            for head in 0..<heads {
                for i in 0..<half {
                    let c = cosine[Int(position) * half + i]
                    let s = sine[Int(position) * half + i] * (inverse ? -1 : 1)
                    let first = row * stride + head * d + i
                    let (x0, x1) = (x[first], x[first + half])
                    x[first] = (-(x1 * s)).addingProduct(x0, c)
                    x[first + half] = (x1 * c).addingProduct(x0, s)
                }
            }
        }
    }

    /// out (n, width) = silu(gate) · up, where a row of `gateUp` is gate then up (arXiv:2002.05202).
    public static func swiglu(_ gateUp: [Float], width: Int) -> [Float] {
        var out: [Float] = []
        for row in stride(from: 0, to: gateUp.count, by: 2 * width) {
            for i in row..<row + width { out.append(gateUp[i] * sigmoid(gateUp[i]) * gateUp[i + width]) }
        }
        return out
    }

    /// With s = σ(gate): dup = dout · gate · s; dgate = dout · up · (s + gate · s · (1 − s)).
    public static func swigluBackward(_ gateUp: [Float], dout: [Float], width: Int) -> [Float] {
        var gradient = gateUp
        for row in 0..<gateUp.count / (2 * width) {
            for i in 0..<width {
                let (gate, up) = (row * 2 * width + i, row * 2 * width + width + i)
                let dy = dout[row * width + i]
                let s = sigmoid(gateUp[gate])
                let silu = gateUp[gate] * s
                gradient[gate] = dy * gateUp[up] * s.addingProduct(silu, 1 - s)
                gradient[up] = dy * silu
            }
        }
        return gradient
    }

    /// x · σ(2u) with u = √(2/π) (x + 0.044715 x³) (arXiv:1606.08415).
    public static func gelu(_ x: [Float]) -> [Float] { x.map { $0 * sigmoid(geluArgument($0)) } }

    /// With s = σ(2u): dx = dout · (s + x · s · (1 − s) · d(2u)/dx).
    public static func geluBackward(_ x: [Float], dout: [Float]) -> [Float] {
        zip(x, dout).map { x, dy in
            let s = sigmoid(geluArgument(x))
            let slope = (1.59576912 as Float).addingProduct(0.214064495 * x, x)
            return dy * s.addingProduct(x * s * (1 - s), slope)
        }
    }

    private static func geluArgument(_ x: Float) -> Float { 1.59576912 * x.addingProduct(0.044715 * x, x * x) }

    /// out (n, c) = table[ids].
    public static func embedding(_ table: [Float], c: Int, ids: [UInt32]) -> [Float] {
        ids.flatMap { table[Int($0) * c..<(Int($0) + 1) * c] }
    }

    /// dtable[ids[i]] += dout[i], in order of i.
    public static func embeddingBackward(_ dout: [Float], c: Int, ids: [UInt32], dtable: inout [Float]) {
        for (row, id) in ids.enumerated() {
            for i in 0..<c { dtable[Int(id) * c + i] += dout[row * c + i] }
        }
    }

    /// Softmax and cross-entropy of each row of logits (n, v); see `mr_cross_entropy`. The largest logit is taken out;
    /// exponentials add up in blocks of 1024 (16 lanes and the tree, in Float), blocks in Double.
    public static func crossEntropy(
        _ logits: inout [Float], v: Int, stride: Int, targets: [UInt32], weights: [Float], gradient: Bool
    ) -> [Float] {
        var losses: [Float] = []
        for (row, weight) in weights.enumerated() {
            let start = row * stride
            if weight == 0 {
                losses.append(0)
                if gradient { for i in 0..<v { logits[start + i] = 0 } }
                continue
            }
            var largest = -Float.greatestFiniteMagnitude
            for i in 0..<v where logits[start + i] > largest { largest = logits[start + i] }
            let exponentials = (0..<v).map { exponential(logits[start + $0] - largest) }
            var sum = 0.0
            for block in Swift.stride(from: 0, to: v, by: 1024) {
                var lanes = [Float](repeating: 0, count: 16)
                for i in block..<min(block + 1024, v) { lanes[i % 16] += exponentials[i] }
                sum += Double(Naive.sum(lanes: lanes))
            }
            let target = start + Int(targets[row])
            let logSum = sum.isFinite ? logarithm(sum) : sum
            losses.append(Float(logSum + (Double(largest) - Double(logits[target]))))
            guard gradient else { continue }
            let factor = Float(Double(weight) / sum)
            for i in 0..<v { logits[start + i] = exponentials[i] * factor }
            logits[target] -= weight
        }
        return losses
    }
}
