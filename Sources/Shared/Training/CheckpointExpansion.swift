// A checkpoint made into one of a larger model: every tensor of model and optimizer passes through the plan, one at a time,
// and before anything is published the written model is held against the old one in float64.

public import Bytes
public import Checkpoints
public import Models
internal import SystemPackage

/// One or more policies applied to a checkpoint, one after the other (docs/expansion.md).
public struct CheckpointExpansion {
    public let origin: Checkpoint
    public let plans: [ExpansionPlan]
    /// Of the model that comes out.
    public let configuration: ModelConfiguration
    /// Leaves out of state.json what the run was still to go through.
    public var dropsPlanned = false
    private let state: JSON?

    /// - Parameter given: what state.json is to hold; nil: what it holds.
    /// - Throws: `Fault`: a policy that this model cannot follow (usage), or a checkpoint that is not sound (bad data).
    public init(_ origin: Checkpoint, _ policies: [ExpansionPolicy], state given: JSON? = nil) throws(Fault) {
        self.origin = origin
        let name = origin.path.appending(Checkpoint.configurationName).string
        var configuration = try ModelConfiguration(json: origin.configuration(), name: name)
        try configuration.require(tensorsOf: origin)
        try configuration.require(copiesIn: origin)
        let statePath = origin.path.appending(Checkpoint.stateName).string
        // Not with `??`, which loses the type of the error.
        var state = given
        if state == nil, origin.manifest?[Checkpoint.stateName] != nil { state = try origin.state() }
        self.state = state
        let earlier = try ExpansionRecord.list(state?["expansions"] ?? origin.manifest?.expansions, name: statePath)
        var plans: [ExpansionPlan] = []
        for policy in policies {
            let plan = try ExpansionPlan(configuration, policy, generation: earlier.count + plans.count)
            plans.append(plan)
            configuration = plan.after
        }
        self.plans = plans
        self.configuration = configuration
    }

    /// Writes every file of the larger checkpoint but the manifest.
    /// - Returns: a record of each policy, which state.json and the manifest have too.
    /// - Throws: `Fault`: a damaged tensor, one that no rule carries, or a promise that was not kept.
    @discardableResult
    public func write(_ writer: CheckpointWriter) throws -> [ExpansionRecord] {
        try writer.write(configuration.json, to: Checkpoint.configurationName)
        let tensors = ParameterLayout(configuration).tensors
        try writer.write(try tensors.map { try source(.model, $0) }, to: Checkpoint.modelName)
        let records = try check(try writer.reopen(Checkpoint.modelName))
        let optimizer = try optimizerSources(tensors)
        // SGD without momentum has a file without tensors.
        if origin.optimizer != nil { try writer.write(optimizer, to: Checkpoint.optimizerName) }
        if origin.average != nil {
            try writer.write(try tensors.map { try source(.average, $0) }, to: Checkpoint.averageName)
        }
        let earlier = try ExpansionRecord.list(
            state?["expansions"] ?? origin.manifest?.expansions, name: origin.path.string)
        let all = JSON.array(earlier + records.map(\.json))
        if case .object(let before) = state {
            // Without the old counts: a key that says nothing has no place in a state.
            var object = JSONObject()
            for (key, value) in before.members
            where key != "own_updates" && !(dropsPlanned && key == "planned_expansions") {
                object[key] = value
            }
            let counts = try ownUpdates(before, tensors)
            if counts.count > 0 { object["own_updates"] = .object(counts) }
            object["expansions"] = all
            object["guard"] = guarding(before["guard"], records)
            try writer.write(.object(object), to: Checkpoint.stateName)
        }
        writer.expansions = all
        for name in try origin.fileNames() where origin.isCompanion(name) {
            try writer.write(origin.read(name), to: name)
        }
        return records
    }

