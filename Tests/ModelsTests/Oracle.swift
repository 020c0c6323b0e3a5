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
        let isGPT2 = c.family == .gpt2
        let embedding = matrix(p, isGPT2 ? "transformer.wte.weight" : "model.embed_tokens.weight")
        var x = row.inputs.map { embedding[$0] }
        if isGPT2 {
            let table = matrix(p, "transformer.wpe.weight")
            x = x.enumerated().map { add($0.element, table[$0.offset - row.first[$0.offset]]) }
        }
        for layer in 0..<c.layers {
            x =
                isGPT2
                ? gpt2Layer(p, "transformer.h.\(layer).", x, row.first)
                : llamaLayer(p, "model.layers.\(layer).", x, row.first)
        }
        let head = c.tiesEmbeddings ? embedding : matrix(p, "lm_head.weight")
        return x.map { multiply(head, norm(p, isGPT2 ? "transformer.ln_f" : "model.norm", $0)) }
    }

    private func llamaLayer(_ p: [Double], _ prefix: String, _ x: [[Double]], _ first: [Int]) -> [[Double]] {
        let h = x.map { norm(p, prefix + "input_layernorm", $0) }
        let positions = first.enumerated().map { $0.offset - $0.element }
        func heads(_ name: String, _ count: Int) -> [[Double]] {
            zip(h, positions).map { h, position in
                var y = affine(p, prefix + "self_attn.\(name)_proj", h)
                if c.normalizesHeads {
                    y = (0..<count).flatMap { head in
                        let part = Array(y[head * c.headSize..<(head + 1) * c.headSize])
                        return norm(p, prefix + "self_attn.\(name)_norm", part)
                    }
                }
                return rotate(y, count, position)
            }
        }
        let (q, k) = (heads("q", c.heads), heads("k", c.keyValueHeads))
        let v = h.map { affine(p, prefix + "self_attn.v_proj", $0) }
        return x.indices.map { t in
            let attended = (0..<c.heads).flatMap { head in
                attend(head, q[t], Array(k[first[t]...t]), Array(v[first[t]...t]))
            }
            let y = add(x[t], affine(p, prefix + "self_attn.o_proj", attended))
            let g = norm(p, prefix + "post_attention_layernorm", y)
            let (gate, up) = (affine(p, prefix + "mlp.gate_proj", g), affine(p, prefix + "mlp.up_proj", g))
            let inner = zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 }
            return add(y, affine(p, prefix + "mlp.down_proj", inner))
        }
    }

    private func gpt2Layer(_ p: [Double], _ prefix: String, _ x: [[Double]], _ first: [Int]) -> [[Double]] {
        let width = c.hiddenSize
        let qkv = x.map { affine(p, prefix + "attn.c_attn", norm(p, prefix + "ln_1", $0)) }
        return x.indices.map { t in
            let seen = qkv[first[t]...t]
            let (k, v) = (seen.map { Array($0[width..<2 * width]) }, seen.map { Array($0[(2 * width)...]) })
            let attended = (0..<c.heads).flatMap { attend($0, Array(qkv[t][..<width]), k, v) }
            let y = add(x[t], affine(p, prefix + "attn.c_proj", attended))
            let inner = affine(p, prefix + "mlp.c_fc", norm(p, prefix + "ln_2", y)).map {
                0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0)))
            }
            return add(y, affine(p, prefix + "mlp.c_proj", inner))
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
                let angle = Double(position) * pow(c.ropeTheta ?? 0, -2 * Double(i) / Double(c.headSize))
                let (a, b) = (head * c.headSize + i, head * c.headSize + half + i)
                y[a] = x[a] * cos(angle) - x[b] * sin(angle)
                y[b] = x[b] * cos(angle) + x[a] * sin(angle)
            }
        }
        return y
    }

    /// RMSNorm, or LayerNorm where there is a bias.
    private func norm(_ p: [Double], _ name: String, _ x: [Double]) -> [Double] {
        let weight = vector(p, name + ".weight")
        let bias = layout[name + ".bias"] == nil ? nil : vector(p, name + ".bias")
        let mean = bias == nil ? 0 : x.reduce(0, +) / Double(x.count)
        let square = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
        let y = zip(x, weight).map { ($0 - mean) / (square + c.normEpsilon).squareRoot() * $1 }
        return bias.map { add(y, $0) } ?? y
    }

    /// W · x + b; GPT-2's W is stored (in, out).
    private func affine(_ p: [Double], _ name: String, _ x: [Double]) -> [Double] {
        let w = matrix(p, name + ".weight")
        var y =
            c.family == .gpt2
            ? w[0].indices.map { column in x.indices.reduce(0) { $0 + x[$1] * w[$1][column] } } : multiply(w, x)
        if let adapters = c.adapters, layout[name + ".lora_A.weight"] != nil {
            let low = multiply(matrix(p, name + ".lora_A.weight"), x)
            y = add(y, multiply(matrix(p, name + ".lora_B.weight"), low).map { adapters.scale * $0 })
        }
        return layout[name + ".bias"] == nil ? y : add(y, vector(p, name + ".bias"))
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
