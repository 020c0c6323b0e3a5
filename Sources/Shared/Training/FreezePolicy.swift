// Who learns when: rules over names and steps. A pure function of the step, part of the recipe, so that a resumed run goes on
// with it and no state is kept beside it.

public import Bytes
public import Models

/// Freezes parameters whose name a pattern matches, in some steps.
public struct FreezeRule: Sendable, Equatable {
    /// `*` for any text, `?` for any one character; `!` in front: what matches learns.
    public var pattern: String
    /// First and last step, as metrics count them, from 1; nil: to the end.
    public var from: Int
    public var to: Int?

    public init(pattern: String, from: Int = 1, to: Int? = nil) {
        self.pattern = pattern
        self.from = from
        self.to = to
    }

    /// `GLOB`, `GLOB@FROM-TO`, `GLOB@FROM-` or `GLOB@-TO`.
    /// - Throws: `Fault` (usage).
    public init(parsing text: String) throws(Fault) {
        guard let at = text.lastIndex(of: "@") else {
            self.init(pattern: text)
            try check("--freeze \(quoted(text))", .usage)
            return
        }
        let steps = text[text.index(after: at)...].split(separator: "-", omittingEmptySubsequences: false)
        let (from, to) = (steps.first.flatMap { Int($0) }, steps.last.flatMap { Int($0) })
        guard steps.count == 2, from != nil || steps[0].isEmpty, to != nil || steps[1].isEmpty, from != nil || to != nil
        else {
            throw Fault(
                .usage, "--freeze is \(quoted(text)), expected GLOB or GLOB@FROM-TO",
                hint: "--freeze 'model.layers.*@1-1000'; without FROM from the first step, without TO to the end")
        }
        self.init(pattern: String(text[..<at]), from: from ?? 1, to: to)
        try check("--freeze \(quoted(text))", .usage)
    }

    private func check(_ subject: String, _ kind: Fault.Kind) throws(Fault) {
        if glob.isEmpty { throw Fault(kind, "\(subject): the pattern is empty") }
        if from < 1 || max(from, to ?? 0) > Fields.largestCount || to.map({ $0 < from }) ?? false {
            throw Fault(
                kind,
                "\(subject): steps \(from) to \(to.map(String.init) ?? "the end"), expected 1 to 2^60, in order")
        }
    }

    /// Whether what matches learns.
    var isException: Bool { pattern.hasPrefix("!") }
    var glob: String { isException ? String(pattern.dropFirst()) : pattern }

    func applies(at step: Int) -> Bool { step >= from && to.map { step <= $0 } ?? true }

    public var json: JSON {
        var object: JSONObject = ["freeze": .string(pattern)]
        if from != 1 { object["from"] = .integer(from) }
        if let to { object["to"] = .integer(to) }
        return .object(object)
    }

    /// A list of rules: a policy file, or what a recipe has of one.
    /// - Throws: `Fault` (bad data) naming the rule.
    public static func list(_ json: JSON, name: String) throws(Fault) -> [FreezeRule] {
        guard let elements = json.arrayValue else {
            throw .badData(name, "expected an array of rules", hint: #"[{"freeze": "model.layers.*", "to": 1000}]"#)
        }
        var rules: [FreezeRule] = []
        for (index, element) in elements.enumerated() {
            let subject = "\(quoted(name)), rule \(index)"
            guard let object = element.objectValue, let pattern = object["freeze"]?.stringValue else {
                throw Fault(.badData, "\(subject): expected an object with a pattern 'freeze'")
            }
            for key in object.keys where !["freeze", "from", "to"].contains(key) {
                throw Fault(.badData, "\(subject): unknown key \(quoted(key)), expected freeze, from, to")
            }
            for key in ["from", "to"] where object[key].map({ $0.intValue == nil }) ?? false {
                throw Fault(.badData, "\(subject): \(quoted(key)): expected a step")
            }
            let rule = FreezeRule(pattern: pattern, from: object["from"]?.intValue ?? 1, to: object["to"]?.intValue)
            try rule.check(subject, .badData)
            rules.append(rule)
        }
        return rules
    }
}

/// Rules meet a model. Where it has low-rank adapters, they alone learn unless a rule says otherwise.
public struct FreezePolicy: Sendable {
    private let rules: [(rule: FreezeRule, matches: [Bool])]
    private let count: Int
    /// What is frozen where no rule applies.
    private let base: [Bool]

