// Where gradients add up. A tied embedding has two sources, the gather and the head; they are kept apart until the step
// ends, because adding them alternately would make the sum depend on how the step is split into micro-batches.

public import Kernels

/// The gradient of every parameter, in the parameters' layout.
public final class Gradients {
    /// The whole gradient, valid after `finish`.
    public let flat: Tensor
    /// What the head adds to a tied embedding; nil when untied.
    let head: Tensor?
    private let embedding: ParameterTensor

    public init(_ configuration: ModelConfiguration, layout: ParameterLayout) {
        flat = Tensor(zeroed: layout.count)
        embedding = layout.tensors[0]
        head = configuration.tiesEmbeddings ? Tensor(zeroed: embedding.count) : nil
    }

    /// Bytes held.
    public static func bytes(_ configuration: ModelConfiguration, layout: ParameterLayout) -> Int {
        4 * (layout.count + (configuration.tiesEmbeddings ? layout.tensors[0].count : 0))
    }

    public func zero() {
        flat.fill(0)
        head?.fill(0)
    }

    /// Brings the two parts of a tied embedding together. Once a step, after the last row.
    public func finish(_ engine: Engine) {
        if let head { engine.add(head, to: flat.slice(embedding.offset, embedding.count)) }
    }

    /// Adds lanes as a binary tree (0+1, 2+3, …, then pairs of pairs) into lane 0, which holds the sum afterwards. The
    /// number of lanes is a power of two.
    public static func reduce(_ lanes: [Gradients], _ engine: Engine) {
        var distance = 1
        while distance < lanes.count {
            for lane in stride(from: 0, to: lanes.count, by: 2 * distance) {
                engine.add(lanes[lane + distance].flat, to: lanes[lane].flat)
            }
            distance *= 2
        }
    }
}
