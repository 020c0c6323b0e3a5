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
}

/// One run in one directory. Holds the directory's lock while it lives.
public final class TrainingRun {
    public let directory: RunDirectory
    public internal(set) var state: TrainingState
    private(set) var configuration: ModelConfiguration
    let engine: Engine
    let options: TrainingOptions
    /// Parameters to begin from: the run's own checkpoint, or another model's.
    private(set) var origin: Checkpoint?
    private var isResumed: Bool
    let report: (TrainingEvent) -> Void
    var savedStep: Int?
    /// The last checkpoint, while no loss has been computed with its parameters; and the step at whose end one was.
    var unprovenStep: Int?
    var provenStep: Int?
    /// What was asked to be saved last, done or under way.
    var lastSave: LastSave?
    let saving: SavingThread
    let keeper: CheckpointKeeper
    /// Name and content of the tokenizer file that every checkpoint carries.
    let tokenizer: (name: String, bytes: [UInt8])?

    /// A new run.
    /// - Parameter origin: a checkpoint whose parameters to begin from; nil = random ones.
    /// - Throws: `Fault` when the directory has a run already.
    public init(
        new path: FilePath, configuration: ModelConfiguration, origin: Checkpoint? = nil, state: TrainingState,
        options: TrainingOptions, engine: Engine, report: @escaping (TrainingEvent) -> Void = { _ in }
    ) throws(Fault) {
        try PlannedExpansion.require(state.plannedExpansions, of: configuration)
        directory = try RunDirectory(path, access: .write)
        saving = try SavingThread()
        keeper = CheckpointKeeper(directory, keepLast: options.keep, keepEvery: options.keepEvery)
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
        self.report = report
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
    /// - Parameter adjust: may change the steps to go to.
    /// - Throws: `Fault` when the directory has no run, or none of its checkpoints is valid.
    public init(
        resuming path: FilePath, options: TrainingOptions, engine: Engine,
        adjust: (inout TrainingState) throws(Fault) -> Void = { _ in },
        report: @escaping (TrainingEvent) -> Void = { _ in }
    ) throws(Fault) {
        guard FileSystem.kind(of: path) == .directory else {
            throw Fault(
                .noInput, "no run in \(quoted(path.string))", hint: "train-step --run DIR --model FILE begins one")
        }
        directory = try RunDirectory(path, access: .write)
        saving = try SavingThread()
        keeper = CheckpointKeeper(directory, keepLast: options.keep, keepEvery: options.keepEvery)
        guard let found = try directory.latestValid() else {
            throw Fault(
                .noInput, "no checkpoint in \(quoted(path.string))",
                hint: "train-step --run DIR --model FILE begins a run")
        }
        for skipped in found.skipped { report(.skippedCheckpoint(skipped)) }
        if !found.skipped.isEmpty {
            report(.fellBack(step: found.step, isLastGood: directory.step(of: .lastGood) == found.step))
        }
        let name = found.checkpoint.path.string
        configuration = try ModelConfiguration(json: found.checkpoint.configuration(), name: name + "/config.json")
        state = try TrainingState(json: found.checkpoint.state(), name: name + "/state.json")
        try adjust(&state)
        try PlannedExpansion.require(state.plannedExpansions, of: configuration)
        origin = found.checkpoint
        self.options = options
        self.engine = engine
        self.report = report
        isResumed = true
        tokenizer = try found.checkpoint.tokenizerName().map { name throws(Fault) in
            (name, try found.checkpoint.read(name))
        }
        savedStep = found.step
        unprovenStep = found.step
    }

    /// Trains on a batch stream until the last step, the stream's end or an interruption.
    /// - Parameters:
    ///   - isInterrupted: asked often; when it says yes, the run saves and returns.
    ///   - describe: makes run.json once the data are known.
    /// - Throws: `Fault` for a broken stream (what was applied is saved first), a full disk, and the like.
    public func train(
        on source: any ByteSource & Sendable, isInterrupted: () -> Bool = { false },
        describe: (StreamHead?, ModelConfiguration, TrainingState) -> RunDescription
    ) throws -> TrainingOutcome {
        let outcome: TrainingOutcome
        do {
            outcome = try trainToEnd(on: source, isInterrupted, describe)
        } catch {
            // What is being saved is finished first; that it fails too would only hide why the run ended.
            try? finishSaving()
            throw error
        }
        try finishSaving()
        return outcome
    }

    private func trainToEnd(
        on source: any ByteSource & Sendable, _ isInterrupted: () -> Bool,
        _ describe: (StreamHead?, ModelConfiguration, TrainingState) -> RunDescription
    ) throws -> TrainingOutcome {
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
        var instruments: (clock: TrainingClock, metrics: MetricsWriter)?
        // A trainer lives until the model is made larger: there is memory for one.
        func stretch() throws -> TrainingOutcome? {
            let trainer = try makeTrainer(head)
            if let directory = options.gradients { try FileSystem.makeDirectory(directory) }
            let (clock, metrics) = try instruments ?? (prepareMetrics(), MetricsWriter(run: directory.path))
            instruments = (clock, metrics)
            try describe(head, configuration, state).write(run: directory.path)
            if !isResumed { try save(trainer) }
            return try loop(trainer, stream, source.name, metrics, clock, isInterrupted)
        }
        while true {
            if let outcome = try stretch() { return outcome }
            try enlarge()
        }
    }

    /// As a run that is resumed from `checkpoint`.
    func goOn(from checkpoint: Checkpoint, as configuration: ModelConfiguration) {
        (origin, self.configuration, isResumed) = (checkpoint, configuration, true)
        lastSave = nil
    }

    private func wait(for stream: BatchPrefetcher, _ isInterrupted: () -> Bool) -> BatchPrefetcher.Item? {
        while true {
            if isInterrupted() { return nil }
            if let item = stream.next(milliseconds: 100) { return item }
        }
    }

    private func loop(
        _ trainer: Trainer, _ stream: BatchPrefetcher, _ name: String, _ metrics: MetricsWriter, _ clock: TrainingClock,
        _ isInterrupted: () -> Bool
    ) throws -> TrainingOutcome? {
        func interrupted() throws -> TrainingOutcome {
            try metrics.synchronize()
            try save(trainer)
            return .interrupted
        }
        // An interruption may have cut the evaluation that was due where the run stopped.
        if isResumed, isEvaluationDue(trainer), try !evaluate(trainer, metrics, clock, isInterrupted) {
            return try interrupted()
        }
        while trainer.state.step < trainer.state.steps {
            if trainer.state.dueExpansion != nil {
                try metrics.synchronize()
                try save(trainer)
                return nil
            }
            guard let item = wait(for: stream, isInterrupted) else { return try interrupted() }
            switch item {
            case .head: throw Fault.badData(name, "a second HEAD in the stream")
            case .failure(let fault) where fault.kind == .interrupted: return try interrupted()
            case .failure(let fault):
                try metrics.synchronize()
                try save(trainer)
                throw Fault(
                    fault.kind, fault.message,
                    hint: "step \(trainer.state.step) is saved; train-step --resume goes on from there")
            case .end:
                return try finish(trainer, metrics, clock, isInterrupted) ? .exhausted : interrupted()
            case .batch(let batch):
                guard
                    let step = try trainer.step(batch, isInterrupted: isInterrupted)
                else { return try interrupted() }
                if let directory = options.gradients { try trainer.writeGradient(of: step, to: directory) }
                if step.isApplied { try promoteUnproven() }
                let speed = clock.advance(tokens: step.tokens)
                try metrics.append(clock.record(step, trainer.state, speed))
                report(.stepped(step, tokensPerSecond: speed))
                try deliverSaved()
                if trainer.state.guardState.consecutive >= options.patience {
                    try metrics.synchronize()
                    try save(trainer)
                    throw Fault(
                        .badData,
                        "loss or gradient was not finite in \(options.patience) steps in a row, up to step \(step.step)",
                        hint: "the parameters are those before them; a lower learning rate may help")
                }
                if isEvaluationDue(trainer), try !evaluate(trainer, metrics, clock, isInterrupted) {
                    return try interrupted()
                }
                if isSaveDue(step.step) && step.step < trainer.state.steps {
                    try metrics.synchronize()
                    try save(trainer, inBackground: true)
                }
            }
        }
        trainer.state.status = .complete
        if try finish(trainer, metrics, clock, isInterrupted) { return .complete }
        trainer.state.status = .running
        return try interrupted()
    }

    /// The last evaluation, unless the one just made was it, and the last checkpoint.
    /// - Returns: false when interrupted: the evaluation is owed, and nothing was saved.
    private func finish(
        _ trainer: Trainer, _ metrics: MetricsWriter, _ clock: TrainingClock, _ isInterrupted: () -> Bool
    ) throws -> Bool {
        if options.validation != nil && !isEvaluationDue(trainer) {
            if try !evaluate(trainer, metrics, clock, isInterrupted, isPeriodic: false) { return false }
        } else if options.validation == nil && trainer.state.guardState.consecutive == 0 {
            // Nothing will be computed with these parameters any more: that they are finite has to do.
            provenStep = trainer.hasFiniteParameters ? trainer.state.step : nil
        }
        try metrics.synchronize()
        try save(trainer)
        return true
    }

    private func isEvaluationDue(_ trainer: Trainer) -> Bool {
        options.validation != nil && options.evaluateEvery > 0 && trainer.state.step > 0
            && trainer.state.step % options.evaluateEvery == 0
    }

    /// - Parameter isPeriodic: only evaluations at fixed steps count for `best`: where a run was cut must not show.
    /// - Returns: false when interrupted.
    private func evaluate(
        _ trainer: Trainer, _ metrics: MetricsWriter, _ clock: TrainingClock, _ isInterrupted: () -> Bool,
        isPeriodic: Bool = true
    ) throws -> Bool {
        guard let path = options.validation else { return true }
        let step = trainer.state.step
        let result: Evaluation
        do {
            guard let done = try trainer.evaluate(try FileSource.open(path), isInterrupted: isInterrupted) else {
                return false
            }
            result = done
        } catch {
            // What was learned is not lost with a validation stream that breaks under way.
            try metrics.synchronize()
            try save(trainer)
            throw Fault(
                error.kind, error.message, hint: "step \(step) is saved; train-step --resume goes on from there")
        }
        clock.pass()
        try metrics.append(clock.record(result, trainer.state))
        report(.evaluated(step: step, result))
        if result.loss.isFinite { provenStep = step }
        if isPeriodic && result.loss.isFinite && result.loss < trainer.state.best?.validationLoss ?? .infinity {
            trainer.state.best = .init(step: step, validationLoss: result.loss)
            try metrics.synchronize()
            try save(trainer, inBackground: true, isOnlyBest: savedStep != step && !isSaveDue(step))
        }
        return true
    }

    /// Loads what the run goes on from, or makes the first parameters.
    func begin(_ trainer: Trainer) throws {
        if isResumed, let origin {
            try trainer.load(origin)
        } else if let origin {
            try trainer.model.load(origin)
        } else {
            trainer.model.initialize(seed: state.recipe.seed)
        }
        if !isResumed { trainer.beginAverage() }
        try prepareSaving(trainer)
    }

    /// Drops metrics of steps that will be done again; the clock goes on where the records that stay end.
    private func prepareMetrics() throws -> TrainingClock {
        guard isResumed else { return TrainingClock(secondsBefore: 0) }
        _ = try MetricsWriter.truncate(run: directory.path, afterStep: state.step)
        return TrainingClock(secondsBefore: try TrainingClock.lastSeconds(run: directory.path))
    }
}
