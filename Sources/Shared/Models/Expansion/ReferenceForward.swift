// The model in double, a tensor at a time: what an expansion is held against. Independent of the kernels on purpose, and
// plain; it asks for each tensor when it needs it, so that a model of any size is checked in the memory of its largest.

import Kernels

/// Logits of a model in float64 (one document from its beginning).
public struct ReferenceForward {
    private let c: ModelConfiguration
    private let layout: ParameterLayout
    private let tensor: (String) throws -> [Float]

    /// - Parameter tensor: the values of a parameter by its name, row-major.
    public init(_ configuration: ModelConfiguration, tensor: @escaping (String) throws -> [Float]) {
        c = configuration
        layout = ParameterLayout(configuration)
        self.tensor = tensor
    }

    /// Logits (T, V), row-major.
    public func logits(_ ids: [Int]) throws -> [Double] {
        let (isGPT2, hidden) = (c.family == .gpt2, c.hiddenSize)
        var x: [Double] = []
        do {
            let table = try tensor(isGPT2 ? "transformer.wte.weight" : "model.embed_tokens.weight")
            for id in ids { x += table[id * hidden..<(id + 1) * hidden].map(Double.init) }
        }
        if isGPT2 {
            let table = try tensor("transformer.wpe.weight")
            for i in x.indices { x[i] += Double(table[i]) }
        }
        for layer in 0..<c.layers {
            if isGPT2 {
                try gpt2Layer("transformer.h.\(layer).", &x)
            } else {
                try llamaLayer("model.layers.\(layer).", &x)
            }
        }
        let head =
            c.tiesEmbeddings
            ? isGPT2 ? "transformer.wte.weight" : "model.embed_tokens.weight" : "lm_head.weight"
        return multiply(
            try norm(isGPT2 ? "transformer.ln_f" : "model.norm", x, hidden), try tensor(head), inputs: hidden,
            isInputMajor: false)
    }

    private func llamaLayer(_ prefix: String, _ x: inout [Double]) throws {
        let d = c.headSize
        let h = try norm(prefix + "input_layernorm", x, c.hiddenSize)
        func heads(_ name: String, _ count: Int) throws -> [Double] {
            var y = try affine(prefix + "self_attn.\(name)_proj", h, c.hiddenSize)
            if c.normalizesHeads { y = try norm(prefix + "self_attn.\(name)_norm", y, d) }
            rotate(&y, count)
            return y
        }
        let (q, k) = (try heads("q", c.heads), try heads("k", c.keyValueHeads))
        let v = try affine(prefix + "self_attn.v_proj", h, c.hiddenSize)
        let attended = attend(q, k, v)
        add(try affine(prefix + "self_attn.o_proj", attended, c.heads * d), to: &x)
        let g = try norm(prefix + "post_attention_layernorm", x, c.hiddenSize)
        var inner = try affine(prefix + "mlp.gate_proj", g, c.hiddenSize)
        let up = try affine(prefix + "mlp.up_proj", g, c.hiddenSize)
        for i in inner.indices { inner[i] = inner[i] / (1 + exponential(-inner[i])) * up[i] }
        add(try affine(prefix + "mlp.down_proj", inner, c.intermediateSize), to: &x)
    }

    private func gpt2Layer(_ prefix: String, _ x: inout [Double]) throws {
        let width = c.hiddenSize
        let qkv = try affine(prefix + "attn.c_attn", try norm(prefix + "ln_1", x, width), width)
        func part(_ index: Int) -> [Double] {
            stride(from: index * width, to: qkv.count, by: 3 * width).flatMap { qkv[$0..<$0 + width] }
        }
        add(try affine(prefix + "attn.c_proj", attend(part(0), part(1), part(2)), width), to: &x)
        var inner = try affine(prefix + "mlp.c_fc", try norm(prefix + "ln_2", x, width), width)
        for i in inner.indices {
            let a = inner[i]
            // ½ (1 + tanh z) = 1 / (1 + e^(−2z)).
            let z = (2 / Double.pi).squareRoot() * (a + 0.044715 * a * a * a)
            inner[i] = a / (1 + exponential(-2 * z))
        }
        add(try affine(prefix + "mlp.c_proj", inner, c.intermediateSize), to: &x)
    }

