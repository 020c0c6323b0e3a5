// The options made into one of three things: a new run, a run from another model's parameters, a resumed run. What does
// not fit together is refused here.

import Batches
import Bytes
import Checkpoints
import CommandLine
import Kernels
import Metrics
import Models
import SystemPackage
import Training

struct Request {
    private let target: TargetOptions
    private let recipe: RecipeOptions
    private let options: TrainingOptions

    init(_ target: TargetOptions, _ recipe: RecipeOptions, _ work: WorkOptions) throws(Fault) {
        self.target = target
        self.recipe = recipe
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
            guard target.steps != nil else { throw usage("a new run needs --steps") }
        } else if target.model != nil || target.from != nil || target.tokenizer != nil {
            throw usage("--model, --from and --tokenizer belong to a new run; --resume takes them from its checkpoint")
        }
        for (name, value) in [
            ("--steps", target.steps ?? 0), ("--eval-every", work.evalEvery), ("--save-every", work.saveEvery),
            ("--keep", work.keep),
        ] where value < 0 { throw usage("\(name) is \(value), expected 0 or more") }
        for (name, value) in [("--micro-batches", work.microBatches), ("--patience", work.patience)] where value < 1 {
            throw usage("\(name) is \(value), expected 1 or more")
        }
        if work.evalEvery > 0 && work.validation == nil { throw usage("--eval-every needs --validation") }
        var options = TrainingOptions()
        options.microBatches = work.microBatches
        options.validation = work.validation
        options.evaluateEvery = work.evalEvery
        options.saveEvery = work.saveEvery
        options.keep = work.keep
        options.acceptsNewData = work.acceptNewData
        options.patience = work.patience
        options.tokenizer = target.tokenizer.map { FilePath($0) }
        options.gradients = work.dumpGradients.map { FilePath($0) }
        self.options = options
    }

    func open(_ engine: Engine, report: @escaping (TrainingEvent) -> Void) throws -> TrainingRun {
        if let resume = target.resume {
            try refuseRecipe()
            return try TrainingRun(
                resuming: FilePath(resume), options: options, engine: engine,
                adjust: { state throws(Fault) in
                    if let steps = target.steps {
                        if steps != state.steps { state.status = .running }
                        state.steps = steps
                    }
                    if let steps = recipe.scheduleSteps {
                        state.recipe.scheduleSteps = steps
                        try state.recipe.validate()
                    }
                }, report: report)
        }
        guard let directory = target.run, let steps = target.steps else {
            throw Fault(.usage, "expected either --run (a new run) or --resume")
        }
        let state = TrainingState(recipe: try makeRecipe(steps: steps), steps: steps)
        let (configuration, origin) = try readModel()
        return try TrainingRun(
            new: FilePath(directory), configuration: configuration, origin: origin, state: state, options: options,
            engine: engine, report: report)
    }

    private func readModel() throws -> (ModelConfiguration, Checkpoint?) {
        if let from = target.from {
            let checkpoint = try Checkpoint.find(FilePath(from))
            let name = checkpoint.path.appending(Checkpoint.configurationName).string
            return (try ModelConfiguration(json: checkpoint.configuration(), name: name), checkpoint)
        }
        let model = target.model ?? ""
        let bytes = try InputFile(FilePath(model)).readAll(limit: 1 << 20)
        return (try ModelConfiguration(parsing: bytes, name: model), nil)
    }

    private func makeRecipe(steps: Int) throws(Fault) -> TrainingRecipe {
        var made = TrainingRecipe()
        made.scheduleSteps = recipe.scheduleSteps ?? steps
        made.seed = recipe.seed ?? 0
        made.learningRate = recipe.learningRate ?? made.learningRate
        made.minimumLearningRate = recipe.minimumLearningRate ?? made.learningRate / 10
        made.warmupSteps = recipe.warmup ?? 0
        made.weightDecay = recipe.weightDecay ?? made.weightDecay
        made.beta1 = recipe.beta1 ?? made.beta1
        made.beta2 = recipe.beta2 ?? made.beta2
        made.epsilon = recipe.epsilon ?? made.epsilon
        if let clip = recipe.clip { made.clip = clip == 0 ? .infinity : clip }
        made.lanes = recipe.lanes ?? 1
        try made.validate()
        return made
    }

    /// A resumed run keeps its recipe; only where the schedule ends may be moved.
    private func refuseRecipe() throws(Fault) {
        let given: [(String, Bool)] = [
            ("--seed", recipe.seed != nil), ("--learning-rate", recipe.learningRate != nil),
            ("--minimum-learning-rate", recipe.minimumLearningRate != nil), ("--warmup", recipe.warmup != nil),
            ("--weight-decay", recipe.weightDecay != nil), ("--beta1", recipe.beta1 != nil),
            ("--beta2", recipe.beta2 != nil), ("--epsilon", recipe.epsilon != nil), ("--clip", recipe.clip != nil),
            ("--lanes", recipe.lanes != nil),
        ]
        for (name, isGiven) in given where isGiven {
            throw Fault(
                .usage, "\(name) is part of the recipe, which a resumed run keeps",
                hint: "train-step --run DIR --from CKPT begins a new run from a checkpoint's parameters")
        }
    }

    /// run.json: what is constant while the run goes.
    func describe(
        _ head: StreamHead?, _ configuration: ModelConfiguration, _ state: TrainingState
    ) -> RunDescription {
        var config = JSONObject()
        config["model"] = configuration.json
        config["recipe"] = state.recipe.json
        config["micro_batches"] = .integer(options.microBatches)
        return RunDescription(
            millraceVersion: millraceVersion, commandLine: Swift.CommandLine.arguments,
            datasetDigest: head?.dataset.description, config: config)
    }
}
