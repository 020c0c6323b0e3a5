// A run from its stream to its checkpoints: next batch, step, evaluate, save, and every way it can end. After any of
// them the directory holds a checkpoint from which the run goes on to the same bytes.

public import Batches
public import Bytes
public import Checkpoints
public import Kernels
public import Metrics
public import Models
public import SystemPackage

/// How a run ended.
public enum TrainingOutcome: Sendable, Equatable {
    case complete
    /// The stream ended first.
    case exhausted
    case interrupted
    /// Evaluations asked for it, in this run or before it was resumed; why, in words.
    case stopped(String)
}

/// What a run tells while it goes.
public enum TrainingEvent {
    /// What the model's file asks for and training does without: kinds of dropout.
    case leftOut([String])
    /// What the run will hold, and the bytes that other choices of `TrainingOptions.recompute` would save.
    case planned(MemoryPlan, savings: [(recompute: Recompute, bytes: Int)])
    case stepped(StepReport, tokensPerSecond: Double)
    case evaluated(step: Int, Evaluation)
    /// A checkpoint is on the disk, its links moved.
    case saved(step: Int, FilePath)
    case skippedCheckpoint(RunDirectory.Skipped)
    case expanded(ExpansionRecord)
    /// After checkpoints that were passed over: the one that the run goes on from.
    case fellBack(step: Int, isLastGood: Bool)
    /// A checkpoint that does not become `last-good`: a tensor holds a value that is infinite or not a number.
    case notFinite(step: Int, tensor: String)
    /// An update was left out.
    case skippedStep(step: Int, batch: Int, SkippedStep)
    /// Parameters and moments are those of an earlier checkpoint again.
    case rolledBack(TrainingState.Guard.Rollback)
    /// The loss of an evaluation is not finite; the first tensor that is not, if one was found.
    case unsoundEvaluation(step: Int, tensor: String?)
    /// A hook did not end well, which changes nothing.
    case hookFailed(TrainingHooks.Event, String)
}

/// One run in one directory: what `train-step` does, for any model. Holds the directory's lock while it lives.
///
/// ```swift
/// let run = try TrainingRun(
///     new: "run", of: MyModel.self, configuration: configuration, state: state, options: options,
///     engine: Engine()) { event in print(event) }
/// let outcome = try run.train(on: DatasetBatches(source, recipe: packing, rows: 16))
/// ```
public final class TrainingRun<Model: TrainableModel> {
    /// Makes run.json from what is known: the stream's head, once there is one, the model, where the run stands.
    public typealias Describe = (StreamHead?, Model.Description, TrainingState) -> RunDescription

    public let directory: RunDirectory
    public internal(set) var state: TrainingState
    public private(set) var configuration: Model.Description
    let engine: Engine
    let options: TrainingOptions
    /// Parameters to begin from: the run's own checkpoint, or another model's.
    private(set) var origin: Checkpoint?
    private(set) var isResumed: Bool
    /// For tests: given the trainer before its first step.
    package var willTrain: ((Trainer<Model>) -> Void)?
    private let listener: (TrainingEvent) -> Void
    /// Who gets every record beside metrics.jsonl. What one throws ends the run.
    public var sinks: [any MetricsSink] = []
    /// Checkpoints that were published and not recorded yet; and how long the loop stood still for the last one.
    var published: [Int] = []
    var lastSaving: (step: Int, seconds: Double)?
    var savedStep: Int?
    /// The last checkpoint that may be good, while no loss has been computed with its parameters; and the step at whose end one
    /// was.
    var unprovenStep: Int?
    var provenStep: Int?
    /// What was asked to be saved last, done or under way.
    var lastSave: LastSave?
    let saving: SavingThread
    let store: CheckpointStore
    /// Name and content of the tokenizer file that every checkpoint carries.
    let tokenizer: (name: String, bytes: [UInt8])?

    /// A new run.
    /// - Parameters:
    ///   - model: of which kind.
    ///   - origin: a checkpoint whose parameters to begin from; nil = random ones.
    ///   - report: told what happens, on the thread that trains.
    /// - Throws: `Fault` when the directory has a run already.
    public init(
        new path: FilePath, of model: Model.Type, configuration: Model.Description, origin: Checkpoint? = nil,
        state: TrainingState,
        options: TrainingOptions, engine: Engine, report: @escaping (TrainingEvent) -> Void = { _ in }
    ) throws(Fault) {
        try PlannedExpansion.require(state.plannedExpansions, of: configuration)
        directory = try RunDirectory(path, access: .write)
        saving = try SavingThread()
        store = CheckpointStore(directory, keepLast: options.keep, keepEvery: options.keepEvery)
        guard try directory.steps().isEmpty else {
            throw Fault(
                .usage, "\(quoted(path.string)) has a run already",
                hint: "train-step --resume \(path.string) goes on with it; or choose another directory")
        }
        self.configuration = configuration
        self.origin = origin
        self.state = state
        self.options = options
        self.engine = engine
        listener = report
        isResumed = false
        if let path = options.tokenizer {
            let name = path.lastComponent?.string ?? "tokenizer"
            if Checkpoint.reservedNames.contains(name) {
                throw Fault(
                    .usage, "a tokenizer file named \(quoted(name)): a checkpoint has another file of that name")
            }
            tokenizer = (name, try InputFile(path).readAll(limit: 1 << 28))
        } else {
            tokenizer = nil
        }
    }