    /// `guard` of state.json: what was usual is not for what learns now, and where logits are others neither is the loss.
    private func guarding(_ json: JSON?, _ records: [ExpansionRecord]) -> JSON? {
        guard var object = json?.objectValue, object["window"] != nil else { return json }
        object["gradient_norms"] = []
        if !records.allSatisfy({ $0.promise == .exact || $0.promise == .rounded }) { object["losses"] = [] }
        return .object(object)
    }

    // MARK: Values

    /// Which of the checkpoint's tensors: each has the model's names and shapes, and a rule of its own.
    private enum Part {
        case model, average
        /// By the first part of their names.
        case optimizer(prefix: String)

        var quantity: ExpandedQuantity {
            if case .optimizer(let prefix) = self {
                CheckpointExpansion.moments[prefix] ?? .gradients
            } else {
                .parameters
            }
        }

        var prefix: String { if case .optimizer(let prefix) = self { prefix } else { "" } }
    }

    /// The rule of an optimizer's tensors: Adam's and Muon's first moments, Lion's and SGD's momentum; Adam's second moments.
    private static let moments: [String: ExpandedQuantity] = ["m.": .gradients, "v.": .squaredGradients]

    /// A tensor of the model behind `level` policies.
    private func values(_ part: Part, _ name: String, level: Int) throws -> [Float] {
        if level == 0 { return try stored(part, name) }
        let expanded = try expandedTensor(name, level: level)
        let old = try values(part, expanded.source.name, level: level - 1)
        var result: [Float] = []
        result.reserveCapacity(expanded.tensor.count)
        expanded.forEachRow(part.quantity, from: old) { result += $0 }
        return result
    }

    private func expandedTensor(_ name: String, level: Int) throws -> ExpandedTensor {
        guard let tensor = plans[level - 1].tensors.first(where: { $0.tensor.name == name }) else {
            throw Fault(.usage, "no tensor \(quoted(name)) in the larger model")
        }
        return tensor
    }

    private func stored(_ part: Part, _ name: String) throws -> [Float] {
        var values: [Float] = []
        switch part {
        case .model:
            guard let tensor = ParameterLayout(plans[0].before)[name] else { return [] }
            values.reserveCapacity(tensor.count)
            try origin.model.readFloats(plans[0].before.name(of: tensor, in: origin.model)) { values += $1 }
        case .average: try origin.average?.readFloats(name) { values += $1 }
        case .optimizer(let prefix): try origin.optimizer?.readFloats(prefix + name) { values += $1 }
        }
        return values
    }

    private func source(_ part: Part, _ tensor: ParameterTensor) throws -> TensorSource {
        let expanded = try expandedTensor(tensor.name, level: plans.count)
        return TensorSource(name: part.prefix + tensor.name, dtype: .f32, shape: tensor.shape) { emit in
            let old = try values(part, expanded.source.name, level: plans.count - 1)
            var piece: [Float] = []
            try expanded.forEachRow(part.quantity, from: old) { row in
                piece += row
                if piece.count >= 1 << 18 {
                    try piece.withRawSpan(emit)
                    piece.removeAll(keepingCapacity: true)
                }
            }
            if !piece.isEmpty { try piece.withRawSpan(emit) }
        }
    }

    // MARK: Optimizer

