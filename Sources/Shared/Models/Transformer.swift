// The model: parameters in one flat array, activations in one arena, a forward and a backward pass by hand. The order of
// every sum is fixed (docs/numerics.md), so that gradients do not depend on threads, instruction set or the split of a
// step into micro-batches.

public import Bytes
public import Kernels

/// A transformer. Parameters, activations and sums are fp32; operands of matrix products are what `precision` says. Not for
/// concurrent use.
public final class Transformer {
    public let configuration: ModelConfiguration
    public let layout: ParameterLayout
    public let engine: Engine
    public let precision: Precision
    /// All parameters, laid out as `layout` says.
    public let parameters: Tensor
    /// Positions that fit at once: rows · length.
    public let capacity: Int
    let activations: Activations
    let recompute: Recompute
    let weights: Weights
    let rotary: RotaryTable?
    /// The longest row.
    public let length: Int
    /// Shown the output of each stage of a forward pass as it is made, rows of this micro-batch only, and free to change
    /// it: how the guard finds where numbers stop being finite, and how tests make them so.
    package var tap: ((ModelStage, Tensor) -> Void)?
    /// Shown the residual stream between layers.
    var streamObserver: ((_ place: String, _ stream: Tensor, _ width: Int) -> Void)?

    /// Plans and allocates everything; nothing is allocated afterwards.
    /// - Parameters:
    ///   - rows: of the largest micro-batch (shorter rows may come in greater number).
    ///   - length: of its rows.
    ///   - training: false for a model that only evaluates.
    ///   - precision: of the operands of matrix products, attention's excepted.
    ///   - recompute: what the backward pass computes anew; no result depends on it.
    ///   - logitsFloats: logits held at once, about; no result depends on it.
    public init(
        configuration: ModelConfiguration, engine: Engine, rows: Int, length: Int, training: Bool,
        precision: Precision = .fp32, recompute: Recompute = .none, logitsFloats: Int? = nil
    ) {
        precondition(rows > 0 && length > 0, "\(rows) rows of \(length)")
        self.configuration = configuration
        self.engine = engine
        self.length = length
        self.precision = precision
        layout = ParameterLayout(configuration)
        parameters = Tensor(zeroed: layout.count)
        capacity = rows * length
        self.recompute = recompute
        activations = Activations(
            configuration, rows: rows, length: length, training: training, recompute: recompute,
            logitsFloats: logitsFloats ?? Transformer.logitsFloats(configuration))
        weights = Weights(parameters, layout, configuration)
        rotary = RotaryTable(configuration, positions: length)
    }

    /// What `init` allocates, and what its users add beside it: ids and losses of a micro-batch; in training gradients of
    /// each lane and what the optimizer keeps.
    /// - Parameters:
    ///   - moments: bytes that the optimizer holds; nil: two moments a parameter.
    ///   - neverTrained: of each tensor of the layout, whether it is frozen in every step; nil: none is.
    /// Compare its total with the memory there is before `init`, which traps when memory ends.
    public static func plan(
        _ configuration: ModelConfiguration, engine: Engine, rows: Int, length: Int, training: Bool,
        recompute: Recompute = .none, lanes: Int = 1, moments: Int? = nil, neverTrained: [Bool]? = nil,
        logitsFloats: Int? = nil
    ) -> MemoryPlan {
        let layout = ParameterLayout(configuration)
        let logitsFloats = logitsFloats ?? Transformer.logitsFloats(configuration)
        var plan = MemoryPlan()
        plan.add("parameters", bytes: 4 * layout.count)
        if training {
            plan.add(
                "gradients", bytes: lanes * Gradients.bytes(configuration, layout: layout, neverTrained: neverTrained))
            plan.add("moments", bytes: moments ?? 8 * layout.count)
        }
        plan.add("kernel workspace", bytes: engine.workspaceBytes)
        let (positions, overflow) = rows.multipliedReportingOverflow(by: length)
        guard !overflow, positions < MemoryPlan.limit else {
            plan.add("activations", bytes: MemoryPlan.limit)
            return plan
        }
        let activations = Activations.count(
            configuration, rows: rows, length: length, training: training, recompute: recompute,
            logitsFloats: logitsFloats)
        let logits = Activations.logitsCount(configuration, rows: rows, length: length, logitsFloats)
        plan.add("activations", bytes: 4 * (activations - logits))
        plan.add("logits", bytes: 4 * logits)
        if configuration.ropeTheta != nil {
            plan.add("rotary tables", bytes: 4 * length * configuration.headSize)
        }
        plan.add("ids and losses", bytes: ModelBatch.bytes(positions: positions))
        return plan
    }

