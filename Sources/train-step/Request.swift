// The options made into one of three things: a new run, a run from another model's parameters, a resumed run. What does
// not fit together is refused here.

import Batches
import Bytes
import Checkpoints
import CommandLine
import Kernels
import Metrics
import Models
import Optimizers
import SystemPackage
import Training

struct Request {
    private let target: TargetOptions
    private let recipe: RecipeOptions
    private let watch: WatchOptions
    private let options: TrainingOptions

    init(
        _ target: TargetOptions, _ recipe: RecipeOptions, _ watch: WatchOptions, _ work: WorkOptions
    ) throws(Fault) {
        self.target = target
        self.recipe = recipe
        self.watch = watch
        func usage(_ message: String) -> Fault {
            Fault(.usage, message, hint: "'train-step --help' shows the options")
        }
        guard (target.run == nil) != (target.resume == nil) else {
            throw usage("expected either --run (a new run) or --resume")
        }
        if target.run != nil {
            guard (target.model == nil) != (target.from == nil) else {
                throw usage("a new run needs either --model or --from")
            }
            guard target.steps != nil || recipe.scheduleSteps != nil else {
                throw usage("a new run needs --steps or --schedule-steps")
            }
        } else if target.model != nil || target.from != nil || target.tokenizer != nil {
            throw usage("--model, --from and --tokenizer belong to a new run; --resume takes them from its checkpoint")
        }
        for (name, value, least) in [
            ("--steps", target.steps, 0), ("--eval-every", watch.evalEvery, 0), ("--save-every", watch.saveEvery, 0),
            ("--keep-last", watch.keepLast, 0), ("--keep-every", watch.keepEvery, 0),
            ("--micro-batches", work.microBatches, 1), ("--max-skips", watch.maxSkips, 1),
            ("--patience", watch.patience, 0), ("--norms-every", watch.normsEvery, 0),
        ] {
            if let value, value < least { throw usage("\(name) is \(value), expected \(least) or more") }
        }
        // What the run was begun with stands where nothing else is said.
        let kept = try target.resume.map { path throws(Fault) in try RunDescription.options(run: FilePath(path)) }
        var options = TrainingOptions(json: kept ?? [:])
        options.validation = watch.validation ?? options.validation
        options.evaluateEvery = watch.evalEvery ?? options.evaluateEvery
        options.evaluatesAverage = watch.evalEma ?? options.evaluatesAverage
        options.saveEvery = watch.saveEvery ?? options.saveEvery
        options.keep = watch.keepLast ?? options.keep
        options.keepEvery = watch.keepEvery ?? options.keepEvery
        options.maximumSkips = watch.maxSkips ?? options.maximumSkips
        options.norms.every = watch.normsEvery ?? options.norms.every
        options.norms.byLayer = watch.normsByLayer ?? options.norms.byLayer
        options.hooks = try watch.hooks()
        if options.evaluateEvery > 0 && options.validation == nil { throw usage("--eval-every needs --validation") }
        if watch.normsByLayer == true && options.norms.every == 0 {
            throw usage("--norms-by-layer needs --norms-every: no step is measured")
        }
        if target.run != nil && options.evaluatesAverage && recipe.ema == nil { throw usage("--eval-ema needs --ema") }
        if options.validation == "-" { throw usage("--validation is a file: standard input is the training stream") }
        options.microBatches = work.microBatches
        options.recompute = work.recompute ?? options.recompute
        options.acceptsNewData = work.acceptNewData
        options.tokenizer = target.tokenizer.map { FilePath($0) }
        options.gradients = work.dumpGradients.map { FilePath($0) }
        self.options = options
    }

    func open(_ engine: Engine, report: @escaping (TrainingEvent) -> Void) throws -> TrainingRun<Transformer> {
        if let resume = target.resume {
            let run = try TrainingRun(
                resuming: FilePath(resume), options: options, engine: engine,
                adjust: { state throws(Fault) in
                    try Request.adjust(&state, target, recipe)
                    try watch.adjust(&state, options)
                }, report: report)
            try refuseOtherAdapters(than: run.configuration)
            return run
        }
        guard let directory = target.run, let steps = target.steps ?? recipe.scheduleSteps else {
            throw Fault(.usage, "expected either --run (a new run) or --resume")
        }
        var state = TrainingState(recipe: try Request.makeRecipe(recipe, steps: steps), steps: steps)
        try state.plan(PlannedExpansion.parse(recipe.expandAt))
        try watch.adjust(&state, options)
        let (configuration, origin) = try readModel()
        if let policy = recipe.freezePolicy {
            try FreezePolicy.check(state, configuration, file: policy, others: recipe.freezes.count)
        }
        return try TrainingRun(
            new: FilePath(directory), configuration: configuration, origin: origin, state: state, options: options,
            engine: engine, report: report)
    }

