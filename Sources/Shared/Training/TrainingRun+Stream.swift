// A run meets its stream: does it fit the model, is it the one that was fed before, and how are its batches cut? What does
// not fit is told before anything is allocated or learned.

internal import Batches
internal import Bytes
internal import Checkpoints
internal import Models
internal import SystemPackage

extension TrainingRun {
    /// Plans and makes the trainer for a stream, and loads what it goes on from.
    func makeTrainer(_ head: StreamHead) throws -> Trainer<Model> {
        var length = head.length
        var batches = BatchPrefetcher.bytes(head)
        if let path = options.validation {
            // A validation stream that cannot be read or does not fit is told now, not when it is needed first.
            let validation = try BatchStreamReader(try FileSource.open(path)).head
            try fit(validation, name: path)
            length = max(length, validation.length)
            batches += BatchPrefetcher.bytes(validation, depth: 0)
        }
        let parts = options.microBatches ?? microBatches(head)
        let part = (head.rows + parts - 1) / parts
        var rows = max(1, (part * head.length + length - 1) / length)
        // The model that is made larger before the first step only lends its parameters.
        if growsFirst { (rows, length, batches) = (1, 1, 0) }
        if !configuration.leftOut.isEmpty { report(.leftOut(configuration.leftOut)) }
        let trainer = try plannedTrainer(rows: rows, length: length, batches: batches)
        trainer.microBatches = parts
        try begin(trainer)
        return trainer
    }

    /// As many as keep a part near 2,048 positions: longer ones are not faster and take more memory. The bits do not depend
    /// on it.
    private func microBatches(_ head: StreamHead) -> Int {
        let rows = max(1, 2048 / head.length)
        return (head.rows + rows - 1) / rows
    }

    /// A trainer, if it fits into memory; the plan is told first.
    /// - Parameter batches: bytes that the batches of its streams will take.
    func plannedTrainer(rows: Int, length: Int, batches: Int = 0) throws(Fault) -> Trainer<Model> {
        try checkRules()
        if options.evaluatesAverage && state.recipe.averageDecay == nil {
            throw Fault(.usage, "--eval-ema needs --ema: the run keeps no average")
        }
        // Code, libraries, the tokenizer's file: what is there before the model is.
        let process = Host.residentBytes
        func shape(_ recompute: Recompute) -> TrainingShape {
            TrainingShape(rows: rows, length: length, precision: state.recipe.precision, recompute: recompute)
        }
        func planned(_ recompute: Recompute) -> MemoryPlan {
            var plan = Model.plan(
                configuration, engine: engine, shape: shape(recompute), lanes: state.recipe.lanes,
                moments: state.recipe.optimizerBytes(configuration),
                neverTrained: state.recipe.neverTrained(configuration.tensors))
            if state.recipe.averageDecay != nil {
                plan.add("moving average", bytes: 4 * configuration.parameterCount)
            }
            plan.add("batches", bytes: batches)
            plan.add("process", bytes: process)
            return plan
        }
        let plan = planned(options.recompute)
        let savings = options.recompute == .none ? Recompute.allCases.map { ($0, plan.total - planned($0).total) } : []
        report(.planned(plan, savings: savings.filter { $0.1 > 0 }))
        try plan.require(name: directory.path.string)
        if let origin { try stored(in: origin).require(tensorsOf: origin) }
        let trainer = Trainer(Model(configuration, engine: engine, shape: shape(options.recompute)), state: state)
        trainer.evaluatesAverage = options.evaluatesAverage
        trainer.norms = options.norms
        return trainer
    }

    /// Holds rules over names and steps against the model and what it is planned to become: a rule may be about layers that
    /// do not exist yet. What a run began with fits, and stays though a plan was given up.
    private func checkRules() throws(Fault) {
        let stages = try PlannedExpansion.stages(state.plannedExpansions, of: configuration)
        if !isResumed {
            let tensors = stages.flatMap(\.tensors)
            try state.recipe.rules.check(tensors)
            try ParameterRules.require(state.recipe.freezes.map(\.glob), in: tensors, "--freeze")
        }
        try FreezePolicy.checkSteps(state.recipe.freezes, stages, steps: state.steps)
    }

    /// Whether the model is made larger before the first step.
    private var growsFirst: Bool { state.step == 0 && state.dueExpansion != nil }

    /// Whether the model can take a stream: the one that has its first batch.
    private func fit(_ head: StreamHead, name: String) throws(Fault) {
        let planned = try PlannedExpansion.models(state.plannedExpansions, of: configuration)
        if growsFirst, let first = planned.last(where: { $0.step == 0 }) {
            try fit(head, first.model, name: name)
        } else {
            try fit(head, configuration, name: name)
        }
    }

    private func fit(_ head: StreamHead, _ configuration: some ModelDescription, name: String) throws(Fault) {
        if head.vocabularySize > configuration.vocabularySize {
            throw .badData(
                name, "ids up to \(head.vocabularySize - 1), the model has \(configuration.vocabularySize)",
                hint: "set vocab_size in the model's configuration to \(head.vocabularySize) or more")
        }
        if head.length > configuration.maximumPositions {
            throw .badData(
                name,
                "rows of \(head.length) tokens, the model's max_position_embeddings is \(configuration.maximumPositions)"
            )
        }
    }

    /// Whether this trainer, which runs alone, sums the rows of a stream as it is meant to be.
    private func share(_ head: StreamHead, name: String) throws(Fault) {
        if head.world > 1 {
            throw .badData(
                name, "the stream of rank \(head.rank) of \(head.world), expected that of a run without ranks",
                hint: "tok-pack without --rank and --world")
        }
        if head.lanes > 1, head.lanes != state.recipe.lanes {
            throw .badData(
                name, "rows in \(head.lanes) lanes, the run's recipe has \(state.recipe.lanes)",
                hint: "give tok-pack and train-step the same --lanes")
        }
    }

    /// Holds the stream against the model and against what the run was fed before.
    func accept(_ head: StreamHead, name: String) throws(Fault) {
        try fit(head, name: name)
        try share(head, name: name)
        if let parts = options.microBatches, parts > head.rows {
            throw Fault(.usage, "\(parts) micro-batches of a batch of \(head.rows) rows")
        }
        var data = TrainingState.Data(
            dataset: head.dataset.description, recipe: head.recipe, length: head.length,
            vocabularySize: head.vocabularySize, endOfDocument: head.endOfDocument.map(Int.init),
            tokenizer: head.tokenizer)
        defer { state.data = data }
        guard let before = state.data else { return }
        data.firstBatch = before.firstBatch
        let isAtCursor =
            state.cursor == TrainingState.startCursor ? head.before.batches == 0 : head.start == state.cursor
        if options.acceptsNewData {
            let isNew = before.dataset != data.dataset || before.recipe != data.recipe || !isAtCursor
            if isNew { data.firstBatch = head.before.batches }
            return
        }
        let hint = "--accept-new-data goes on with other data"
        if before.dataset != data.dataset {
            throw .badData(name, "dataset \(data.dataset), the run was fed \(before.dataset)", hint: hint)
        }
        if before.recipe != data.recipe {
            throw .badData(
                name, "recipe \(data.recipe), the run was fed \(before.recipe): seed, length, order or packing differ",
                hint: hint)
        }
        if !isAtCursor {
            throw .badData(
                name, "the stream begins at \(quoted(head.start)), the checkpoint goes on at \(quoted(state.cursor))",
                hint: "tok-pack --cursor \(state.cursor) …")
        }
    }
}