    /// Random initial parameters: matrices normal with deviation `initializerRange`, the two projections of a layer that
    /// write to the residual stream with that / √(2L) (GPT-2), norms 1, biases 0, adapters as `initializeAdapters` has them. A
    /// function of the seed alone.
    public func initialize(seed: UInt64) {
        for (index, tensor) in layout.tensors.enumerated() where !tensor.isAdapter {
            let view = parameters.slice(tensor.offset, tensor.count)
            let scale: Double
            switch tensor.role {
            case .norm:
                view.fill(1)
                continue
            case .bias:
                view.fill(0)
                continue
            case .matrix, .adapterInput, .adapterOutput: scale = 1
            case .residualMatrix: scale = 1 / Double(2 * configuration.layers).squareRoot()
            }
            Random(seed: seed, purpose: RandomPurpose.initialization + UInt64(index))
                .normal(into: view, deviation: Float(configuration.initializerRange * scale))
        }
        initializeAdapters(seed: seed)
    }

    /// A uniform in ±1/√in, as PEFT draws it (Kaiming's uniform distribution with a = √5); B zero, so that the model begins as
    /// it is without them. A function of the seed alone.
    public func initializeAdapters(seed: UInt64) {
        for (index, tensor) in layout.tensors.filter(\.isAdapter).enumerated() {
            let view = parameters.slice(tensor.offset, tensor.count)
            if tensor.role == .adapterOutput {
                view.fill(0)
                continue
            }
            let random = Random(seed: seed, purpose: RandomPurpose.adapters + UInt64(index))
            let bound = 1 / Double(tensor.shape[1]).squareRoot()
            for element in 0..<view.count {
                view[element] = Float((2 * random.uniform(UInt64(element)) - 1) * bound)
            }
        }
    }

    /// Forward and backward over a micro-batch; gradients are added to.
    /// - Parameters:
    ///   - losses: (B·T) of the micro-batch; each position's loss, unweighted, 0 where there is none.
    ///   - isInterrupted: asked between layers; when it says yes the micro-batch is given up.
    /// - Returns: false when interrupted: the gradients have to begin anew.
    @discardableResult
    public func forwardBackward(
        _ batch: ModelBatch, into gradients: Gradients, losses: Tensor, isInterrupted: () -> Bool = { false }
    ) -> Bool {
        guard let backward = activations.backward else {
            preconditionFailure("this model was planned to evaluate only")
        }
        precondition(!gradients.isFinished, "gradients were finished: a step begins with begin()")
        check(batch, losses)
        return forward(batch, keeping: true, isInterrupted: isInterrupted)
            && classify(batch, losses: losses, gradients: gradients, isInterrupted: isInterrupted)
            && backwardPass(batch, backward, gradients, isInterrupted: isInterrupted)
    }

    /// Each position's loss, without gradients.
    public func evaluate(_ batch: ModelBatch, losses: Tensor) {
        check(batch, losses)
        forward(batch, keeping: false)
        classify(batch, losses: losses, gradients: nil)
    }

    /// Those of about 1,024 positions: the head is packed once for each chunk and its gradient is read and written, so a
    /// short chunk costs more than a long one that leaves the cache. At most 256 MiB, at least 16.
    static func logitsFloats(_ configuration: ModelConfiguration) -> Int {
        max(1 << 22, min(1 << 26, 1024 * configuration.vocabularySize))
    }

    private func check(_ batch: ModelBatch, _ losses: Tensor) {
        precondition(
            batch.count <= capacity && batch.length <= length && losses.count == batch.count,
            "\(batch.rows) rows of \(batch.length), \(losses.count) losses; planned for \(capacity) positions in rows of \(length)"
        )
    }

    /// Logits (T, V) of one sequence from its beginning: row t predicts id t + 1.
    /// - Throws: `Fault` (usage) for an unknown id or more ids than the model was planned for.
    public func logits(_ ids: [UInt32]) throws(Fault) -> [[Float]] {
        guard !ids.isEmpty, ids.count <= length else {
            throw Fault(.usage, "\(ids.count) ids, expected 1 to \(length)")
        }
        let batch = ModelBatch(capacity: ids.count)
        try batch.fill(
            rows: 0..<1, length: ids.count, inputs: ids, targets: ids, segmentEnds: [[Int32(ids.count)]],
            lossMask: nil, weight: 1, vocabularySize: configuration.vocabularySize)
        forward(batch, keeping: false)
        let row = Tensor(zeroed: configuration.vocabularySize)
        return ids.indices.map { t in
            headLogits(of: t, into: row)
            return row.array
        }
    }
}

/// What random numbers are for: each purpose has its own (docs/numerics.md).
public enum RandomPurpose {
    /// Plus the index of the tensor.
    public static let initialization: UInt64 = 1 << 32
    public static let sampling: UInt64 = 2 << 32
    /// Plus the index of the adapter's matrix among them.
    static let adapters: UInt64 = 3 << 32
}
