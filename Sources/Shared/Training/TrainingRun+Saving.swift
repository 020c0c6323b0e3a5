// When a run saves, which links a checkpoint earns, and what is told of it: a checkpoint is announced only when it is on the
// disk, and `last-good` follows only once its parameters have given a finite loss. Checkpoints on the way are written
// while the loop goes on, at most one at a time; every end of the run waits for what is under way.

internal import Batches
internal import Bytes
internal import Checkpoints
internal import Metrics
internal import Models

/// What was asked of the last save: the same again is done already.
struct LastSave: Equatable {
    var state: TrainingState
    var isBest: Bool
    var isProven: Bool
}

extension TrainingRun {
    func isSaveDue(_ step: Int) -> Bool { options.saveEvery > 0 && step % options.saveEvery == 0 }

    /// Saves a checkpoint, the one under way before it first. `last-good` follows only once a finite loss was computed with
    /// its parameters: by an evaluation, or by the next step.
    /// - Parameters:
    ///   - inBackground: returns when the saving has begun; `deliverSaved` tells when it is done, or throws.
    ///   - isOnlyBest: the checkpoint goes when it is the best no more.
    func save(_ trainer: Trainer<Model>, inBackground: Bool = false, isOnlyBest: Bool = false) throws {
        let step = trainer.state.step
        let isProven = provenStep == step
        // What may not be good leaves the one before it waiting.
        let unproven = mayBeGood(step) ? (isProven ? nil : step) : unprovenStep
        trainer.state.guardState.unprovenStep = trainer.state.guardState.rollsBack ? unproven : nil
        state = trainer.state
        let wanted = LastSave(state: state, isBest: state.best?.step == step, isProven: isProven)
        if lastSave != wanted {
            try finishSaving()
            let content = content(of: trainer)
            saving.enqueue(reads: true) { [store] didRead in
                try store.save(
                    content, step: step, isBest: wanted.isBest, isProven: wanted.isProven, isOnlyBest: isOnlyBest,
                    sparing: unproven, didRead: didRead)
            }
            lastSave = wanted
            unprovenStep = unproven
        }
        if !inBackground { try finishSaving() }
    }

    /// The step just done found a finite loss with the parameters saved last: they are good.
    func promoteUnproven() throws {
        guard let step = unprovenStep else { return }
        unprovenStep = nil
        saving.enqueue { [store] _ in try store.promote(step) }
    }

    /// Waits for everything that was begun, and tells of it.
    /// - Throws: `Fault` of a checkpoint that could not be written.
    func finishSaving() throws {
        defer { tellSaved() }
        do { try saving.drain() } catch { throw failed(error) }
    }

    /// Tells of what has become durable.
    /// - Throws: `Fault` of a checkpoint that could not be written.
    func deliverSaved() throws {
        tellSaved()
        do { try saving.check() } catch { throw failed(error) }
    }

    private func failed(_ error: any Error) -> any Error {
        lastSave = nil
        return error
    }

    private func tellSaved() {
        for saved in store.takeSaved() {
            if savedStep != saved.step { report(.saved(step: saved.step, saved.path)) }
            savedStep = saved.step
            if let tensor = saved.nonFinite { report(.notFinite(step: saved.step, tensor: tensor)) }
        }
    }

    private func content(of trainer: Trainer<Model>) -> CheckpointContent {
        var content = trainer.content
        if let (name, bytes) = tokenizer { content.add(bytes, as: name) }
        return content
    }

    /// What a run leaves that has read nothing: its parameters at step 0.
    func saveInitial(_ describe: Describe) throws {
        let trainer = try plannedTrainer(rows: 1, length: 1)
        try begin(trainer)
        try describe(nil, configuration, state).write(run: directory.path)
        try save(trainer)
    }

    /// Ties a trainer, whose parameters are there, to the saving: room for one checkpoint, no update while it is read, no
    /// promotion of one that was resumed from and holds what is not finite.
    func prepareSaving(_ trainer: Trainer<Model>) throws {
        let content = content(of: trainer)
        try directory.requireSpace(content.byteCount, for: state.step)
        trainer.willChange = { [saving] in saving.waitUntilRead() }
        if let step = unprovenStep, let tensor = content.firstNonFinite {
            unprovenStep = nil
            report(.notFinite(step: step, tensor: tensor))
        }
    }
}
