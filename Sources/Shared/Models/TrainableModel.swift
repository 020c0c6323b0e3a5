// What training asks of a model, and nothing more: a description that can be read before memory is taken for it, parameters
// in one flat array, and the two passes. `Transformer` is one such model; an embedder's own gets the same loop, guards,
// checkpoints and metrics (docs/api.md).

public import Bytes
public import Kernels

/// A model before it has memory: what config.json says of it, checked.
public protocol ModelDescription: Sendable {
    /// - Parameter name: the file, for messages.
    /// - Throws: `Fault` (bad data) naming the field that is missing or wrong. A checkpoint of another kind of model comes
    ///   here too: look at `model_type`.
    init(json: JSON, name: String) throws(Fault)

    /// The form that config.json holds; `init(json:name:)` of it gives an equal description.
    var json: JSON { get }
    /// V: ids are below it.
    var vocabularySize: Int { get }
    /// The longest row that the model can take.
    var maximumPositions: Int { get }
    /// Every parameter, tiling the flat array without a gap (`ParameterTensor.tiling`).
    var tensors: [ParameterTensor] { get }
    /// Whether layers store matrices as (in, out) and not as (out, in). Only Muon asks.
    var isInputMajor: Bool { get }
    /// What the file asks for and training does without, for a note to the person.
    var leftOut: [String] { get }

    /// This model, for a tokenizer whose documents end with `id`.
    func naming(endOfDocument id: Int?) -> Self
    /// What of this model a checkpoint of that config.json has, when a new run begins from it; the rest begins as
    /// `TrainableModel.initialize` sets it.
    func stored(in origin: JSON) throws(Fault) -> Self
    /// The names under which a file may have a tensor, the usual one first.
    func storedNames(of tensor: ParameterTensor) -> [String]
    /// Whether files may carry a tensor of that name that is no parameter.
    func isBuffer(_ name: String) -> Bool
    /// The usual name of the parameter that such a tensor must be a copy of; nil: of none.
    func original(ofBuffer name: String) -> String?
}

extension ModelDescription {
    public var isInputMajor: Bool { false }
    public var leftOut: [String] { [] }
    public func naming(endOfDocument id: Int?) -> Self { self }
    public func stored(in origin: JSON) throws(Fault) -> Self { self }
    public func storedNames(of tensor: ParameterTensor) -> [String] { [tensor.name] }
    public func isBuffer(_ name: String) -> Bool { false }
    public func original(ofBuffer name: String) -> String? { nil }

    /// Elements of the flat array.
    public var parameterCount: Int { tensors.last.map { $0.offset + $0.count } ?? 0 }
}

/// How large a model's passes get, and what they are computed in.
public struct TrainingShape: Sendable {
    /// Rows and their length of the largest micro-batch; shorter rows may come in greater number.
    public var rows: Int
    public var length: Int
    /// What operands of matrix products are rounded to.
    public var precision = Precision.fp32
    /// What the backward pass computes anew. No result may depend on it; a model may ignore it.
    public var recompute = Recompute.none

    public init(rows: Int, length: Int, precision: Precision = .fp32, recompute: Recompute = .none) {
        self.rows = rows
        self.length = length
        self.precision = precision
        self.recompute = recompute
    }

    /// Positions that are computed at once.
    public var positions: Int { rows * length }
}

/// A model that `Trainer` can train. Not for concurrent use.
///
/// Two runs come to the same bytes, whatever they were interrupted by and however a step was cut into micro-batches, if
/// `forwardBackward` adds up what each row contributes in the order of the rows, and depends on nothing but parameters and
/// batch.
public protocol TrainableModel: AnyObject {
    associatedtype Description: ModelDescription
    /// Where gradients add up: one flat array unless the model knows better.
    associatedtype Accumulator: GradientAccumulator = FlatGradients

    /// Allocates everything that the passes need: nothing is allocated afterwards.
    init(_ description: Description, engine: Engine, shape: TrainingShape)

