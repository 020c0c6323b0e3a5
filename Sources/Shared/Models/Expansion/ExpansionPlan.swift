// From a model and a policy to the larger model and the origin of each of its tensors. A policy is a change of the
// configuration and a growth of a few kinds of axis; which axes a tensor has follows from its name, once, in
// `TensorAxes`. So every policy moves every tensor of every family, moments included, by the same code.

public import Bytes

/// How well an expansion keeps the function, as the policy promises it.
public enum ExpansionPromise: String, Sendable {
    /// Every logit, but for rounding of a float64 pass.
    case exact
    /// Every logit of the old tokens, likewise.
    case oldTokens = "exact for old tokens"
    /// Every logit, as far as fp32 weights can say it: factors such as √(C/C′) are rounded.
    case rounded
    /// The function changes.
    case none

    /// The largest max |Δlogit| / max |logit|; nil: none is promised.
    public var tolerance: Double? {
        switch self {
        case .exact, .oldTokens: 1e-12
        case .rounded: 1e-5
        case .none: nil
        }
    }
}

/// An expansion worked out.
public struct ExpansionPlan: Sendable {
    public let policy: ExpansionPolicy
    public let before, after: ModelConfiguration
    public let promise: ExpansionPromise
    /// One a tensor of the larger model, in the order of its layout.
    public let tensors: [ExpandedTensor]
    /// Layers of the larger model that the smaller did not have.
    public let newLayers: [Int]

    /// - Parameter generation: expansions that the model has been through: each draws random numbers of its own.
    /// - Throws: `Fault` (usage): the policy does not enlarge, or the family cannot be enlarged so.
    public init(_ before: ModelConfiguration, _ policy: ExpansionPolicy, generation: Int = 0) throws(Fault) {
        if before.adapters != nil {
            throw Fault(
                .usage, "\(policy): the model has low-rank adapters, and no rule says how they grow",
                hint: "ckpt-tool merge-lora CKPT -o DIR makes a model without them")
        }
        var draft = ExpansionDraft(before)
        switch policy.change {
        case .layers(let count, let how, let place): try draft.addLayers(count, how, place)
        case .intermediate(let size, let how): try draft.widen(intermediate: size, how)
        case .heads(let heads, let keyValue, let how): try draft.addHeads(heads, keyValue, how)
        case .hidden(let size, let how): try draft.widen(hidden: size, how)
        case .vocabulary(let size): try draft.widen(vocabulary: size)
        case .context(let count, let how): try draft.lengthen(count, how)
        }
        self.policy = policy
        self.before = before
        promise = draft.promise
        let after = try draft.configuration()
        self.after = after
        newLayers = draft.layers.indices.filter { draft.layers[$0].isNew }
        tensors = draft.tensors(of: after, seed: policy.seed, generation: UInt64(generation))
    }
}

/// What a policy fills in.
struct ExpansionDraft {
    /// Where a layer of the larger model comes from.
    struct Layer {
        let source: Int
        var isNew = false
        /// Writes nothing to the residual stream.
        var isSilent = false
    }

    let before: ModelConfiguration
    var layers: [Layer]
    var growth: [TensorAxis: AxisGrowth] = [:]
    var promise = ExpansionPromise.exact
    /// Keys of config.json in this family's spelling.
    var changes: [(key: String, value: JSON)] = []
    var stretchesPositions = false
    /// √(C/C′) where the residual stream is padded: what weights of norms over it are multiplied with.
    var normScale = 1.0

    init(_ before: ModelConfiguration) {
        self.before = before
        layers = (0..<before.layers).map { Layer(source: $0) }
    }

    var isGPT2: Bool { before.family == .gpt2 }

    func refusal(_ message: String, hint: String? = nil) -> Fault { Fault(.usage, message, hint: hint) }

    /// - Throws: `Fault` (usage) unless `after` is more than `before`.
    func requireGrowth(_ name: String, _ after: Int, from before: Int) throws(Fault) {
        if after <= before { throw refusal("\(name) is \(after), expected more than the model's \(before)") }
    }

    mutating func set(_ key: String, _ value: JSON) { changes.append((key, value)) }

    /// The larger model's configuration, held against every rule for one.
    func configuration() throws(Fault) -> ModelConfiguration {
        guard case .object(var object) = before.json else { preconditionFailure("a configuration is an object") }
        for (key, value) in changes { object[key] = value }
        do { return try ModelConfiguration(json: .object(object), name: "config.json") } catch {
            throw Fault(.usage, "the larger model cannot be: \(error.message)")
        }
    }

    func tensors(of after: ModelConfiguration, seed: UInt64, generation: UInt64) -> [ExpandedTensor] {
        let old = ParameterLayout(before)
        return ParameterLayout(after).tensors.enumerated().map { index, tensor in
            let axes = TensorAxes(tensor.name, after)
            let layer = axes.layer.map { layers[$0] }
            let name = layer.map { axes.name(inLayer: $0.source) } ?? tensor.name
            guard let source = old[name] else { preconditionFailure("no tensor \(name) in the smaller model") }
            let (rows, columns) = (growth[axes.rows], axes.columns.flatMap { growth[$0] })
            precondition(
                stretchesPositions
                    || (rows?.count ?? source.shape[0]) == tensor.shape[0]
                        && (columns?.count ?? source.shape.dropFirst().first) == tensor.shape.dropFirst().first,
                "\(name) of shape \(source.shape) does not grow into \(tensor.shape)")
            var content = ExpandedTensor.Content.mapped
            if layer?.isSilent == true { content = axes.writesToResidual ? .zero : .withoutGradient }
            if stretchesPositions, axes.rows == .positions { content = .interpolated }
            return ExpandedTensor(
                tensor: tensor, source: source, content: content, rows: rows, columns: columns, scale: scale(axes),
                deviation: after.initializerRange
                    * (tensor.role == .residualMatrix ? 1 / Double(2 * after.layers).squareRoot() : 1),
                seed: seed, generation: generation, index: index)
        }
    }

    private func scale(_ axes: TensorAxes) -> Double {
        if axes.isResidualNorm { return normScale }
        // The norms of Qwen3's heads share epsilon with those of the residual stream, and scale with it.
        return before.normalizesHeads && axes.isQueryOrKeyMatrix ? normScale : 1
    }
}