    /// The moments. What was frozen has none, and stays so where it keeps its name; where layers are numbered anew, patterns
    /// that freeze by number may mean others now, so those begin with moments of zero.
    private func optimizerSources(_ tensors: [ParameterTensor]) throws -> [TensorSource] {
        guard let optimizer = origin.optimizer else { return [] }
        let old = ParameterLayout(plans[0].before)
        var prefixes: Set<String> = []
        for entry in optimizer.entries {
            let (prefix, name) = CheckpointExpansion.parts(entry.name)
            guard CheckpointExpansion.moments[prefix] != nil, old[name]?.shape == entry.shape else {
                throw Fault.badData(
                    origin.path.appending(Checkpoint.optimizerName).string,
                    "tensor \(quoted(entry.name)) of shape \(entry.shape): no rule says how it grows")
            }
            prefixes.insert(prefix)
        }
        return try tensors.flatMap { tensor in
            let root = try self.root(of: tensor.name).name
            return try prefixes.sorted().compactMap { prefix in
                if optimizer[prefix + root] != nil { return try source(.optimizer(prefix: prefix), tensor) }
                if root == tensor.name || hasMoments(root) { return nil }
                return TensorSource(name: prefix + tensor.name, dtype: .f32, shape: tensor.shape) { emit in
                    let row = [Float](repeating: 0, count: tensor.count / tensor.shape[0])
                    for _ in 0..<tensor.shape[0] { try row.withRawSpan(emit) }
                }
            }
        }
    }

    private static func parts(_ name: String) -> (prefix: String, rest: String) {
        guard let dot = name.firstIndex(of: ".") else { return ("", name) }
        return (String(name[...dot]), String(name[name.index(after: dot)...]))
    }

    private func hasMoments(_ name: String) -> Bool {
        CheckpointExpansion.moments.keys.contains { origin.optimizer?[$0 + name] != nil }
    }

    /// The tensor of the first model that one of the last comes from, and whether it was made new on the way.
    private func root(of name: String) throws -> (name: String, isNew: Bool) {
        var (name, isNew) = (name, false)
        for level in stride(from: plans.count, to: 0, by: -1) {
            let expanded = try expandedTensor(name, level: level)
            name = expanded.source.name
            if expanded.isNew { isNew = true }
        }
        return (name, isNew)
    }

    /// `own_updates` of state.json under the new names: tensors of new layers count their updates from here.
    private func ownUpdates(_ state: JSONObject, _ tensors: [ParameterTensor]) throws -> JSONObject {
        var counts = JSONObject()
        for tensor in tensors {
            let (root, isNew) = try root(of: tensor.name)
            let isThawed = root != tensor.name && origin.optimizer != nil && !hasMoments(root)
            let count = isNew || isThawed ? 0 : state["own_updates"]?[root]?.intValue
            if let count, count != state["updates"]?.intValue { counts[tensor.name] = .integer(count) }
        }
        return counts
    }

    // MARK: Check

    /// Holds the model behind each policy against the one before it: logits of random ids in float64.
    /// - Parameter written: the last model, as it was written.
    private func check(_ written: TensorSet) throws -> [ExpansionRecord] {
        var check = check(plans[0])
        var before = try check.logits(plans[0].before) { try values(.model, $0, level: 0) }
        var records: [ExpansionRecord] = []
        for (index, plan) in plans.enumerated() {
            // Ids anew for each, as when one policy is applied after the other: a longer or wider model is given others.
            let own = self.check(plan)
            if own.ids != check.ids {
                check = own
                before = try check.logits(plan.before) { try values(.model, $0, level: index) }
            }
            let after = try check.logits(plan.after) { name in
                index + 1 < plans.count ? try values(.model, name, level: index + 1) : try written.floats(name)
            }
            let (difference, largest) = try check.compare(before, after)
            let record = ExpansionRecord(
                step: state?["step"]?.intValue, policy: plan.policy.description, promise: plan.promise,
                positions: check.positions, largest: largest, difference: difference,
                parametersBefore: ParameterLayout(plan.before).count,
                parametersAfter: ParameterLayout(plan.after).count, newLayers: plan.newLayers)
            guard record.isKept else {
                throw Fault.badData(
                    origin.path.string,
                    "policy \(quoted(record.policy)) changes logits by \(record.relative) of the largest, promised \(record.promise.tolerance ?? 0)"
                )
            }
            records.append(record)
            before = after
        }
        return records
    }

    private func check(_ plan: ExpansionPlan) -> LogitCheck {
        LogitCheck(plan.before, parameters: ParameterLayout(plan.after).count, name: origin.path.string)
    }
}
