// The floating-point operations of a step: what a speed in tokens a second is worth on a processor that can do so many. Only
// matrix products and attention are counted, a multiplication and an addition as two, and only what a step needs: neither
// what is computed anew to save memory, nor what masks leave out, nor products for parameters that are frozen.

/// What forward and backward pass of a training step need.
public struct TrainingWork: Sendable, Equatable {
    /// Operations a position, padding included: 6 for each element of a matrix when all of them learn.
    public let position: Double
    /// Operations for each query and each key that it sees: 12 · L · H · d when all layers learn.
    public let pair: Double

    public init(position: Double, pair: Double) {
        self.position = position
        self.pair = pair
    }

    /// - Parameter pairs: queries with each of the keys that they see, of one head.
    public func operations(positions: Int, pairs: Int) -> Double {
        position * Double(positions) + pair * Double(pairs)
    }
}

extension Transformer {
    /// It follows `backwardPass`.
    public func work(isFrozen: [Bool]) -> TrainingWork? {
        let (c, parts) = (configuration, TrainedParts(layout, configuration, isFrozen: isFrozen))
        var (position, pair) = (0, 0)
        /// Forward; and in the backward pass, where it is reached, the gradient of the input and of the weights.
        func add(_ inputs: Int, _ outputs: Int, _ trained: TrainedParts.Affine?, dx: Bool) {
            position += 2 * inputs * outputs * (dx ? 2 : 1)
            for range in trained?.outputs ?? [] { position += 2 * inputs * range.count }
        }
        let width = c.heads * c.headSize
        for (index, t) in parts.layers.enumerated() {
            let isReached = parts.needsStream && index >= parts.lowest
            let isBelow = parts.isBelow(index)
            let needsNorm2 = isReached && (isBelow || t.reachesAttention || t.norm2)
            let needsUp = needsNorm2 || isReached && t.up.isTrained
            let reachesAttention = isReached && (isBelow || t.reachesAttention)
            let needsNorm1 = reachesAttention && (isBelow || t.norm1)
            let needsHeads = needsNorm1 || reachesAttention && (t.queryKeyValue.isTrained || t.headNorms)
            add(c.intermediateSize, c.hiddenSize, isReached ? t.down : nil, dx: needsUp)
            add(c.hiddenSize, c.upWidth, needsUp ? t.up : nil, dx: needsNorm2)
            add(width, c.hiddenSize, reachesAttention ? t.output : nil, dx: needsHeads)
            add(c.hiddenSize, c.qkvWidth, needsHeads ? t.queryKeyValue : nil, dx: needsNorm1)
            pair += width * (needsHeads ? 12 : 4)
        }
        position += 2 * c.vocabularySize * c.hiddenSize * (1 + (parts.needsStream ? 1 : 0) + (parts.head ? 1 : 0))
        // Adapters that learn: their product forward, the gradient of its input, that of its weights.
        for (index, tensor) in layout.tensors.enumerated() where tensor.isAdapter {
            position += 2 * tensor.count * (isFrozen[index] ? 2 : 3)
        }
        return TrainingWork(position: Double(position), pair: Double(pair))
    }
}
