// Sampling with a cache of keys and values: each new id costs one pass over the weights, whatever came before it.

public import Bytes
public import Kernels

/// How the next id is drawn.
public struct SamplingRecipe: Sendable, Equatable {
    /// Logits are divided by it; 0 takes the most likely id.
    public var temperature = 1.0
    /// Only the most likely ids whose probabilities reach this sum are drawn from (nucleus sampling, arXiv:1904.09751).
    public var topP = 1.0
    /// Only this many of the most likely ids; 0 = all.
    public var topK = 0
    public var seed: UInt64 = 0

    public init() {}

    /// - Throws: `Fault` (usage) naming the first value out of range.
    public func validate() throws(Fault) {
        if !(temperature >= 0 && temperature.isFinite) {
            throw Fault(.usage, "temperature is \(temperature), expected 0 or more")
        }
        if !(topP > 0 && topP <= 1) { throw Fault(.usage, "top-p is \(topP), expected more than 0, up to 1") }
        if topK < 0 { throw Fault(.usage, "top-k is \(topK), expected 0 or more") }
    }
}

/// Feeds ids to a model one at a time and gives the logits that follow. Holds up to `length` positions.
public final class Generator {
    private let model: Transformer
    private let length: Int
    /// Keys and values of each layer: (length, KV, d).
    private let keys: [Tensor]
    private let values: [Tensor]
    private let batch = ModelBatch(capacity: 1)
    private let rotary: (cosine: Tensor, sine: Tensor)
    /// The logits after the last id (V).
    public let logits: Tensor
    private let probabilities: Tensor
    /// Ids fed so far.
    public private(set) var position = 0

    public init(_ model: Transformer, length: Int) {
        self.model = model
        self.length = length
        let c = model.configuration
        keys = (0..<c.layers).map { _ in Tensor(zeroed: length * c.keyValueHeads * c.headSize) }
        values = (0..<c.layers).map { _ in Tensor(zeroed: length * c.keyValueHeads * c.headSize) }
        rotary = Engine.ropeTable(theta: c.ropeTheta, positions: length, d: c.headSize)
        logits = Tensor(zeroed: c.vocabularySize)
        probabilities = Tensor(zeroed: c.vocabularySize)
    }

    /// Takes in one id; `logits` then predict the next.
    /// - Throws: `Fault` (usage) for an unknown id or a full cache.
    public func feed(_ id: UInt32) throws(Fault) {
        let c = model.configuration
        guard Int(id) < c.vocabularySize else {
            throw Fault(.usage, "id \(id), expected one below the vocabulary's size \(c.vocabularySize)")
        }
        guard position < length else { throw Fault(.usage, "the sequence is longer than \(length) ids") }
        try batch.fill(
            rows: 0..<1, length: 1, inputs: [id], targets: [id], segmentEnds: [[1]], lossMask: nil, weight: 1,
            vocabularySize: c.vocabularySize)
        batch.position[0] = Int32(position)
        model.decode(batch, rotary: rotary) { layer, qkv in
            let width = c.heads * c.headSize
            let cached = c.keyValueHeads * c.headSize
            keys[layer].slice(position * cached, cached).copy(qkv.slice(width, cached))
            values[layer].slice(position * cached, cached).copy(qkv.slice(width + cached, cached))
            return (
                keys[layer].slice(0, (position + 1) * cached), values[layer].slice(0, (position + 1) * cached),
                position + 1
            )
        }
        model.headLogits(into: logits)
        position += 1
    }

