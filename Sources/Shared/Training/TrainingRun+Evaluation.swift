// Evaluations: when they are due, and what follows from one: the best checkpoint, an early stop, a hook that is told.

internal import Batches
internal import Bytes
internal import Checkpoints
internal import Metrics

extension TrainingRun {
    func isEvaluationDue(_ trainer: Trainer<Model>) -> Bool {
        options.validation != nil && options.evaluateEvery > 0 && trainer.state.step > 0
            && trainer.state.step % options.evaluateEvery == 0
    }

    /// - Parameter isPeriodic: only evaluations at fixed steps count, for `best` and for stopping: where a run was cut must
    ///   not show.
    /// - Returns: false when interrupted.
    func evaluate(_ session: TrainingSession<Model>, isPeriodic: Bool = true) throws -> Bool {
        guard let path = options.validation else { return true }
        let (trainer, clock) = (session.trainer, session.clock)
        let step = trainer.state.step
        guard
            let result = try trainer.evaluate(try FileSource.open(path), isInterrupted: session.isInterrupted)
        else { return false }
        clock.pass()
        let record = clock.record(result, trainer.state)
        try session.metrics.append(record)
        report(.evaluated(step: step, result))
        try runHook(.evaluation, record, session.reporter)
        if result.loss.isFinite {
            if isPeriodic || !trainer.state.guardState.rollsBack {
                if mayBeGood(step) { provenStep = step }
                // Saved before this evaluation, which an interruption had cut.
                if unprovenStep == step { try promoteUnproven() }
            }
        } else {
            try raiseGuard(session, evaluationOn: path, result)
        }
        if isPeriodic {
            trainer.state.stopping?.note(result.loss, step: step)
            if result.loss.isFinite && result.loss < trainer.state.best?.validationLoss ?? .infinity {
                trainer.state.best = .init(step: step, validationLoss: result.loss)
                // The last checkpoint of a run is saved next, with these parameters.
                let isLast = step >= trainer.state.steps || trainer.state.stopping?.reason != nil
                if isLast { return true }
                try session.metrics.synchronize()
                try checkpoint(
                    session, inBackground: true, isOnlyBest: savedStep != step && !isSaveDue(step))
            }
        }
        return true
    }
}
