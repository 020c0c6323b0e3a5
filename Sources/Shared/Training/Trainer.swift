// One step: forward, backward, clip, update. A step is one batch; it is cut into micro-batches for memory's sake and
// into lanes for the recipe's, and neither cut is seen in the bits (lanes are part of the recipe, so theirs is chosen
// once and for all).

public import Batches
public import Bytes
public import Kernels
public import Models
internal import Optimizers

/// What one step did.
public struct StepReport: Sendable, Equatable {
    /// Steps done, this one included.
    public let step: Int
    /// Mean loss in nats a target; NaN when the batch had no target.
    public let loss: Double
    /// Global norm of the gradient before clipping.
    public let gradientNorm: Double
    public let learningRate: Double
    /// Targets learned from.
    public let tokens: Int
    /// The batch's index in its stream.
    public let batch: Int
    /// Why the update was left out; nil when it was applied.
    public let skipped: SkippedStep?
    /// Floating-point operations of its forward and backward passes; nil: the model does not say.
    public let operations: Double?
    /// What was measured of it; nil: it was not to be.
    public let norms: StepNorms?
    public var isApplied: Bool { skipped == nil }
}

/// A model, its optimizer and where the run stands. Not for concurrent use.
///
/// ```swift
/// let trainer = Trainer(model, state: TrainingState(recipe: recipe, steps: 1000))
/// model.initialize(seed: recipe.seed)
/// while let batch = nextBatch() { print(try trainer.step(batch)!.loss) }
/// ```
///
/// `TrainingRun` adds to it what a run has: a stream, evaluations, checkpoints, metrics.
public final class Trainer<Model: TrainableModel> {
    public let model: Model
    /// The model's, in the order of its parameters.
    let tensors: [ParameterTensor]
    public internal(set) var state: TrainingState
    let optimizer: Optimizer
    private let schedule: Schedule
    private let gradients: [Model.Accumulator]
    let batch: ModelBatch
    let losses: Tensor
    /// For tests.
    package var taps = StepTaps()
    /// Parts that a batch is cut into; at most `rows` rows a part must have been planned for.
    public var microBatches = 1
    /// Called before parameters, moments or anything else that a checkpoint holds is changed: somebody may be reading it.
    var willChange: () -> Void = {}
    private let policy: FreezePolicy
    /// Steps from which on another set of parameters may be frozen, and those frozen in the step under way.
    private let policyChanges: Set<Int>
    private var frozen: [Bool]
    /// The moving average of the parameters; nil: none is kept.
    let average: Tensor?
    /// Whether `evaluate` takes the average.
    var evaluatesAverage = false
    /// Which steps are measured.
    public var norms = NormOptions(every: 0) {
        didSet { observer = norms.every > 0 ? StepObserver(model, tensors, byLayer: norms.byLayer) : nil }
    }
    private var observer: StepObserver<Model>?
    private var work: TrainingWork?
    /// The last step's, unclipped.
    var gradient: Tensor { gradients[0].flat }

    /// - Parameters:
    ///   - model: made for training, in the precision of the state's recipe.
    ///   - state: where the run stands; parameters and moments are loaded or initialized afterwards.
    public init(_ model: Model, state: TrainingState) {
        self.model = model
        self.state = state
        let recipe = state.recipe
        tensors = model.configuration.tensors
        let neverTrained = recipe.neverTrained(tensors)
        gradients = (0..<recipe.lanes).map { _ in model.makeAccumulator(neverTrained: neverTrained) }
        optimizer = Optimizer(
            groups: recipe.groups(model.configuration, places: gradients[0].places), settings: recipe.settings)
        policy = FreezePolicy(recipe.freezes, tensors)
        policyChanges = policy.changes
        frozen = policy.frozen(at: max(state.step, 1))
        optimizer.freeze(frozen)
        schedule = recipe.schedule
        average = recipe.averageDecay.map { _ in Tensor(zeroed: model.parameters.count) }
        batch = ModelBatch(capacity: model.capacity)
        losses = Tensor(zeroed: model.capacity)
        for lane in gradients { lane.freeze(frozen) }
        work = model.work(isFrozen: frozen)
    }

    /// Those that were frozen in the last step, or will be in the first.
    func resumePolicy() {
        setFrozen(policy.frozen(at: max(state.step, 1)))
        optimizer.freeze(frozen)
    }

    /// Whether what learns in two steps differs.
    func changesPolicy(from step: Int, to other: Int) -> Bool {
        policy.frozen(at: max(step, 1)) != policy.frozen(at: max(other, 1))
    }

    private func setFrozen(_ mask: [Bool]) {
        if mask == frozen { return }
        frozen = mask
        for lane in gradients { lane.freeze(mask) }
        work = model.work(isFrozen: mask)
    }

