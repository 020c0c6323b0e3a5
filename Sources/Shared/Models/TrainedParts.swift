// What of a model learns: from a mask over its parameters to the work that a backward pass can leave out. The product for a
// frozen matrix's gradient is not made, and the pass ends where nothing below learns.

/// The parts of a network whose gradients are wanted.
struct TrainedParts: Sendable, Equatable {
    /// A projection: the outputs whose weights learn (queries, keys and values lie side by side and may differ), and whether
    /// some of its bias does.
    struct Affine: Sendable, Equatable {
        var outputs: [Range<Int>]
        var bias: Bool
        /// Rows of its adapters' A, which lie one below the other, and whether each of their B learns.
        var adapterInputs: [Range<Int>]
        var adapterOutputs: [Bool]
        var isTrained: Bool {
            bias || !outputs.isEmpty || !adapterInputs.isEmpty || adapterOutputs.contains(true)
        }
    }

    struct Layer: Sendable, Equatable {
        var norm1, headNorms, norm2: Bool
        var queryKeyValue, output, up, down: Affine

        var isTrained: Bool { reachesAttention || norm2 || up.isTrained || down.isTrained }
        /// Whether the gradient has to reach the layer's first half.
        var reachesAttention: Bool { norm1 || headNorms || queryKeyValue.isTrained || output.isTrained }
    }

    let embedding: Bool
    let positions: Bool
    let layers: [Layer]
    let norm: Bool
    let head: Bool
    /// The lowest layer that the gradient has to reach: 0 when an embedding learns, `layers.count` when no layer does.
    let lowest: Int
    /// Neighbouring parameters that learn: ranges of the flat array.
    let runs: [Range<Int>]

    /// Whether the gradient of the last norm's output is wanted.
    var needsStream: Bool { norm || lowest < layers.count || embedding || positions }
    /// Whether something under layer `index` learns.
    func isBelow(_ index: Int) -> Bool { embedding || positions || lowest < index }

    /// - Parameter isFrozen: of each tensor of the layout; nil: none is.
    init(_ layout: ParameterLayout, _ c: ModelConfiguration, isFrozen: [Bool]? = nil) {
        precondition(
            isFrozen?.count ?? layout.tensors.count == layout.tensors.count,
            "a mask of \(isFrozen?.count ?? 0) for \(layout.tensors.count) tensors")
        let trained = layout.tensors.indices.filter { !(isFrozen?[$0] ?? false) }.map { layout.tensors[$0].range }
        let runs = trained.reduce(into: [Range<Int>]()) { runs, range in
            if let last = runs.last, last.upperBound == range.lowerBound {
                runs[runs.count - 1] = last.lowerBound..<range.upperBound
            } else {
                runs.append(range)
            }
        }
        func any(_ range: Range<Int>?) -> Bool {
            range.map { range in runs.contains { $0.overlaps(range) } } ?? false
        }
        func any(_ pair: ParameterLayout.Pair) -> Bool { any(pair.weight) || any(pair.bias) }
        func rows(_ range: Range<Int>, _ width: Int) -> [Range<Int>] {
            runs.map { $0.clamped(to: range) }.filter { !$0.isEmpty }
                .map { ($0.lowerBound - range.lowerBound) / width..<($0.upperBound - range.lowerBound) / width }
        }
        func affine(_ pair: ParameterLayout.Pair, _ inputs: Int) -> Affine {
            Affine(
                outputs: rows(pair.weight, inputs), bias: any(pair.bias),
                adapterInputs: pair.adapters.map { rows($0.inputs, inputs) } ?? [],
                adapterOutputs: pair.adapters?.outputs.map { any($0.weight) } ?? [])
        }
        layers = layout.layers.map { layer in
            Layer(
                norm1: any(layer.norm1), headNorms: any(layer.queryNorm) || any(layer.keyNorm),
                norm2: any(layer.norm2), queryKeyValue: affine(layer.queryKeyValue, c.hiddenSize),
                output: affine(layer.output, c.heads * c.headSize), up: affine(layer.up, c.hiddenSize),
                down: affine(layer.down, c.intermediateSize))
        }
        embedding = any(layout.embedding)
        positions = any(layout.positions)
        norm = any(layout.norm)
        head = any(layout.head ?? layout.embedding)
        lowest = embedding || positions ? 0 : layers.firstIndex { $0.isTrained } ?? layers.count
        self.runs = runs
    }
}