    /// The learning rates of the run that these options describe, or go on with.
    static func printSchedule(_ target: TargetOptions, _ recipe: RecipeOptions) throws {
        if let steps = target.steps, steps < 0 { throw Fault(.usage, "--steps is \(steps), expected 0 or more") }
        if let resume = target.resume {
            let checkpoint = try Checkpoint.find(FilePath(resume), fellBack: Console.tellFallBack)
            let name = checkpoint.path.appending(Checkpoint.stateName).string
            var state = try TrainingState(json: checkpoint.state(), name: name)
            try adjust(&state, target, recipe)
            return try ScheduleListing.write(state.recipe, steps: state.steps)
        }
        guard let steps = target.steps ?? recipe.scheduleSteps else {
            throw Fault(.usage, "--print-schedule needs --steps, --schedule-steps or --resume")
        }
        try ScheduleListing.write(makeRecipe(recipe, steps: steps), steps: steps)
    }

    /// What a resume may change of where the run goes.
    private static func adjust(
        _ state: inout TrainingState, _ target: TargetOptions, _ recipe: RecipeOptions
    ) throws(Fault) {
        try refuseOther(recipe, than: state.recipe)
        if !recipe.expandAt.isEmpty { try state.plan(PlannedExpansion.parse(recipe.expandAt)) }
        if let steps = target.steps {
            // A run that has stopped stays so; `WatchOptions.adjust` knows what would let it go on.
            if steps != state.steps && state.status == .complete { state.status = .running }
            state.steps = steps
        }
        if let steps = recipe.scheduleSteps {
            state.recipe.scheduleSteps = steps
            try state.recipe.validate()
        }
    }

    private func readModel() throws -> (ModelConfiguration, Checkpoint?) {
        if let from = target.from {
            let checkpoint = try Checkpoint.find(FilePath(from), fellBack: Console.tellFallBack)
            let name = checkpoint.path.appending(Checkpoint.configurationName).string
            return (try adapted(ModelConfiguration(json: checkpoint.configuration(), name: name), name), checkpoint)
        }
        let model = target.model ?? ""
        let bytes = try InputFile(FilePath(model)).readAll(limit: 1 << 20)
        return (try adapted(ModelConfiguration(parsing: bytes, name: model), model), nil)
    }

    /// With the adapters of --lora.
    private func adapted(_ configuration: ModelConfiguration, _ name: String) throws(Fault) -> ModelConfiguration {
        guard let lora = recipe.lora else { return configuration }
        if configuration.adapters != nil {
            throw Fault(
                .usage, "--lora: the model of \(quoted(name)) has adapters already",
                hint:
                    "without --lora the run goes on with them; ckpt-tool merge-lora CKPT -o DIR makes them part of the model"
            )
        }
        return try configuration.adapted(
            by: LowRankAdapters(parsing: lora, family: configuration.family))
    }

    /// A resumed run keeps its adapters, as its recipe.
    private func refuseOtherAdapters(than kept: ModelConfiguration) throws(Fault) {
        guard let lora = recipe.lora else { return }
        if try LowRankAdapters(parsing: lora, family: kept.family) != kept.adapters {
            throw Fault(
                .usage, "--lora \(quoted(lora)) differs from the run's adapters, which a resumed run keeps",
                hint: (kept.adapters == nil ? "it has none; " : "ckpt-tool get CKPT lora shows them; ")
                    + "train-step --run DIR --from CKPT begins a new run")
        }
    }