    /// Learns from one batch. Rows [l·B/lanes, (l+1)·B/lanes) belong to lane l.
    /// - Parameters:
    ///   - isInterrupted: asked between layers; when it says yes the step is given up and nothing has changed.
    /// - Returns: nil when interrupted.
    /// - Throws: `Fault` (bad data) for an id that the model does not have; nothing has changed.
    public func step(
        _ tokens: TokenBatch, isInterrupted: () -> Bool = { false }
    ) throws(Fault) -> StepReport? {
        let count = tokens.lossPositions
        let lanes = gradients.count
        let part = (tokens.rows + microBatches - 1) / microBatches
        let engine = model.engine
        let learnsOthers =
            policyChanges.contains(state.step + 1) && changesPolicy(from: state.step, to: state.step + 1)
        if learnsOthers { setFrozen(policy.frozen(at: state.step + 1)) }
        for lane in gradients { lane.begin(engine) }
        let observer = norms.isDue(step: state.step + 1) ? observer : nil
        observer?.begin(length: tokens.length)
        defer { observer?.endForward() }
        var sum = 0.0
        for lane in 0..<lanes {
            var row = lane * tokens.rows / lanes
            let end = (lane + 1) * tokens.rows / lanes
            while row < end {
                if isInterrupted() { return nil }
                // A part ends where a lane ends or where the next micro-batch begins.
                let stop = min(end, (row / part + 1) * part)
                try fill(tokens, rows: row..<stop, weight: count > 0 ? Float(1 / Double(count)) : 0)
                let losses = losses.slice(0, (stop - row) * tokens.length)
                guard
                    model.forwardBackward(
                        batch, into: gradients[lane], losses: losses, isInterrupted: isInterrupted)
                else { return nil }
                sum = Evaluation.add(losses, to: sum)
                row = stop
            }
        }
        observer?.endForward()
        for lane in gradients { lane.finish(engine) }
        Model.Accumulator.reduce(gradients, engine)
        willChange()
        // Only now: a step that is given up must leave the moments of those that it would have frozen.
        optimizer.freeze(frozen)
        if learnsOthers { state.guardState.window?.forgetNorms() }
        taps.gradient?(gradient)
        if let observer {
            for index in tensors.indices where !optimizer.isFrozen[index] {
                observer.note(gradient: self.gradient(of: index), of: index)
            }
        }
        let loss = count > 0 ? sum / Double(count) : .nan
        let norm = optimizer.norm(of: gradient, engine)
        let rate = schedule.rate(afterSteps: state.step)
        // The guard: what is not finite touches neither parameters nor moments.
        var skipped = judge(tokens, targets: count, loss: loss, gradientNorm: norm)
        if skipped == nil {
            taps.moments?(optimizer.m, optimizer.v)
            let isApplied = optimizer.update(
                model.parameters, gradient: gradient, norm: norm, learningRate: rate, engine,
                measure: observer.map { observer in { observer.note($1, of: $0) } })
            if !isApplied {
                skipped = SkippedStep(cause: .gradientTooLarge, value: norm, limit: Optimizer.largestNorm)
            }
        }
        state.step += 1
        state.tokens += count
        state.cursor = tokens.cursor
        if skipped == nil {
            state.updates += 1
            updateAverage()
        }
        state.guardState.note(skipped, loss: loss, gradientNorm: norm)
        return StepReport(
            step: state.step, loss: loss, gradientNorm: norm, learningRate: rate, tokens: count, batch: tokens.index,
            skipped: skipped, operations: work?.operations(positions: tokens.rows * tokens.length, pairs: tokens.pairs),
            norms: observer?.norms)
    }

    /// Mean loss in nats a target over a whole batch stream; nil when interrupted.
    public func evaluate(
        _ source: any ByteSource, isInterrupted: () -> Bool = { false }
    ) throws(Fault) -> Evaluation? {
        var reader = try BatchStreamReader(source)
        if evaluatesAverage {
            willChange()
            exchangeAverage()
        }
        defer { if evaluatesAverage { exchangeAverage() } }
        return try Evaluation.measure(
            model, &reader, name: source.name, batch: batch, losses: losses, isInterrupted: isInterrupted)
    }

    func fill(_ tokens: TokenBatch, rows: Range<Int>, weight: Float) throws(Fault) {
        try batch.fill(tokens, rows: rows, weight: weight, vocabularySize: model.configuration.vocabularySize)
    }
}

extension Trainer where Model == Transformer {
    /// - Parameters:
    ///   - rows: of the largest micro-batch.
    ///   - length: of its rows.
    ///   - recompute: what the backward pass computes anew; no result depends on it.
    ///   - state: as of `init(_:state:)`.
    public convenience init(
        configuration: ModelConfiguration, engine: Engine, rows: Int, length: Int, recompute: Recompute = .none,
        state: TrainingState
    ) {
        let shape = TrainingShape(
            rows: rows, length: length, precision: state.recipe.precision, recompute: recompute)
        self.init(Transformer(configuration, engine: engine, shape: shape), state: state)
    }
}

extension TokenBatch {
    /// Queries with each key that they see: in a segment of s positions s (s + 1) / 2.
    var pairs: Int {
        segmentEnds.reduce(0) { sum, ends in
            var (sum, begin) = (sum, 0)
            for end in ends {
                let length = Int(end) - begin
                (sum, begin) = (sum + length * (length + 1) / 2, Int(end))
            }
            return sum
        }
    }
}

extension ModelBatch {
    func fill(_ tokens: TokenBatch, rows: Range<Int>, weight: Float, vocabularySize: Int) throws(Fault) {
        try fill(
            rows: rows, length: tokens.length, inputs: tokens.inputs, targets: tokens.targets,
            segmentEnds: tokens.segmentEnds, lossMask: tokens.lossMask, weight: weight, vocabularySize: vocabularySize)
    }
}
