// Sampling with a cache of keys and values: each new id costs one pass over the weights, whatever came before it.

public import Bytes
public import Kernels

/// Feeds ids to a model one at a time and gives the logits that follow. Holds up to `length` positions.
public final class Generator {
    private let model: Transformer
    private let length: Int
    /// Keys and values of each layer: (length, KV, d).
    private let keys: [Tensor]
    private let values: [Tensor]
    private let batch: ModelBatch
    private let table: RotaryTable?
    /// The logits after the last id (V).
    public let logits: Tensor
    private let probabilities: Tensor
    /// Ids fed so far.
    public private(set) var position = 0

    public init(_ model: Transformer, length: Int) {
        precondition(
            model.configuration.positions != .learned || length <= model.configuration.maximumPositions,
            "\(length) positions of a model that knows \(model.configuration.maximumPositions)")
        self.model = model
        self.length = length
        batch = ModelBatch(capacity: min(length, model.length))
        let c = model.configuration
        keys = (0..<c.layers).map { _ in Tensor(zeroed: length * c.keyValueHeads * c.headSize) }
        values = (0..<c.layers).map { _ in Tensor(zeroed: length * c.keyValueHeads * c.headSize) }
        table = RotaryTable(c, positions: length)
        logits = Tensor(zeroed: c.vocabularySize)
        probabilities = Tensor(zeroed: c.vocabularySize)
    }

    /// Takes in a prompt; `logits` then predict what follows. What fits the model's buffers goes through in one forward
    /// pass, the rest id by id; both ways give the same bits.
    /// - Throws: `Fault` (usage) for an unknown id or a full cache; nothing was taken in then.
    public func feed(_ ids: [UInt32]) throws(Fault) {
        try check(ids[...])
        guard position == 0, ids.count > 1 else {
            for id in ids { try feed(id) }
            return
        }
        let count = min(ids.count, batch.capacity)
        try batch.fill(
            rows: 0..<1, length: count, inputs: ids, targets: ids, segmentEnds: [[Int32(count)]], lossMask: nil,
            weight: 1, vocabularySize: model.configuration.vocabularySize)
        let width = model.configuration.qkvWidth
        model.forward(batch, keeping: false) { [self] layer, a in
            model.attendWithinRows(batch, a)
            for t in 0..<count { store(layer, position: t, a.qkv.slice(t * width, width)) }
        }
        position = count
        model.headLogits(of: count - 1, into: logits)
        for id in ids[count...] { try feed(id) }
    }

    /// Draws up to `count` ids, feeding each back, and hands them to `emit` until it says false or `stop` is drawn,
    /// which is not handed out.
    /// - Throws: `Fault` (usage) when the cache is full.
    public func generate(
        _ count: Int, recipe: SamplingRecipe, stop: UInt32?, emit: (UInt32) -> Bool
    ) throws(Fault) {
        for index in 0..<count {
            let id = sample(recipe)
            if id == stop || !emit(id) { return }
            if index + 1 < count { try feed(id) }
        }
    }

    private func check(_ ids: ArraySlice<UInt32>) throws(Fault) {
        let known = model.configuration.vocabularySize
        if let id = ids.first(where: { Int($0) >= known }) {
            throw Fault(.usage, "id \(id), expected one below the vocabulary's size \(known)")
        }
        if ids.count > length - position { throw Fault(.usage, "the sequence is longer than \(length) ids") }
    }

    /// Keeps a position's keys and values, which lie behind its queries.
    private func store(_ layer: Int, position: Int, _ qkv: Tensor) {
        let width = model.configuration.heads * model.configuration.headSize
        let cached = model.configuration.keyValueHeads * model.configuration.headSize
        keys[layer].slice(position * cached, cached).copy(qkv.slice(width, cached))
        values[layer].slice(position * cached, cached).copy(qkv.slice(width + cached, cached))
    }

    /// Takes in one id; `logits` then predict the next.
    /// - Throws: `Fault` (usage) for an unknown id or a full cache.
    public func feed(_ id: UInt32) throws(Fault) {
        let c = model.configuration
        try check([id])
        try batch.fill(
            rows: 0..<1, length: 1, inputs: [id], targets: [id], segmentEnds: [[1]], lossMask: nil, weight: 1,
            vocabularySize: c.vocabularySize)
        batch.position[0] = UInt32(position)
        model.decode(batch, table: table) { layer, qkv in
            store(layer, position: position, qkv)
            let cached = (position + 1) * c.keyValueHeads * c.headSize
            return (keys[layer].slice(0, cached), values[layer].slice(0, cached), position + 1)
        }
        model.headLogits(of: 0, into: logits)
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
