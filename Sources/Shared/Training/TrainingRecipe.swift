// What fixes the numbers of a run, and nothing else: the recipe is part of the checkpoint, so that a resumed run goes on
// with what it began. Threads, micro-batches, paths and save intervals are no part of it; they may change freely.

public import Bytes
public import Kernels
public import Optimizers

/// Hyperparameters of a run, validated.
public struct TrainingRecipe: Sendable, Equatable {
    /// Peak learning rate.
    public var learningRate = 3e-4
    /// The floor of the schedule.
    public var minimumLearningRate = 3e-5
    /// How the rate goes on after the warm-up.
    public var scheduleShape = ScheduleShape.cosine
    /// Steps of linear warm-up.
    public var warmupSteps = 0
    /// Steps the schedule spans, warm-up included.
    public var scheduleSteps = 0
    /// Steps of the decay that ends a `wsd` schedule.
    public var decaySteps = 0
    /// Steps after which the schedule begins again from the peak; 0: never.
    public var restartEvery = 0
    public var optimizer = OptimizerKind.adamW
    public var weightDecay = 0.1
    public var beta1 = 0.9
    public var beta2 = 0.95
    public var epsilon = 1e-8
    /// Gradient descent's and Muon's.
    public var momentum = 0.9
    public var nesterov = false
    /// Muon's.
    public var muonScale = MuonScale.rms
    /// Who decays, and who learns at another rate.
    public var rules = ParameterRules()
    /// Who does not learn, and when; the last rule that matches counts.
    public var freezes: [FreezeRule] = []
    /// What an update leaves of the parameters' moving average; nil: no average is kept.
    public var averageDecay: Double?
    /// Largest global gradient norm; larger gradients are scaled down to it. Infinity clips nothing.
    public var clip = 1.0
    /// Gradient lanes: fixed shares of a step's rows that are summed apart and added as a binary tree.
    public var lanes = 1
    /// What operands of matrix products are rounded to.
    public var precision = Precision.fp32
    /// Keys the initial parameters.
    public var seed: UInt64 = 0

    static let largestRate = 1000.0

    /// The learning rate of each step.
    public var schedule: Schedule {
        Schedule(
            scheduleShape, peak: learningRate, floor: minimumLearningRate, warmupSteps: warmupSteps,
            steps: scheduleSteps,
            decaySteps: decaySteps, restartEvery: restartEvery)
    }

    public init() {}

    /// - Throws: `Fault` (usage) naming the first value out of range.
    public func validate() throws(Fault) {
        func check(_ isValid: Bool, _ name: String, _ value: some CustomStringConvertible, _ rule: String) throws(Fault)
        {
            if !isValid { throw Fault(.usage, "\(name) is \(value), expected \(rule)") }
        }
        // With beta2 at least beta1 squared AdamW's step is at most a few times the rate, whatever the gradients (Cauchy and
        // Schwarz): within these bounds no update can take a parameter out of what fp32 holds.
        try check(
            learningRate > 0 && learningRate <= TrainingRecipe.largestRate, "learning rate", learningRate,
            "a positive number up to \(TrainingRecipe.largestRate)")
        try check(
            minimumLearningRate >= 0 && minimumLearningRate <= learningRate, "minimum learning rate",
            minimumLearningRate, "0 to the learning rate \(learningRate)")
        try check(warmupSteps >= 0, "warm-up", warmupSteps, "0 steps or more")
        try check(scheduleSteps >= 0, "schedule", scheduleSteps, "0 steps or more")
        try check(
            warmupSteps <= scheduleSteps || scheduleSteps == 0, "warm-up", warmupSteps,
            "no more than the schedule's \(scheduleSteps) steps")
        let span = restartEvery > 0 ? restartEvery : max(scheduleSteps - warmupSteps, 0)
        try check(
            decaySteps >= 0 && (decaySteps == 0 || scheduleShape == .wsd), "decay", decaySteps,
            "0 steps: only a wsd schedule has one")
        try check(
            decaySteps <= span, "decay", decaySteps, "no more than the \(span) steps behind the warm-up or in a cycle")
        try check(
            restartEvery >= 0 && (restartEvery == 0 || scheduleShape.ends), "restart", restartEvery,
            "0 steps: a \(scheduleShape.rawValue) schedule has no end to begin again from")
        try check(
            weightDecay >= 0 && weightDecay * learningRate <= 1, "weight decay", weightDecay,
            "0 or more, and no more than 1 when multiplied with the learning rate")
        for rate in rules.rates {
            try check(
                rate.factor > 0 && rate.factor * learningRate <= TrainingRecipe.largestRate
                    && rate.factor * learningRate * weightDecay <= 1, "rate of '\(rate.pattern)'", rate.factor,
                "a positive factor, with which the learning rate stays within its bounds")
        }
        if let averageDecay {
            try check(averageDecay > 0 && averageDecay < 1, "ema", averageDecay, "a number between 0 and 1")
        }
        try check(beta1 >= 0 && beta1 < 1, "beta1", beta1, "0 to below 1")
        // Only AdamW divides by what beta2 averages.
        let least = optimizer == .adamW || optimizer == .muon ? beta1 * beta1 : 0
        try check(
            beta2 >= least && beta2 < 1, "beta2", beta2,
            least > 0 ? "beta1 squared (\(least)) to below 1" : "0 to below 1")
        try check(momentum >= 0 && momentum < 1, "momentum", momentum, "0 to below 1")
        try check(!nesterov || momentum > 0, "nesterov", nesterov, "false where there is no momentum")
        try check(epsilon >= 1e-20 && epsilon <= 1, "epsilon", epsilon, "1e-20 to 1")
        try check(clip > 0, "clip", clip, "a positive norm")
        try check(lanes >= 1 && lanes <= 64 && lanes.nonzeroBitCount == 1, "lanes", lanes, "a power of 2 up to 64")
    }