    /// A run that goes on from its latest valid checkpoint.
    /// - Parameters:
    ///   - model: of which kind; the checkpoint must be of it.
    ///   - adjust: may change the steps to go to.
    ///   - report: told what happens, on the thread that trains.
    /// - Throws: `Fault` when the directory has no run, or none of its checkpoints is valid.
    public init(
        resuming path: FilePath, of model: Model.Type, options: TrainingOptions, engine: Engine,
        adjust: (inout TrainingState) throws(Fault) -> Void = { _ in },
        report: @escaping (TrainingEvent) -> Void = { _ in }
    ) throws(Fault) {
        guard FileSystem.kind(of: path) == .directory else {
            throw Fault(
                .noInput, "no run in \(quoted(path.string))", hint: "train-step --run DIR --model FILE begins one")
        }
        if FileSystem.kind(of: path.appending(Manifest.fileName)) != nil {
            throw Fault(
                .usage, "\(quoted(path.string)) is a checkpoint, not a run",
                hint:
                    "train-step --run DIR --from CKPT begins a run with its parameters; ckpt-tool expand --run makes one"
            )
        }
        directory = try RunDirectory(path, access: .write)
        saving = try SavingThread()
        store = CheckpointStore(directory, keepLast: options.keep, keepEvery: options.keepEvery)
        guard let found = try directory.latestValid() else {
            throw Fault(
                .noInput, "no checkpoint in \(quoted(path.string))",
                hint: "train-step --run DIR --model FILE begins a run")
        }
        for skipped in found.skipped { report(.skippedCheckpoint(skipped)) }
        let name = found.checkpoint.path.string
        configuration = try Model.Description(json: found.checkpoint.configuration(), name: name + "/config.json")
        state = try TrainingState(json: found.checkpoint.state(), name: name + "/state.json")
        // As it was when the checkpoint was written; now it may be another.
        let wentBack = state.guardState.rollsBack
        try adjust(&state)
        try state.refuseSmaller(than: found.skipped, in: path)
        if !found.skipped.isEmpty {
            report(.fellBack(step: found.step, isLastGood: directory.step(of: .lastGood) == found.step))
        }
        try PlannedExpansion.require(state.plannedExpansions, of: configuration, isKept: true)
        origin = found.checkpoint
        self.options = options
        self.engine = engine
        listener = report
        isResumed = true
        tokenizer = try found.checkpoint.tokenizerName().map { name throws(Fault) in
            (name, try found.checkpoint.read(name))
        }
        savedStep = found.step
        unprovenStep = wentBack ? state.guardState.unprovenStep : mayBeGood(found.step) ? found.step : nil
    }

    func report(_ event: TrainingEvent) {
        if case .saved(let step, _) = event { published.append(step) }
        listener(event)
    }

    /// Trains until the last step, the source's end or an interruption.
    /// - Parameters:
    ///   - isInterrupted: asked often; when it says yes, the run saves and returns.
    ///   - describe: nil: model and recipe.
    /// - Throws: `Fault` for a broken stream (what was applied is saved first), a full disk, and the like.
    public func train(
        on source: any BatchSource, isInterrupted: @escaping () -> Bool = { false }, describe: Describe? = nil
    ) throws -> TrainingOutcome {
        let outcome: TrainingOutcome
        do {
            outcome = try trainToEnd(on: source, isInterrupted, describe ?? plainDescription)
        } catch {
            // What is being saved is finished first; that it fails too would only hide why the run ended.
            try? finishSaving()
            throw error
        }
        try finishSaving()
        return outcome
    }

