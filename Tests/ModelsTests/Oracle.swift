// The model once more, in double, as plainly as it can be written: loops over positions, parameters looked up by their
// Hugging Face names, no fused matrices, no backward pass. It is what the forward pass must agree with, and its central
// differences are what the backward pass must agree with.

import Models

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

struct Oracle {
    let c: ModelConfiguration
    let layout: ParameterLayout

    init(_ configuration: ModelConfiguration) {
        c = configuration
        layout = ParameterLayout(configuration)
    }

    /// One row: ids, targets, the first position each one sees, its rotary position and the weight of its loss.
    struct Row {
        var inputs: [Int]
        var targets: [Int]
        var first: [Int]
        var weight: [Double]

        /// `ends` as the batch stream has them; what lies behind the last is padding.
        init(inputs: [UInt32], targets: [UInt32], ends: [Int], mask: [Bool]?, weight: Double) {
            self.inputs = inputs.map(Int.init)
            self.targets = targets.map(Int.init)
            first = inputs.indices.map { t in ends.last { $0 <= t } ?? 0 }
            self.weight = inputs.indices.map { t in t < ends.last ?? 0 && mask?[t] ?? true ? weight : 0 }
        }
    }

    /// Σ weight · loss over the rows.
    func loss(_ p: [Double], _ rows: [Row]) -> Double {
        rows.reduce(0) { sum, row in sum + zip(row.weight, losses(p, row)).reduce(0) { $0 + $1.0 * $1.1 } }
    }

    func losses(_ p: [Double], _ row: Row) -> [Double] {
        zip(logits(p, row), row.targets).map { logits, target in
            let top = logits.max() ?? 0
            return top + log(logits.reduce(0) { $0 + exp($1 - top) }) - logits[target]
        }
    }

    /// (T, V).
    func logits(_ p: [Double], _ row: Row) -> [[Double]] {
        let embedding = matrix(p, "model.embed_tokens.weight")
        var x = row.inputs.map { embedding[$0] }
        for layer in 0..<c.layers { x = self.layer(p, "model.layers.\(layer).", x, row.first) }
        let norm = vector(p, "model.norm.weight")
        let head = c.tiesEmbeddings ? embedding : matrix(p, "lm_head.weight")
        return x.map { multiply(head, rmsnorm($0, norm)) }
    }

    private func layer(_ p: [Double], _ prefix: String, _ x: [[Double]], _ first: [Int]) -> [[Double]] {
        let norm1 = vector(p, prefix + "input_layernorm.weight")
        let h = x.map { rmsnorm($0, norm1) }
        let positions = first.enumerated().map { $0.offset - $0.element }
        func project(_ name: String) -> [[Double]] {
            let weight = matrix(p, prefix + "self_attn.\(name)_proj.weight")
            return h.map { multiply(weight, $0) }
        }
        let q = zip(project("q"), positions).map { rotate($0, c.heads, $1) }
        let k = zip(project("k"), positions).map { rotate($0, c.keyValueHeads, $1) }
        let v = project("v")
        let output = matrix(p, prefix + "self_attn.o_proj.weight")
        let norm2 = vector(p, prefix + "post_attention_layernorm.weight")
        let gate = matrix(p, prefix + "mlp.gate_proj.weight")
        let up = matrix(p, prefix + "mlp.up_proj.weight")
        let down = matrix(p, prefix + "mlp.down_proj.weight")
        return x.indices.map { t in
            let attended = (0..<c.heads).flatMap { head in
                attend(head, q[t], Array(k[first[t]...t]), Array(v[first[t]...t]))
            }
            let y = add(x[t], multiply(output, attended))
            let g = rmsnorm(y, norm2)
            let inner = zip(multiply(gate, g), multiply(up, g)).map { $0 / (1 + exp(-$0)) * $1 }
            return add(y, multiply(down, inner))
        }
    }

    private func attend(_ head: Int, _ q: [Double], _ k: [[Double]], _ v: [[Double]]) -> [Double] {
        let d = c.headSize
        let shared = head / (c.heads / c.keyValueHeads) * d
        let scores = k.map { key in
            (0..<d).reduce(0) { $0 + q[head * d + $1] * key[shared + $1] } / Double(d).squareRoot()
        }
        let top = scores.max() ?? 0
        let weights = scores.map { exp($0 - top) }
        let total = weights.reduce(0, +)
        return (0..<d).map { i in zip(weights, v).reduce(0) { $0 + $1.0 / total * $1.1[shared + i] } }
    }

    private func rotate(_ x: [Double], _ heads: Int, _ position: Int) -> [Double] {
        let half = c.headSize / 2
        var y = x
        for head in 0..<heads {
            for i in 0..<half {
                let angle = Double(position) * pow(c.ropeTheta, -2 * Double(i) / Double(c.headSize))
                let (a, b) = (head * c.headSize + i, head * c.headSize + half + i)
                y[a] = x[a] * cos(angle) - x[b] * sin(angle)
                y[b] = x[b] * cos(angle) + x[a] * sin(angle)
            }
        }
        return y
    }

    private func rmsnorm(_ x: [Double], _ w: [Double]) -> [Double] {
        let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
        return zip(x, w).map { $0 / (mean + c.normEpsilon).squareRoot() * $1 }
    }

    private func add(_ a: [Double], _ b: [Double]) -> [Double] { zip(a, b).map { $0 + $1 } }

    /// W · x.
    private func multiply(_ w: [[Double]], _ x: [Double]) -> [Double] {
        w.map { row in zip(row, x).reduce(0) { $0 + $1.0 * $1.1 } }
    }

    private func vector(_ p: [Double], _ name: String) -> [Double] {
        guard let tensor = layout[name] else { preconditionFailure("no tensor \(name)") }
        return Array(p[tensor.offset..<tensor.offset + tensor.count])
    }

    private func matrix(_ p: [Double], _ name: String) -> [[Double]] {
        guard let tensor = layout[name] else { preconditionFailure("no tensor \(name)") }
        return (0..<tensor.shape[0]).map { row in
            let start = tensor.offset + row * tensor.shape[1]
            return Array(p[start..<start + tensor.shape[1]])
        }
    }

    /// The gradient of `loss` by central differences.
    func gradient(_ p: [Double], _ rows: [Row], step: Double = 1e-5) -> [Double] {
        var p = p
        return p.indices.map { i in
            let old = p[i]
            p[i] = old + step
            let above = loss(p, rows)
            p[i] = old - step
            let below = loss(p, rows)
            p[i] = old
            return (above - below) / (2 * step)
        }
    }
}