    private static func makeRecipe(_ recipe: RecipeOptions, steps: Int) throws(Fault) -> TrainingRecipe {
        var made = TrainingRecipe()
        made.scheduleSteps = recipe.scheduleSteps ?? steps
        made.seed = recipe.seed ?? 0
        made.learningRate = recipe.learningRate ?? made.learningRate
        made.minimumLearningRate = recipe.minimumLearningRate ?? made.learningRate / 10
        made.warmupSteps = recipe.warmup ?? 0
        made.scheduleShape = recipe.schedule ?? .cosine
        made.restartEvery = recipe.restartEvery ?? 0
        if made.scheduleShape == .constant && recipe.minimumLearningRate != nil {
            throw Fault(
                .usage, "--minimum-learning-rate belongs to a schedule that falls; constant stays at the peak",
                hint: "--schedule linear, cosine, wsd and inverse-sqrt have a floor")
        }
        made.decaySteps = recipe.decaySteps ?? (made.scheduleShape == .wsd ? defaultDecay(of: made) : 0)
        try setOptimizer(of: &made, recipe)
        if let clip = recipe.clip { made.clip = clip == 0 ? .infinity : clip }
        made.averageDecay = recipe.ema
        made.lanes = recipe.lanes ?? 1
        made.precision = recipe.precision ?? .fp32
        try made.validate()
        return made
    }

    /// A tenth of the schedule or of a cycle, as far as the warm-up leaves room: it stands before a cycle, not in it. And two
    /// steps at least, because the first step of a decay still has the peak.
    private static func defaultDecay(of recipe: TrainingRecipe) -> Int {
        let isCyclic = recipe.restartEvery > 0
        let span = isCyclic ? recipe.restartEvery : recipe.scheduleSteps
        return min(max(span / 10, 2), max(span - (isCyclic ? 0 : recipe.warmupSteps), 0))
    }

    /// The optimizer and its numbers; one that it does not have is refused.
    private static func setOptimizer(of made: inout TrainingRecipe, _ recipe: RecipeOptions) throws(Fault) {
        let kind = recipe.optimizer ?? .adamW
        for (name, isGiven, owners) in [
            ("--beta1", recipe.beta1 != nil, [OptimizerKind.adamW, .lion, .muon]),
            ("--beta2", recipe.beta2 != nil, [.adamW, .lion, .muon]),
            ("--epsilon", recipe.epsilon != nil, [.adamW, .muon]),
            ("--momentum", recipe.momentum != nil, [.sgd, .muon]),
            ("--nesterov", recipe.nesterov != nil, [.sgd, .muon]), ("--muon-scale", recipe.muonScale != nil, [.muon]),
        ] where isGiven && !owners.contains(kind) {
            let names = owners.map(\.rawValue).joined(separator: ", ")
            throw Fault(.usage, "\(name) belongs to \(names); the optimizer is \(kind.rawValue)")
        }
        made.optimizer = kind
        made.weightDecay = recipe.weightDecay ?? (kind == .sgd ? 0 : made.weightDecay)
        made.beta1 = recipe.beta1 ?? made.beta1
        made.beta2 = recipe.beta2 ?? (kind == .lion ? 0.99 : made.beta2)
        made.epsilon = recipe.epsilon ?? made.epsilon
        if kind == .muon { (made.momentum, made.nesterov) = (0.95, true) }
        made.momentum = recipe.momentum ?? made.momentum
        made.nesterov = recipe.nesterov ?? made.nesterov
        made.muonScale = recipe.muonScale ?? made.muonScale
        made.rules = try rules(recipe)
        made.freezes = try freezes(recipe)
    }

    /// The rules of --freeze-policy, then those of --freeze.
    private static func freezes(_ recipe: RecipeOptions) throws(Fault) -> [FreezeRule] {
        var rules: [FreezeRule] = []
        if let path = recipe.freezePolicy {
            let bytes = try InputFile(FilePath(path)).readAll(limit: 1 << 20)
            rules = try FreezeRule.list(try JSON(parsing: bytes, name: path), name: path)
        }
        for text in recipe.freezes { rules.append(try FreezeRule(parsing: text)) }
        return rules
    }

