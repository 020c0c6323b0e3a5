// The loop: next batch, step, guard, evaluate, save; and every way out of it. Whichever is taken, what was applied is saved
// when it is sound, and `on-stop` is told why.

internal import Batches
internal import Bytes
internal import Checkpoints
internal import Kernels
internal import Metrics
internal import Models

/// Ends a run whose state was dealt with already: nothing is saved on the way out.
struct Halt: Error {
    /// As `stop` in metrics.jsonl has it.
    let stop: String
    let fault: Fault
}

extension TrainingRun {
    /// Runs the loop, saves what a fatal error leaves, records how the run ended and tells `on-stop`.
    func conclude(_ session: TrainingSession<Model>, _ body: () throws -> TrainingOutcome?) throws -> TrainingOutcome? {
        do {
            let outcome = try body()
            try settleAll(session)
            state = session.trainer.state
            guard let outcome else { return nil }
            try recordSystem(session, isLast: true)
            stop(session.reporter, outcome)
            return outcome
        } catch let halt as Halt {
            state = session.trainer.state
            try? settleAll(session)
            stop(session.reporter, halt.stop, halt.fault.message)
            throw halt.fault
        } catch {
            let error = failSafe(session, error)
            state = session.trainer.state
            try? settleAll(session)
            stop(session.reporter, "failed", (error as? Fault)?.message ?? "\(error)")
            throw error
        }
    }

    /// Saves what was applied before a fatal error, unless it was saving that failed or the parameters are damaged.
    /// - Returns: the error to end with.
    private func failSafe(_ session: TrainingSession<Model>, _ error: any Error) -> any Error {
        let trainer = session.trainer
        if session.isSaving || trainer.nonfiniteTensor != nil { return error }
        do {
            try session.metrics.synchronize()
            try checkpoint(session, isSound: true)
        } catch { return error }
        guard let fault = error as? Fault else { return error }
        return Fault(
            fault.kind, fault.message,
            hint: "step \(trainer.state.step) is saved; train-step --resume goes on from there")
    }

    private func interrupted(_ session: TrainingSession<Model>) throws -> TrainingOutcome {
        try session.metrics.synchronize()
        try checkpoint(session)
        return .interrupted
    }

    /// - Returns: nil when the model is to be made larger.
    func loop(_ session: TrainingSession<Model>) throws -> TrainingOutcome? {
        let (trainer, metrics, clock) = (session.trainer, session.metrics, session.clock)
        // An interruption may have cut the evaluation that was due where the run stopped.
        if isResumed, isEvaluationDue(trainer) {
            if try !evaluate(session) { return try interrupted(session) }
            if let outcome = try stopEarly(session) { return outcome }
        }
        while trainer.state.step < trainer.state.steps {
            if trainer.state.dueExpansion != nil {
                try metrics.synchronize()
                try checkpoint(session)
                return nil
            }
            let begin = Host.monotonicClock
            guard let item = wait(for: session.stream, session.isInterrupted) else { return try interrupted(session) }
            clock.waited(Host.monotonicClock - begin)
            switch item {
            case .head: throw Fault.badData(session.name, "a second HEAD in the stream")
            case .failure(let fault) where fault.kind == .interrupted: return try interrupted(session)
            case .failure(let fault): throw fault
            case .end:
                return try finish(session) ? .exhausted : interrupted(session)
            case .batch(let batch):
                guard let step = try trainer.step(batch, isInterrupted: session.isInterrupted) else {
                    return try interrupted(session)
                }
                if let directory = options.gradients { try trainer.writeGradient(of: step, to: directory) }
                if step.isApplied { try promoteUnproven() }
                let speed = clock.advance(tokens: step.tokens)
                session.reporter.passOver(batch)
                try metrics.append(clock.record(step, trainer.state, speed))
                report(.stepped(step, tokensPerSecond: speed))
                if let skipped = step.skipped { try raiseGuard(session, step, skipped) }
                try recordSystem(session)
                if isEvaluationDue(trainer) {
                    if try !evaluate(session) { return try interrupted(session) }
                    if let outcome = try stopEarly(session) { return outcome }
                }
                if isSaveDue(step.step) && step.step < trainer.state.steps {
                    if let name = trainer.nonfiniteTensor {
                        try raiseGuard(
                            session, step, SkippedStep(cause: .nonfiniteParameter, tensor: name, value: .nan))
                    }
                    try metrics.synchronize()
                    try checkpoint(session, isSound: true, inBackground: true)
                }
                try settle(session)
            }
        }
        trainer.state.status = .complete
        if try finish(session) { return .complete }
        trainer.state.status = .running
        return try interrupted(session)
    }

    /// Ends the run when its evaluations ask for it.
    private func stopEarly(_ session: TrainingSession<Model>) throws -> TrainingOutcome? {
        guard let stopping = session.trainer.state.stopping, stopping.reason != nil else { return nil }
        session.trainer.state.status = .stopped
        try session.metrics.synchronize()
        try checkpoint(session)
        return .stopped(stopping.explanation)
    }

    /// The last evaluation, unless the one just made was it, and the last checkpoint.
    /// - Returns: false when interrupted: the evaluation is owed, and nothing was saved.
    private func finish(_ session: TrainingSession<Model>) throws -> Bool {
        let trainer = session.trainer
        if options.validation != nil && !isEvaluationDue(trainer) {
            if try !evaluate(session, isPeriodic: false) { return false }
        } else if options.validation == nil && trainer.state.guardState.consecutive == 0
            && !trainer.state.guardState.rollsBack
        {
            // Nothing will be computed with these parameters any more: that they are finite has to do.
            provenStep = trainer.nonfiniteParameter == nil ? trainer.state.step : nil
        }
        try session.metrics.synchronize()
        try checkpoint(session)
        return true
    }
}