    private func trainToEnd(
        on source: any BatchSource, _ isInterrupted: @escaping () -> Bool, _ describe: Describe
    ) throws -> TrainingOutcome {
        if state.status == .stopped, let stopping = state.stopping { return .stopped(stopping.explanation) }
        // A kill or a signal during the last evaluation leaves the last step saved but not complete: that is done again.
        let isUnfinished = isResumed && state.step == state.steps && state.status != .complete
        if state.step >= state.steps && !isUnfinished {
            if !isResumed { try saveInitial(describe) }
            return .complete
        }
        let stream = try BatchPrefetcher(source)
        guard let first = wait(for: stream, isInterrupted) else {
            // Nothing was learned; a new run leaves its beginning, so that it can be resumed.
            if !isResumed { try saveInitial(describe) }
            return .interrupted
        }
        guard case .head(let head) = first else {
            if case .failure(let fault) = first {
                if fault.kind == .interrupted && !isResumed { try saveInitial(describe) }
                if fault.kind == .interrupted { return .interrupted }
                throw fault
            }
            throw Fault.badData(source.name, "expected a batch stream")
        }
        try accept(head, name: source.name)
        var known: RunReporter?
        // A trainer lives until the model is made larger: there is memory for one.
        func stretch() throws -> TrainingOutcome? {
            let session = try recorded(by: known) {
                let trainer = try makeTrainer(head)
                if let directory = options.gradients { try FileSystem.makeDirectory(directory) }
                let reporter = try known ?? prepareMetrics(head, isInterrupted)
                known = reporter
                try describe(head, configuration, state).write(run: directory.path)
                willTrain?(trainer)
                return TrainingSession(trainer: trainer, stream: stream, name: source.name, reporter: reporter)
            }
            return try conclude(session) {
                try requireSoundness(session)
                if !isResumed { try checkpoint(session) }
                try settle(session)
                return try loop(session)
            }
        }
        while true {
            if let outcome = try stretch() { return outcome }
            try recorded(by: known) { try enlarge() }
            published.append(state.step)
        }
    }

    /// As a run that is resumed from `checkpoint`.
    func goOn(from checkpoint: Checkpoint, as configuration: Model.Description) {
        (origin, self.configuration, isResumed) = (checkpoint, configuration, true)
        lastSave = nil
    }

    private func plainDescription(
        _ head: StreamHead?, _ configuration: Model.Description, _ state: TrainingState
    ) -> RunDescription {
        RunDescription(
            datasetDigest: head?.dataset.description,
            config: ["model": configuration.json, "recipe": state.recipe.json], options: options.json)
    }

    func wait(for stream: BatchPrefetcher, _ isInterrupted: () -> Bool) -> BatchPrefetcher.Item? {
        while true {
            if isInterrupted() { return nil }
            if let item = stream.next(milliseconds: 100) { return item }
        }
    }

    /// What a checkpoint to begin or go on from has of the model.
    func stored(in origin: Checkpoint) throws(Fault) -> Model.Description {
        isResumed ? configuration : try configuration.stored(in: origin.configuration())
    }

    /// Loads what the run goes on from, or makes the first parameters.
    func begin(_ trainer: Trainer<Model>) throws {
        if isResumed, let origin {
            try trainer.load(origin)
        } else if let origin {
            let stored = try stored(in: origin)
            if stored.tensors.count < configuration.tensors.count {
                trainer.model.initialize(seed: state.recipe.seed, beside: stored)
            }
            try trainer.model.load(origin, as: stored)
        } else {
            trainer.model.initialize(seed: state.recipe.seed)
        }
        if !isResumed { trainer.beginAverage() }
        try prepareSaving(trainer)
    }

    /// Does what stands between the stretches of a run that has begun to train: that it failed is recorded as the run's end.
    private func recorded<Result>(by reporter: RunReporter?, _ body: () throws -> Result) throws -> Result {
        do { return try body() } catch {
            if let reporter { stop(reporter, "failed", (error as? Fault)?.message ?? "\(error)") }
            throw error
        }
    }

    /// Drops metrics of steps that will be done again; the clock goes on where the records that stay end.
    private func prepareMetrics(_ head: StreamHead, _ isInterrupted: @escaping () -> Bool) throws -> RunReporter {
        if isResumed { _ = try MetricsWriter.truncate(run: directory.path, afterStep: state.step) }
        let seconds = isResumed ? try TrainingClock.lastSeconds(run: directory.path) : 0
        return RunReporter(
            head, metrics: MetricsRelay([try MetricsWriter(run: directory.path)] + sinks),
            clock: TrainingClock(secondsBefore: seconds, peakRate: engine.measurePeakRate()),
            isInterrupted: isInterrupted)
    }
}

extension TrainingRun where Model == Transformer {
    /// A new run of a transformer; others as of `init(new:of:configuration:)`.
    public convenience init(
        new path: FilePath, configuration: ModelConfiguration, origin: Checkpoint? = nil, state: TrainingState,
        options: TrainingOptions, engine: Engine, report: @escaping (TrainingEvent) -> Void = { _ in }
    ) throws(Fault) {
        try self.init(
            new: path, of: Transformer.self, configuration: configuration, origin: origin, state: state,
            options: options, engine: engine, report: report)
    }

    /// A run of a transformer that goes on; others as of `init(resuming:of:options:)`.
    public convenience init(
        resuming path: FilePath, options: TrainingOptions, engine: Engine,
        adjust: (inout TrainingState) throws(Fault) -> Void = { _ in },
        report: @escaping (TrainingEvent) -> Void = { _ in }
    ) throws(Fault) {
        try self.init(
            resuming: path, of: Transformer.self, options: options, engine: engine, adjust: adjust, report: report)
    }
}
