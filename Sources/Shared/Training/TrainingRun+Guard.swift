// What a run does about steps that were not applied: it says so and records them; after too many in a row, or when the
// parameters are damaged, it goes back to the last good checkpoint or ends. Going back moves parameters and moments, never
// the step or the stream: the batches between are passed over, no record is written twice, and a resume comes to the same.

internal import Batches
internal import Bytes
internal import Checkpoints
internal import Metrics
internal import SystemPackage

extension TrainingRun {
    /// Whether `last-good` may point at a step. A run that may go back has it on periodic checkpoints alone, and only periodic
    /// evaluations and updates prove one: it must go back to the same one however often it was interrupted on the way.
    func mayBeGood(_ step: Int) -> Bool { !state.guardState.rollsBack || step == 0 || isSaveDue(step) }

    /// Refuses parameters to begin from that are damaged.
    func requireSoundness(_ session: TrainingSession<Model>) throws {
        guard let name = session.trainer.nonfiniteTensor else { return }
        let path = origin?.path.string ?? directory.path.string
        throw Halt(stop: "failed", fault: .badData(path, "tensor \(quoted(name)) has elements that are not finite"))
    }

    /// A step was not applied.
    func raiseGuard(_ session: TrainingSession<Model>, _ step: StepReport, _ skipped: SkippedStep) throws {
        report(.skippedStep(step: step.step, batch: step.batch, skipped))
        try session.metrics.append(session.clock.record(skipped, batch: step.batch, session.trainer.state))
        let skips = session.trainer.state.guardState.consecutive
        if skipped.cause == .nonfiniteParameter {
            // Nothing that is saved now could be gone on from.
            let way = try rollBack(session, step)
            if way == .taken { return }
            try? finishSaving()
            throw Halt(
                stop: "failed",
                fault: Fault(
                    .badData,
                    "the parameters are not finite at step \(step.step), first in \(quoted(skipped.tensor ?? ""))"
                        + way.explanation,
                    hint: "nothing was saved; train-step --resume goes on from step \(savedStep ?? 0)"))
        }
        if skips < options.maximumSkips { return }
        let way = try rollBack(session, step)
        if way == .taken { return }
        try session.metrics.synchronize()
        try checkpoint(session)
        let whole = skips == 1 ? "a step was skipped" : "\(skips) steps in a row were skipped"
        throw Halt(
            stop: "max_skips",
            fault: Fault(
                .badData,
                "\(whole), up to step \(step.step), batch \(step.batch): \(skipped.reason)" + way.explanation,
                hint: "the parameters are those before them; " + remedy(for: skipped.cause)))
    }

    /// What can be done about too many steps left out. A resume keeps its learning rate.
    private func remedy(for cause: SkippedStep.Cause) -> String {
        switch cause {
        case .noTargets: return "train-step --resume goes on with the batches behind them"
        case .lossOutlier, .gradientOutlier:
            return "train-step --resume with --guard-window 0 or a larger --guard-z leaves out none or fewer"
        case .nonfiniteLoss, .nonfiniteGradient, .nonfiniteParameter, .gradientTooLarge:
            return "train-step --run DIR --from \(directory.path.appending(RunDirectory.Link.latest.rawValue).string) "
                + "begins anew from them, with a lower --learning-rate"
        }
    }

    /// An evaluation's loss is not finite: which module was the first to put out something that is not?
    func raiseGuard(_ session: TrainingSession<Model>, evaluationOn path: String, _ result: Evaluation) throws {
        let trainer = session.trainer
        var name = trainer.nonfiniteParameter
        if name == nil {
            name = trainer.watchStages { isFound in
                guard let source = try? FileSource.open(path) else { return }
                _ = try? trainer.evaluate(source, isInterrupted: { isFound() || session.isInterrupted() })
            }
        }
        var record = MetricsRecord(step: trainer.state.step)
        record.set("tokens", trainer.state.tokens)
        record.set("guard", "nonfinite_validation")
        if let name { record.set("guard_tensor", name) }
        record.set("guard_value", result.loss)
        try session.metrics.append(session.clock.timed(record))
        report(.unsoundEvaluation(step: trainer.state.step, tensor: name))
    }