    public init(_ rules: [FreezeRule], _ tensors: [ParameterTensor]) {
        self.rules = rules.map { rule in
            let glob = Glob(rule.glob)
            return (rule, tensors.map { glob.matches($0.name) })
        }
        count = tensors.count
        let hasAdapters = tensors.contains(where: \.isAdapter)
        base = tensors.map { hasAdapters && !$0.isAdapter }
    }

    /// Whether each tensor of the layout is frozen in a step (from 1): the last rule that matches and applies says so.
    public func frozen(at step: Int) -> [Bool] {
        var frozen = base
        for (rule, matches) in rules where rule.applies(at: step) {
            for index in 0..<count where matches[index] { frozen[index] = !rule.isException }
        }
        return frozen
    }

    /// Steps with which something may change, the first included.
    var changes: Set<Int> { Set([1] + rules.flatMap { [$0.rule.from] + ($0.rule.to.map { [$0 + 1] } ?? []) }) }

    /// Whether each tensor is frozen in every step.
    var alwaysFrozen: [Bool] {
        changes.map(frozen).reduce(Array(repeating: true, count: count)) { zip($0, $1).map { $0 && $1 } }
    }

    /// Refuses a pattern that fits no parameter, and steps in which nothing would learn.
    public static func check(_ rules: [FreezeRule], _ tensors: [ParameterTensor], steps: Int) throws(Fault) {
        try ParameterRules.require(rules.map(\.glob), in: tensors, "--freeze")
        try checkSteps(rules, [GrowthStage(step: 0, tensors: tensors)], steps: steps)
    }

    /// The same for a new run of which some rules come from a file, under whose name they are refused: once they are part of
    /// the recipe, nothing tells them from the others.
    /// - Parameters:
    ///   - state: of the run, its recipe and planned expansions.
    ///   - model: what it begins with.
    ///   - file: where the rules stand before the last `others`, which were given as `--freeze`.
    package static func check(
        _ state: TrainingState, _ model: some ModelDescription, file: String, others: Int
    ) throws(Fault) {
        let rules = state.recipe.freezes
        let stages = try PlannedExpansion.stages(state.plannedExpansions, of: model)
        let tensors = stages.flatMap(\.tensors)
        let origin = "--freeze-policy \(quoted(file))"
        try ParameterRules.require(rules.dropLast(others).map(\.glob), in: tensors, origin)
        try ParameterRules.require(rules.suffix(others).map(\.glob), in: tensors, "--freeze")
        try checkSteps(rules, stages, steps: state.steps, others == 0 ? origin : origin + " with --freeze")
    }

    /// Refuses steps in which nothing would learn.
    /// - Parameters:
    ///   - stages: the model as it is from the first step and as it is made larger, by step.
    ///   - origin: where the rules stand, for the message.
    static func checkSteps(
        _ rules: [FreezeRule], _ stages: [GrowthStage], steps: Int, _ origin: String = "--freeze"
    ) throws(Fault) {
        for (index, stage) in stages.enumerated() {
            let policy = FreezePolicy(rules, stage.tensors)
            let end = index + 1 < stages.count ? stages[index + 1].step : Int.max
            for step in policy.changes.union([stage.step + 1]).sorted()
            where step > stage.step && step <= min(end, max(steps, 1)) {
                if policy.frozen(at: step).allSatisfy({ $0 }) {
                    throw Fault(.usage, "\(origin): every parameter is frozen in step \(step)")
                }
            }
        }
    }
}

/// A model's tensors, from the step on that comes when `step` are done.
struct GrowthStage {
    let step: Int
    let tensors: [ParameterTensor]
}
