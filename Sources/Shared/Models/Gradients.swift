// Where gradients add up. A tied embedding has two sources, the gather and the head; they are kept apart until the step
// ends, because adding them alternately would make the sum depend on how the step is split into micro-batches.

public import Kernels

/// The gradient of every parameter, in the parameters' layout. A step: `zero`, `Transformer.accumulate` for each
/// micro-batch in order, `finish`; with lanes, one of these for each, then `reduce`.
public final class Gradients {
    /// The whole gradient, valid after `finish`.
    public let flat: Tensor
    /// `flat` by place in the network; the head of a tied embedding is a buffer of its own.
    let weights: Transformer.Weights
    private let head: Tensor?
    private let embedding: Range<Int>
    private(set) var isFinished = false

    public init(_ configuration: ModelConfiguration, layout: ParameterLayout) {
        flat = Tensor(zeroed: layout.count)
        embedding = layout.embedding
        head = configuration.tiesEmbeddings ? Tensor(zeroed: embedding.count) : nil
        weights = Transformer.Weights(flat, layout, configuration, tiedHead: head)
    }

    /// Bytes held.
    public static func bytes(_ configuration: ModelConfiguration, layout: ParameterLayout) -> Int {
        4 * (layout.count + (configuration.tiesEmbeddings ? layout.embedding.count : 0))
    }

    public func zero() {
        flat.fill(0)
        head?.fill(0)
        isFinished = false
    }

    /// Brings the two parts of a tied embedding together. Once a step, after the last row.
    public func finish(_ engine: Engine) {
        precondition(!isFinished, "gradients were finished already")
        if let head { engine.add(head, to: flat.slice(embedding.lowerBound, embedding.count)) }
        isFinished = true
    }

    /// Adds finished lanes as a binary tree (0+1, 2+3, …, then pairs of pairs; one without a partner waits) into lane
    /// 0, which holds the sum afterwards.
    public static func reduce(_ lanes: [Gradients], _ engine: Engine) {
        precondition(lanes.allSatisfy(\.isFinished), "lanes are reduced after each was finished")
        var distance = 1
        while distance < lanes.count {
            for lane in stride(from: 0, to: lanes.count - distance, by: 2 * distance) {
                engine.add(lanes[lane + distance].flat, to: lanes[lane].flat)
            }
            distance *= 2
        }
    }
}