    /// The form that state.json holds.
    public var json: JSON {
        var object = plainJSON
        object["optimizer"] = .string(optimizer.rawValue)
        if optimizer == .sgd || optimizer == .muon {
            object["momentum"] = .number(momentum)
            object["nesterov"] = .bool(nesterov)
        }
        if optimizer == .muon { object["muon_scale"] = .string(muonScale.rawValue) }
        rules.write(to: &object)
        if !freezes.isEmpty { object["freeze"] = .array(freezes.map(\.json)) }
        if let averageDecay { object["ema"] = .number(averageDecay) }
        return .object(object)
    }

    /// What every recipe has had since schedules have shapes.
    private var plainJSON: JSONObject {
        [
            "learning_rate": .number(learningRate), "minimum_learning_rate": .number(minimumLearningRate),
            "warmup_steps": .integer(warmupSteps), "schedule_steps": .integer(scheduleSteps),
            "schedule": .string(scheduleShape.rawValue), "decay_steps": .integer(decaySteps),
            "restart_every": .integer(restartEvery),
            "weight_decay": .number(weightDecay), "beta1": .number(beta1), "beta2": .number(beta2),
            "epsilon": .number(epsilon), "clip": clip.isFinite ? .number(clip) : .null, "lanes": .integer(lanes),
            "precision": .string(precision.rawValue), "seed": JSON(seed),
        ]
    }

    /// - Parameter name: the file, for messages.
    /// - Throws: `Fault` (bad data) naming the missing or wrong field.
    public init(json: JSON, name: String) throws(Fault) {
        let fields = Fields(json, name: name, within: "recipe")
        learningRate = try fields.double("learning_rate")
        minimumLearningRate = try fields.double("minimum_learning_rate")
        warmupSteps = try fields.count("warmup_steps")
        scheduleSteps = try fields.count("schedule_steps")
        // Runs that began before there was a choice have none in their state; theirs is a cosine.
        if json["schedule"] != nil {
            scheduleShape = try fields.value("schedule", "constant, linear, cosine, wsd or inverse-sqrt") {
                $0.stringValue.flatMap(ScheduleShape.init)
            }
            decaySteps = try fields.count("decay_steps")
            restartEvery = try fields.count("restart_every")
        }
        if json["optimizer"] != nil {
            optimizer = try fields.value("optimizer", "adamw, lion, muon or sgd") {
                $0.stringValue.flatMap(OptimizerKind.init)
            }
        }
        if optimizer == .sgd || optimizer == .muon {
            momentum = try fields.double("momentum")
            nesterov = try fields.value("nesterov", "true or false") { $0.boolValue }
        }
        if optimizer == .muon {
            muonScale = try fields.value("muon_scale", "rms or original") { $0.stringValue.flatMap(MuonScale.init) }
        }
        weightDecay = try fields.double("weight_decay")
        beta1 = try fields.double("beta1")
        beta2 = try fields.double("beta2")
        epsilon = try fields.double("epsilon")
        rules = try ParameterRules(json, fields)
        if let freeze = json["freeze"] { freezes = try FreezeRule.list(freeze, name: name + ", recipe.freeze") }
        if json["ema"] != nil { averageDecay = try fields.double("ema") }
        clip = json["clip"]?.isNull == true ? .infinity : try fields.double("clip")
        lanes = try fields.count("lanes")
        if json["precision"] != nil {
            precision = try fields.value("precision", "fp32 or bf16") { $0.stringValue.flatMap(Precision.init) }
        }
        seed = try fields.uint64("seed")
        do { try validate() } catch { throw .badData(name, "recipe: \(error.message)") }
    }
}

/// Typed access to the fields of a JSON object from a file, with errors that name file and field.
struct Fields {
    let json: JSON
    let name: String
    let prefix: String

    init(_ json: JSON, name: String, within prefix: String = "") {
        self.json = json
        self.name = name
        self.prefix = prefix.isEmpty ? "" : prefix + "."
    }

    func value<Value>(_ key: String, _ expected: String, _ get: (JSON) -> Value?) throws(Fault) -> Value {
        guard let field = json[key] else { throw .badData(name, "field '\(prefix)\(key)' is missing") }
        guard let value = get(field) else { throw .badData(name, "field '\(prefix)\(key)': expected \(expected)") }
        return value
    }

    func double(_ key: String) throws(Fault) -> Double { try value(key, "a number") { $0.doubleValue } }
    func uint64(_ key: String) throws(Fault) -> UInt64 { try value(key, "an integer") { $0.uint64Value } }
    func string(_ key: String) throws(Fault) -> String { try value(key, "a string") { $0.stringValue } }
    func count(_ key: String) throws(Fault) -> Int {
        try value(key, "an integer from 0 to 2^60") { $0.intValue.flatMap { Fields.counts.contains($0) ? $0 : nil } }
    }

    /// So that nothing that is added to it overflows.
    static let largestCount = 1 << 60
    static let counts = 0...largestCount
}
