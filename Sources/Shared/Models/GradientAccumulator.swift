// Where gradients add up over a step's micro-batches. Lanes are accumulators whose sums are kept apart and added as a fixed
// tree, so that the bits do not depend on who computed which lane.

public import Kernels

/// The gradient of every parameter, in the parameters' layout. A step: `begin`, each micro-batch in order, `finish`; with
/// lanes, one of these for each, then `reduce`.
public protocol GradientAccumulator: AnyObject {
    /// The whole gradient, valid after `finish` where parameters are not frozen.
    var flat: Tensor { get }
    /// Where in `flat` the gradient of each tensor lies.
    var places: GradientLayout { get }
    /// From the next step on, gradients of these tensors are not asked for; what `flat` has there means nothing.
    /// - Parameter isFrozen: of each tensor of the model.
    func freeze(_ isFrozen: [Bool])
    /// Begins a step at zero. What an abandoned one has left is forgotten.
    func begin(_ engine: Engine)
    /// Once a step, after the last micro-batch; a lane may have had none, and its gradient is zero.
    func finish(_ engine: Engine)
    /// Adds the sum of another that is finished, too.
    func add(_ other: Self, _ engine: Engine)
}

extension GradientAccumulator {
    /// Adds finished lanes as a binary tree (0+1, 2+3, …, then pairs of pairs; one without a partner waits) into lane
    /// 0, which holds the sum afterwards.
    public static func reduce(_ lanes: [Self], _ engine: Engine) {
        var distance = 1
        while distance < lanes.count {
            for index in stride(from: 0, to: lanes.count - distance, by: 2 * distance) {
                lanes[index].add(lanes[index + distance], engine)
            }
            distance *= 2
        }
    }
}

/// One array that is cleared when a step begins and that the model adds to.
public final class FlatGradients: GradientAccumulator {
    public let flat: Tensor
    public let places: GradientLayout

    public init(_ tensors: [ParameterTensor]) {
        places = GradientLayout(tensors)
        flat = Tensor(zeroed: places.count)
    }

    public func freeze(_ isFrozen: [Bool]) {}
    public func begin(_ engine: Engine) { engine.zero(flat) }
    public func finish(_ engine: Engine) {}
    public func add(_ other: FlatGradients, _ engine: Engine) { engine.add(other.flat, to: flat) }
}