    /// Its configuration.
    var configuration: Description { get }
    /// The threads and kernels it computes with.
    var engine: Engine { get }
    /// All parameters, laid out as `configuration.tensors` says; initially zero.
    var parameters: Tensor { get }
    /// Positions that fit at once, and the longest row.
    var capacity: Int { get }
    var length: Int { get }

    /// Sets the initial parameters: a function of the seed alone.
    func initialize(seed: UInt64)

    /// Sets what a checkpoint of `stored` has not, before that is loaded: at least that.
    func initialize(seed: UInt64, beside stored: Description)

    /// A place for gradients to add up.
    /// - Parameter neverTrained: of each tensor, whether its gradient is never asked for.
    func makeAccumulator(neverTrained: [Bool]) -> Accumulator

    /// Forward and backward over a micro-batch.
    /// - Parameters:
    ///   - gradients: added to: the gradient of Σ weight · loss over the batch's positions.
    ///   - losses: (B·T) of the micro-batch, overwritten: each position's loss in nats, unweighted, 0 where its weight is 0.
    ///   - isInterrupted: to be asked now and then; when it says yes the micro-batch may be given up.
    /// - Returns: false when given up: the step then changes nothing.
    func forwardBackward(
        _ batch: ModelBatch, into gradients: Accumulator, losses: Tensor, isInterrupted: () -> Bool
    ) -> Bool

    /// Each position's loss as of `forwardBackward`, without gradients.
    func evaluate(_ batch: ModelBatch, losses: Tensor)

    /// Bytes that the passes need beside parameters and gradients, for the plan that is compared with the machine's memory.
    static func activationBytes(_ description: Description, shape: TrainingShape) -> Int

    /// What training will hold.
    /// - Parameters:
    ///   - lanes: accumulators.
    ///   - moments: bytes that the optimizer holds.
    ///   - neverTrained: as of `makeAccumulator`.
    static func plan(
        _ description: Description, engine: Engine, shape: TrainingShape, lanes: Int, moments: Int,
        neverTrained: [Bool]
    ) -> MemoryPlan

    /// Does `body`, with the output of each stage of its forward passes shown under a name. The guard looks for the first
    /// that is not finite. A model that shows nothing only leaves the guard without a name.
    func watchStages(_ observer: @escaping (_ name: String, _ output: Tensor) -> Void, during body: () -> Void)

    /// Shows the residual stream of each micro-batch (N, width) where it enters the first layer, `embedding`, and leaves each,
    /// `layer_0`, until the next call; nil: to nobody. A model that shows nothing only has no `activation_outlier`.
    func watchStream(_ observer: ((_ place: String, _ stream: Tensor, _ width: Int) -> Void)?)

    /// What the two passes of a step need, for `flops_per_second`; nil: nobody knows.
    /// - Parameter isFrozen: of each tensor.
    func work(isFrozen: [Bool]) -> TrainingWork?
}

extension TrainableModel {
    public static func plan(
        _ description: Description, engine: Engine, shape: TrainingShape, lanes: Int, moments: Int,
        neverTrained: [Bool]
    ) -> MemoryPlan {
        var plan = MemoryPlan()
        let parameters = 4 * description.parameterCount
        plan.add("parameters", bytes: parameters)
        plan.add("gradients", bytes: lanes * parameters)
        plan.add("moments", bytes: moments)
        plan.add("activations", bytes: activationBytes(description, shape: shape))
        plan.add("ids and losses", bytes: ModelBatch.bytes(positions: shape.positions))
        return plan
    }

    public func initialize(seed: UInt64, beside stored: Description) { initialize(seed: seed) }

    public func watchStages(_ observer: @escaping (String, Tensor) -> Void, during body: () -> Void) { body() }
    public func watchStream(_ observer: ((String, Tensor, Int) -> Void)?) {}
    public func work(isFrozen: [Bool]) -> TrainingWork? { nil }
}

extension TrainableModel where Accumulator == FlatGradients {
    public func makeAccumulator(neverTrained: [Bool]) -> FlatGradients { FlatGradients(configuration.tensors) }
}