    /// Goes on with parameters and moments of `last-good`, if the run may and it can help.
    private func rollBack(_ session: TrainingSession<Model>, _ step: StepReport) throws -> WayBack {
        let trainer = session.trainer
        // Which checkpoint is the last good one may be decided by what is still being written.
        try settleAll(session)
        guard trainer.state.guardState.rollsBack else { return .notWanted }
        if trainer.state.guardState.isUnconfirmed {
            let last = trainer.state.guardState.rollbacks.last.map { ", at the end of step \($0.step)" } ?? ""
            return .blocked("no update was applied since it last did\(last)")
        }
        guard let good = directory.step(of: .lastGood), good <= step.step else {
            return .blocked("no checkpoint is known to be good")
        }
        let checkpoint = try Checkpoint(directory.path(of: good))
        // Read as a whole first: a damaged file must not be found with half of the parameters taken over.
        if let problem = Checkpoint.verify(checkpoint.path).first {
            throw Fault.badData(checkpoint.path.string, "cannot go back to it: \(problem)")
        }
        let name = checkpoint.path.appending(Checkpoint.stateName).string
        let old = try TrainingState(json: checkpoint.state(), name: name)
        // What was made larger since has no place for it.
        if old.expansions != trainer.state.expansions {
            return .blocked("the model was made larger since the last good checkpoint, of step \(good)")
        }
        let state = trainer.state
        trainer.state = old
        do { try trainer.load(checkpoint) } catch let fault as Fault {
            // Some of the parameters are old and some are new: nobody may save them.
            throw Halt(stop: "failed", fault: fault)
        }
        // Of this stream: batches of one before it are none of its.
        let first = max(step.batch - (step.step - good) + 1, state.data?.firstBatch ?? 0)
        let rollback = TrainingState.Guard.Rollback(
            step: step.step, goodStep: good, firstBatch: first, lastBatch: step.batch)
        trainer.state = state
        trainer.state.takeBack(old, rollback)
        // What has begun to learn since begins anew, and what was usual then is not now.
        trainer.resumePolicy()
        if trainer.changesPolicy(from: good, to: step.step) { trainer.state.guardState.window?.forgetNorms() }
        // Saved with the parameters that were given up.
        unprovenStep = nil
        report(.rolledBack(rollback))
        var record = MetricsRecord(step: step.step)
        record.set("tokens", trainer.state.tokens)
        record.set("rollback_step", rollback.goodStep)
        record.set("rollback_first_batch", rollback.firstBatch)
        record.set("rollback_last_batch", rollback.lastBatch)
        try session.metrics.append(session.clock.timed(record))
        return .taken
    }
}

/// Whether a run went back to `last-good`, and if it was to and did not, why.
private enum WayBack: Equatable {
    case taken
    case notWanted
    case blocked(String)

    /// To be added to why the run ends.
    var explanation: String {
        if case .blocked(let reason) = self { "; the run does not go back: " + reason } else { "" }
    }
}

extension TrainingState {
    /// Takes over from an earlier state what belongs to its parameters, and keeps what belongs to the run.
    mutating func takeBack(_ old: TrainingState, _ rollback: Guard.Rollback) {
        var new = old
        (new.step, new.tokens, new.cursor, new.status) = (step, tokens, cursor, status)
        (new.steps, new.data, new.best, new.stopping) = (steps, data, best, stopping)
        (new.recipe, new.plannedExpansions) = (recipe, plannedExpansions)
        new.guardState = guardState
        new.guardState.window = guardState.window.map { $0.remembering(old.guardState.window) }
        new.guardState.note(rollback)
        self = new
    }
}