    private static func rules(_ recipe: RecipeOptions) throws(Fault) -> ParameterRules {
        var rules = ParameterRules()
        rules.decay = recipe.decay
        rules.noDecay = recipe.noDecay
        for text in recipe.rates {
            guard let equals = text.lastIndex(of: "="), let factor = Double(text[text.index(after: equals)...]) else {
                throw Fault(.usage, "--rate is \(quoted(text)), expected GLOB=FACTOR", hint: "--rate '*.mlp.*=0.5'")
            }
            rules.rates.append(.init(pattern: String(text[..<equals]), factor: factor))
        }
        return rules
    }

    /// A resumed run keeps its recipe, so that the options of its beginning may stand in its resume too; only where the
    /// schedule ends may be moved.
    private static func refuseOther(_ recipe: RecipeOptions, than kept: TrainingRecipe) throws(Fault) {
        func check<Value: Equatable>(_ name: String, _ given: Value?, _ kept: Value) throws(Fault) {
            guard let given, given != kept else { return }
            throw Fault(
                .usage, "\(name) is \(given), the run's recipe has \(kept), which a resumed run keeps",
                hint: "train-step --run DIR --from CKPT begins a new run from a checkpoint's parameters")
        }
        try check("--seed", recipe.seed, kept.seed)
        try check("--learning-rate", recipe.learningRate, kept.learningRate)
        try check("--minimum-learning-rate", recipe.minimumLearningRate, kept.minimumLearningRate)
        try check("--warmup", recipe.warmup, kept.warmupSteps)
        try check("--schedule", recipe.schedule?.rawValue, kept.scheduleShape.rawValue)
        try check("--decay-steps", recipe.decaySteps, kept.decaySteps)
        try check("--restart-every", recipe.restartEvery, kept.restartEvery)
        try check("--optimizer", recipe.optimizer?.rawValue, kept.optimizer.rawValue)
        try check("--momentum", recipe.momentum, kept.momentum)
        try check("--nesterov", recipe.nesterov, kept.nesterov)
        try check("--muon-scale", recipe.muonScale?.rawValue, kept.muonScale.rawValue)
        try check("--weight-decay", recipe.weightDecay, kept.weightDecay)
        let rules = try rules(recipe)
        try check("--decay", rules.decay.isEmpty ? nil : rules.decay, kept.rules.decay)
        try check("--no-decay", rules.noDecay.isEmpty ? nil : rules.noDecay, kept.rules.noDecay)
        if !rules.rates.isEmpty && rules.rates != kept.rules.rates {
            let text = kept.rules.rates.map { "\($0.pattern)=\($0.factor)" }.joined(separator: " ")
            throw Fault(
                .usage,
                "--rate differs from the run's recipe, which a resumed run keeps: \(text.isEmpty ? "none" : text)")
        }
        try check("--beta1", recipe.beta1, kept.beta1)
        try check("--beta2", recipe.beta2, kept.beta2)
        try check("--epsilon", recipe.epsilon, kept.epsilon)
        if let ema = recipe.ema, kept.averageDecay == nil {
            throw Fault(.usage, "--ema is \(ema), the run keeps no average, as it began")
        }
        try check("--ema", recipe.ema, kept.averageDecay ?? 0)
        let freezes = try freezes(recipe)
        if !freezes.isEmpty && freezes != kept.freezes {
            let isNone = kept.freezes.isEmpty
            let origin = recipe.freezePolicy.map { "--freeze-policy \(quoted($0))" } ?? "--freeze"
            throw Fault(
                .usage,
                "\(origin) differs from the run's recipe, which a resumed run keeps" + (isNone ? ": no rule" : ""),
                hint: (isNone ? "" : "ckpt-tool get CKPT recipe.freeze shows it; ")
                    + "train-step --run DIR --from CKPT begins a new run")
        }
        try check("--clip", recipe.clip.map { $0 == 0 ? .infinity : $0 }, kept.clip)
        try check("--lanes", recipe.lanes, kept.lanes)
        try check("--precision", recipe.precision?.rawValue, kept.precision.rawValue)
    }

    /// run.json: what is constant while the run goes.
    func describe(
        _ head: StreamHead?, _ configuration: ModelConfiguration, _ state: TrainingState
    ) -> RunDescription {
        var config = JSONObject()
        config["model"] = configuration.json
        config["recipe"] = state.recipe.json
        config["micro_batches"] = options.microBatches.map(JSON.integer) ?? .null
        return RunDescription(
            datasetDigest: head?.dataset.description, config: config, options: options.json)
    }
}
