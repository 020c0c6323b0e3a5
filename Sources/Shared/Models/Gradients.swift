// Where gradients add up. A matrix's gradient is written by the first micro-batch of a step and added to by the others, so
// that nothing large is ever cleared. The embedding's gather touches few rows of many: only those are cleared again. A tied
// embedding has two sources, the gather and the head; they are kept apart until the step ends, because adding them
// alternately would make the sum depend on how the step is split into micro-batches.

public import Kernels

/// The gradient of every parameter that may learn, in the parameters' order. A step: `begin`, `Transformer.forwardBackward` for each
/// micro-batch in order, `finish`; with lanes, one of these for each, then `reduce`.
public final class Gradients: GradientAccumulator {
    /// The whole gradient as `places` says, valid after `finish` where parameters are not frozen.
    public let flat: Tensor
    public let places: GradientLayout
    /// What is not frozen.
    private(set) var parts: TrainedParts
    private let layout: ParameterLayout
    private let configuration: ModelConfiguration
    /// `flat` by place in the network; the gather of a tied embedding has a buffer of its own.
    let weights: Transformer.Weights
    private let gather: Tensor?
    /// Of `flat`; nil when the embedding never learns.
    private let embedding: Range<Int>?
    private let hidden: Int
    /// What a step adds to from its beginning on: norms, biases, learned positions.
    private let cleared: [Range<Int>]
    /// The rows of the embedding that the gather of this step has added to.
    private let touched: View<UInt32>
    private var touchedCount = 0
    private var isTouched: [Bool]
    private(set) var isFinished = true
    /// Whether no micro-batch of the step was added yet: matrices hold the last step's gradient.
    private(set) var isFresh = true

    /// - Parameter neverTrained: of each tensor of the layout, whether it is frozen in every step: then there is no room for
    ///   its gradient. nil: all may learn.
    public init(_ configuration: ModelConfiguration, layout: ParameterLayout, neverTrained: [Bool]? = nil) {
        places = GradientLayout(layout.tensors, neverTrained: neverTrained)
        flat = Tensor(zeroed: places.count)
        parts = TrainedParts(layout, configuration, isFrozen: neverTrained)
        self.layout = layout
        self.configuration = configuration
        embedding = places.place(of: layout.embedding)
        hidden = configuration.hiddenSize
        gather = configuration.tiesEmbeddings ? embedding.map { Tensor(zeroed: $0.count) } : nil
        weights = Transformer.Weights(flat, layout, configuration, places: places, gather: gather)
        cleared = layout.tensors.filter { !$0.decays || $0.range == layout.positions }.map(\.range)
            .filter { [places] in places.place(of: $0) != nil }
        touched = View(zeroed: embedding == nil ? 0 : configuration.vocabularySize)
        isTouched = Array(repeating: false, count: touched.count)
    }

    /// Bytes held.
    public static func bytes(
        _ configuration: ModelConfiguration, layout: ParameterLayout, neverTrained: [Bool]? = nil
    ) -> Int {
        let places = GradientLayout(layout.tensors, neverTrained: neverTrained)
        let embedding = places.place(of: layout.embedding)
        return 4 * (places.count + (configuration.tiesEmbeddings ? embedding?.count ?? 0 : 0))
            + (embedding == nil ? 0 : 5 * configuration.vocabularySize)
    }

    /// From the next step on, leaves out the work for frozen parameters; their gradients in `flat` mean nothing.
    /// - Parameter isFrozen: of each tensor of the layout.
    public func freeze(_ isFrozen: [Bool]) {
        for (index, tensor) in layout.tensors.enumerated() where !isFrozen[index] {
            precondition(places.offsets[index] != nil, "\(tensor.name) was never to be trained")
        }
        parts = TrainedParts(layout, configuration, isFrozen: isFrozen)
    }

    /// Ranges of `flat` that hold gradients: neighbouring parameters that are not frozen.
    public var runs: [Range<Int>] { parts.runs.compactMap(places.place) }

    /// Begins a step. What an abandoned one has left is forgotten.
    public func begin(_ engine: Engine) {
        for range in cleared where parts.runs.contains(where: { $0.overlaps(range) }) {
            if let place = places.place(of: range) { engine.zero(flat.slice(place.lowerBound, place.count)) }
        }
        engine.zero(rows: touched.slice(0, touchedCount), of: weights.embedding, c: hidden)
        for index in 0..<touchedCount { isTouched[Int(touched[index])] = false }
        touchedCount = 0
        isFresh = true
        isFinished = false
    }

    /// Adds a micro-batch's gradient by the embedding's output (N, C); its matrices were written before.
    func gather(_ dout: Tensor, ids: View<UInt32>, _ engine: Engine) {
        for index in 0..<ids.count { touch(ids[index]) }
        engine.embeddingBackward(dout, c: hidden, ids: ids, dtable: weights.embedding)
    }

    /// A micro-batch's gradient was added.
    func endPart() { isFresh = false }

    private func touch(_ id: UInt32) {
        if isTouched[Int(id)] { return }
        isTouched[Int(id)] = true
        touched[touchedCount] = id
        touchedCount += 1
    }

    /// Brings the two parts of a tied embedding together. Once a step, after the last row.
    public func finish(_ engine: Engine) {
        precondition(!isFinished, "gradients were finished already")
        isFinished = true
        if isFresh {
            engine.zero(flat)  // a lane without rows
        } else if let gather, let embedding, parts.embedding {
            engine.add(
                rows: touched.slice(0, touchedCount), of: gather, to: flat.slice(embedding.lowerBound, embedding.count),
                c: hidden)
        }
    }

    /// Adds the sum of another lane; both are finished.
    public func add(_ other: Gradients, _ engine: Engine) {
        precondition(isFinished && other.isFinished, "lanes are reduced after each was finished")
        for run in runs {
            engine.add(other.flat.slice(run.lowerBound, run.count), to: flat.slice(run.lowerBound, run.count))
        }
        // Rows that the sum brings in have to be cleared as well.
        for row in 0..<other.touchedCount { touch(other.touched[row]) }
    }
}
