// An expansion that a run is to make on its way. The plan is part of state.json: where a run was interrupted must not show,
// and a shell that resumes it need not repeat it.

public import Bytes
public import Models

/// A policy, and the number of steps done when it applies.
public struct PlannedExpansion: Sendable, Equatable {
    public let step: Int
    public let policy: ExpansionPolicy

    public init(step: Int, policy: ExpansionPolicy) {
        self.step = step
        self.policy = policy
    }

    var json: JSON { ["step": .integer(step), "policy": .string(policy.description)] }

    /// - Throws: `Fault` (bad data) for what is no list of plans.
    static func list(_ json: JSON?, name: String) throws(Fault) -> [PlannedExpansion] {
        guard let json, !json.isNull else { return [] }
        guard let items = json.arrayValue else { throw .badData(name, "field 'planned_expansions': expected a list") }
        var list: [PlannedExpansion] = []
        for item in items {
            let fields = Fields(item, name: name, within: "planned_expansions")
            let policy: ExpansionPolicy
            do { policy = try ExpansionPolicy(parsing: try fields.string("policy")) } catch {
                throw .badData(name, "planned_expansions: \(error.message)")
            }
            list.append(PlannedExpansion(step: try fields.count("step"), policy: policy))
        }
        return list
    }

    /// Reads `STEP POLICY…` as often as they come, or `none`.
    /// - Returns: in order of their steps; those of one step as they were given.
    /// - Throws: `Fault` (usage).
    public static func parse(_ words: [String]) throws(Fault) -> [PlannedExpansion] {
        if words == ["none"] { return [] }
        var (list, step): ([PlannedExpansion], Int?) = ([], nil)
        var isWanted = false
        for word in words {
            if let number = Int(word) {
                if number < 0 || isWanted {
                    throw Fault(.usage, "--expand-at \(word): expected a step, 0 or more, and a policy")
                }
                (step, isWanted) = (number, true)
            } else if let step {
                list.append(PlannedExpansion(step: step, policy: try ExpansionPolicy(parsing: word)))
                isWanted = false
            } else {
                throw Fault(
                    .usage, "--expand-at \(quoted(word)): expected a step and a policy",
                    hint: "--expand-at 1000 layers=12,how=identity")
            }
        }
        if isWanted { throw Fault(.usage, "--expand-at \(step ?? 0): a policy is missing") }
        // Stable, unlike `sort`.
        return list.enumerated().sorted { ($0.element.step, $0.offset) < ($1.element.step, $1.offset) }.map(\.element)
    }

    /// Whether a model can go through all of them, told before the first step instead of at the last.
    /// - Parameter isKept: of a run that goes on: they may have been planned long ago.
    /// - Throws: `Fault` (usage).
    static func require(_ list: [PlannedExpansion], of model: some ModelDescription, isKept: Bool = false) throws(Fault)
    {
        do { _ = try models(list, of: model) } catch {
            if !isKept { throw Fault(.usage, "--expand-at \(error.message)", hint: error.hint) }
            throw Fault(
                .usage, "the run's planned_expansions in state.json, step \(error.message)",
                hint: "--expand-at STEP POLICY puts others in their place, --expand-at none drops them")
        }
    }

    /// The model that each of them makes, by step.
    /// - Throws: `Fault` (usage) when one cannot be: its step, a colon, why.
    static func models(
        _ list: [PlannedExpansion], of model: some ModelDescription
    ) throws(Fault) -> [(step: Int, model: ModelConfiguration)] {
        if list.isEmpty { return [] }
        guard var configuration = model as? ModelConfiguration else {
            throw Fault(.usage, "\(list[0].step): only transformers are made larger")
        }
        var models: [(Int, ModelConfiguration)] = []
        for planned in list {
            do { configuration = try ExpansionPlan(configuration, planned.policy).after } catch {
                throw Fault(.usage, "\(planned.step): \(error.message)", hint: error.hint)
            }
            models.append((planned.step, configuration))
        }
        return models
    }

    /// The model that a run begins with, and what they make of it.
    /// - Throws: `Fault` (usage) when one cannot be made.
    static func stages(
        _ list: [PlannedExpansion], of model: some ModelDescription
    ) throws(Fault) -> [GrowthStage] {
        [GrowthStage(step: 0, tensors: model.tensors)]
            + (try models(list, of: model)).map { GrowthStage(step: $0.step, tensors: $0.model.tensors) }
    }
}

extension TrainingState {
    /// Takes over a list that may repeat what the run has done and replaces what it has before it.
    /// - Throws: `Fault` (usage) for a step that is past.
    public mutating func plan(_ given: [PlannedExpansion]) throws(Fault) {
        var done = expansions.map { ($0["step"]?.intValue, $0["policy"]?.stringValue) }
        var rest: [PlannedExpansion] = []
        for planned in given {
            if let index = done.firstIndex(where: { $0 == (planned.step, planned.policy.description) }) {
                done.remove(at: index)
            } else if planned.step < step {
                throw Fault(
                    .usage, "--expand-at \(planned.step) \(planned.policy): the run is at step \(step) already",
                    hint: "ckpt-tool expand makes a larger model of a checkpoint")
            } else {
                rest.append(planned)
            }
        }
        plannedExpansions = rest
    }

    /// The expansion that comes before the next step.
    var dueExpansion: PlannedExpansion? { plannedExpansions.first.flatMap { $0.step <= step ? $0 : nil } }
}