    /// Draws the next id from `logits`; a function of the logits, the recipe and the position alone.
    public func sample(_ recipe: SamplingRecipe) -> UInt32 {
        let values = logits.array
        var best = 0
        for i in values.indices where values[i] > values[best] { best = i }
        if recipe.temperature == 0 { return UInt32(best) }
        probabilities.copy(values.map { Float(Double($0 - values[best]) / recipe.temperature) })
        model.engine.exponential(probabilities, y: probabilities)
        let weights = probabilities.array.map(Double.init)
        // Most likely first; equal ones in order of id.
        var order = Array(weights.indices)
        if recipe.topK > 0 || recipe.topP < 1 {
            order.sort { weights[$0] != weights[$1] ? weights[$0] > weights[$1] : $0 < $1 }
        }
        if recipe.topK > 0 { order.removeLast(max(0, order.count - recipe.topK)) }
        if recipe.topP < 1 {
            let total = order.reduce(0) { $0 + weights[$1] }
            var sum = 0.0
            if let last = order.firstIndex(where: { index in
                sum += weights[index]
                return sum >= recipe.topP * total
            }) {
                order.removeLast(order.count - last - 1)
            }
        }
        let total = order.reduce(0) { $0 + weights[$1] }
        var rest = Random(seed: recipe.seed, purpose: RandomPurpose.sampling).uniform(UInt64(position)) * total
        for index in order {
            rest -= weights[index]
            if rest < 0 { return UInt32(index) }
        }
        return UInt32(order.last { weights[$0] > 0 } ?? best)
    }
}

extension Transformer {
    /// One position through all layers. `cache` stores a layer's new key and value, which lie behind the query in `qkv`,
    /// and gives back all keys and values so far and their number.
    func decode(
        _ batch: ModelBatch, rotary: (cosine: Tensor, sine: Tensor),
        cache: (_ layer: Int, _ qkv: Tensor) -> (keys: Tensor, values: Tensor, count: Int)
    ) {
        let c = configuration
        let (hidden, width, inner) = (c.hiddenSize, c.heads * c.headSize, c.intermediateSize)
        let epsilon = Float(c.normEpsilon)
        let a = activations.layers[0]
        let x = a.residual.slice(0, hidden)
        let middle = a.middle.slice(0, hidden)
        engine.embedding(weights.embedding, c: hidden, ids: batch.inputs.slice(0, 1), out: x)
        for (index, w) in weights.layers.enumerated() {
            engine.rmsnorm(
                x, weight: w.norm1, epsilon: epsilon, y: a.norm1.slice(0, hidden), rstd: a.rstd1.slice(0, 1))
            engine.gemm(
                matrix(a.norm1, 1, hidden), matrix(w.qkv, qkvWidth, hidden), transposeB: true,
                into: matrix(a.qkv, 1, qkvWidth))
            engine.rope(
                a.qkv.slice(0, qkvWidth), heads: c.heads + c.keyValueHeads, d: c.headSize, stride: qkvWidth,
                positions: batch.position.slice(0, 1), cosine: rotary.cosine, sine: rotary.sine)
            let past = cache(index, a.qkv)
            engine.attentionDecode(
                count: past.count, heads: c.heads, kvHeads: c.keyValueHeads, d: c.headSize,
                scale: 1 / Float(c.headSize).squareRoot(), q: a.qkv.slice(0, width), k: past.keys, v: past.values,
                out: a.attention.slice(0, width))
            middle.copy(x)
            engine.gemm(
                matrix(a.attention, 1, width), matrix(w.output, hidden, width), transposeB: true,
                into: matrix(a.middle, 1, hidden), accumulate: true)
            engine.rmsnorm(
                middle, weight: w.norm2, epsilon: epsilon, y: a.norm2.slice(0, hidden), rstd: a.rstd2.slice(0, 1))
            engine.gemm(
                matrix(a.norm2, 1, hidden), matrix(w.gateUp, 2 * inner, hidden), transposeB: true,
                into: matrix(a.gateUp, 1, 2 * inner))
            engine.swiglu(a.gateUp.slice(0, 2 * inner), width: inner, out: a.product.slice(0, inner))
            x.copy(middle)
            engine.gemm(
                matrix(a.product, 1, inner), matrix(w.down, hidden, inner), transposeB: true,
                into: matrix(a.residual, 1, hidden), accumulate: true)
        }
        engine.rmsnorm(
            x, weight: weights.norm, epsilon: epsilon, y: activations.finalNorm.slice(0, hidden),
            rstd: activations.finalRstd.slice(0, 1))
    }

    /// Logits (V) of the first position's last norm.
    func headLogits(into logits: Tensor) {
        let c = configuration
        engine.gemm(
            matrix(activations.finalNorm, 1, c.hiddenSize), Matrix(weights.head, rows: c.vocabularySize, columns: c.hiddenSize),
            transposeB: true, into: Matrix(logits, rows: 1, columns: c.vocabularySize))
    }
}