    /// Causal attention of all heads: q (T, H·d), k and v (T, KV·d).
    private func attend(_ q: [Double], _ k: [Double], _ v: [Double]) -> [Double] {
        let (d, width, shared) = (c.headSize, c.heads * c.headSize, c.keyValueHeads * c.headSize)
        let positions = q.count / width
        var out = [Double](repeating: 0, count: q.count)
        for t in 0..<positions {
            for head in 0..<c.heads {
                let group = head / (c.heads / c.keyValueHeads) * d
                var scores = (0...t).map { s in
                    var sum = 0.0
                    for i in 0..<d { sum += q[t * width + head * d + i] * k[s * shared + group + i] }
                    return sum / Double(d).squareRoot()
                }
                let top = scores.max() ?? 0
                for s in scores.indices { scores[s] = exponential(scores[s] - top) }
                let total = scores.reduce(0, +)
                for s in scores.indices {
                    for i in 0..<d { out[t * width + head * d + i] += scores[s] / total * v[s * shared + group + i] }
                }
            }
        }
        return out
    }

    private func rotate(_ x: inout [Double], _ heads: Int) {
        let (d, half) = (c.headSize, c.headSize / 2)
        guard let rotation = RotaryAngles(c) else { return }
        for t in 0..<x.count / (heads * d) {
            for i in 0..<half {
                let angle = Naive.sineAndCosine(Double(t) * rotation.frequencies[i])
                let (sine, cosine) = (angle.sine * rotation.magnitude, angle.cosine * rotation.magnitude)
                for head in 0..<heads {
                    let (a, b) = (t * heads * d + head * d + i, t * heads * d + head * d + half + i)
                    (x[a], x[b]) = (x[a] * cosine - x[b] * sine, x[b] * cosine + x[a] * sine)
                }
            }
        }
    }

    /// RMSNorm, or LayerNorm where there is a bias, of each `width` neighbours.
    private func norm(_ name: String, _ x: [Double], _ width: Int) throws -> [Double] {
        let weight = try tensor(name + ".weight")
        let bias = layout[name + ".bias"] == nil ? nil : try tensor(name + ".bias")
        var y = x
        for row in stride(from: 0, to: x.count, by: width) {
            var (mean, square) = (0.0, 0.0)
            if bias != nil {
                for i in row..<row + width { mean += x[i] }
                mean /= Double(width)
            }
            for i in row..<row + width { square += (x[i] - mean) * (x[i] - mean) }
            let scale = 1 / (square / Double(width) + c.normEpsilon).squareRoot()
            for i in 0..<width {
                y[row + i] = (x[row + i] - mean) * scale * Double(weight[i]) + (bias.map { Double($0[i]) } ?? 0)
            }
        }
        return y
    }

    /// x · Wᵀ + b, or x · W + b where W is stored (in, out).
    private func affine(_ name: String, _ x: [Double], _ inputs: Int) throws -> [Double] {
        var y = multiply(x, try tensor(name + ".weight"), inputs: inputs, isInputMajor: c.isInputMajor)
        let (a, b) = ModelConfiguration.adapterNames(of: name)
        if let adapters = c.adapters, layout[a] != nil {
            let low = multiply(x, try tensor(a), inputs: inputs, isInputMajor: false)
            let added = multiply(low, try tensor(b), inputs: adapters.rank, isInputMajor: false)
            for i in y.indices { y[i] += adapters.scale * added[i] }
        }
        if layout[name + ".bias"] != nil {
            let bias = try tensor(name + ".bias")
            for i in y.indices { y[i] += Double(bias[i % bias.count]) }
        }
        return y
    }

    private func multiply(_ x: [Double], _ w: [Float], inputs: Int, isInputMajor: Bool) -> [Double] {
        let (rows, outputs) = (x.count / inputs, w.count / inputs)
        var y = [Double](repeating: 0, count: rows * outputs)
        if isInputMajor {
            for input in 0..<inputs {
                let line = w[input * outputs..<(input + 1) * outputs].map(Double.init)
                for row in 0..<rows {
                    let value = x[row * inputs + input]
                    for output in 0..<outputs { y[row * outputs + output] += value * line[output] }
                }
            }
            return y
        }
        for output in 0..<outputs {
            let line = w[output * inputs..<(output + 1) * inputs].map(Double.init)
            for row in 0..<rows {
                // Four sums, so that one addition need not wait for the one before.
                var (a, b, c, d, i) = (0.0, 0.0, 0.0, 0.0, 0)
                let start = row * inputs
                while i + 4 <= inputs {
                    a += x[start + i] * line[i]
                    b += x[start + i + 1] * line[i + 1]
                    c += x[start + i + 2] * line[i + 2]
                    d += x[start + i + 3] * line[i + 3]
                    i += 4
                }
                while i < inputs {
                    a += x[start + i] * line[i]
                    i += 1
                }
                y[row * outputs + output] = (a + b) + (c + d)
            }
        }
        return y
    }

    private func add(_ y: [Double], to x: inout [Double]) { for i in x.indices { x[i] += y[i] } }

    /// e^x for any x.
    private func exponential(_ x: Double) -> Double {
        if x.isNaN { return x }
        return Naive.exponential(min(max(x, -690), 690))
    }
}
