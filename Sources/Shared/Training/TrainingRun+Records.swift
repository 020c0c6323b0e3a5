// What a run says of itself beside its steps: a record of each checkpoint, of the process now and then, of the end; and the
// hooks that are told. None of it reaches a checkpoint.

internal import Batches
internal import Bytes
internal import Checkpoints
internal import Metrics
internal import SystemPackage

extension TrainingRun {
    /// Saves a checkpoint, if its tensors are sound, and records it once it is published.
    /// - Parameters:
    ///   - isSound: whether the caller has looked at every tensor already.
    ///   - inBackground, isOnlyBest: as of `save`.
    func checkpoint(
        _ session: TrainingSession<Model>, isSound: Bool = false, inBackground: Bool = false, isOnlyBest: Bool = false
    ) throws {
        let trainer = session.trainer
        if !isSound, let name = trainer.nonfiniteTensor {
            try? finishSaving()
            throw Halt(
                stop: "failed",
                fault: Fault(
                    .badData, "tensor \(quoted(name)) is not finite after step \(trainer.state.step)",
                    hint: "nothing was saved; train-step --resume goes on from step \(savedStep ?? 0)"))
        }
        let begin = Host.monotonicClock
        let step = trainer.state.step
        // The best of its step becomes the last: the same parameters, another state.
        let isReplaced = session.savedState?.step == step && session.savedState != trainer.state
        try session.saving { try save(trainer, inBackground: inBackground, isOnlyBest: isOnlyBest) }
        session.savedState = trainer.state
        if isReplaced { published.append(step) }
        lastSaving = (step, Host.monotonicClock - begin)
        session.clock.pass()
        try settle(session)
    }

    /// Waits for what is being saved, and records it.
    func settleAll(_ session: TrainingSession<Model>) throws {
        try session.saving { try finishSaving() }
        try settle(session)
    }

    /// Records the checkpoints that were published since the last call, and tells `on-checkpoint`.
    func settle(_ session: TrainingSession<Model>) throws {
        try session.saving { try deliverSaved() }
        while !published.isEmpty {
            let step = published.removeFirst()
            let path = directory.path(of: step)
            var bytes = 0
            for name in (try? FileSystem.list(path)) ?? [] {
                bytes += FileSystem.identity(of: path.appending(name))?.size ?? 0
            }
            // Steps are in order in the file, and the run may have gone on since.
            var record = MetricsRecord(step: session.trainer.state.step)
            record.set("tokens", session.trainer.state.tokens)
            record.set("checkpoint", RunDirectory.name(of: step))
            if let (last, seconds) = lastSaving, last == step { record.set("checkpoint_seconds", seconds) }
            record.set("checkpoint_bytes", bytes)
            record = session.clock.timed(record)
            try session.metrics.append(record)
            try runHook(.checkpoint, record, session.reporter)
        }
    }

    /// Memory and processor time, every ten seconds and at the end.
    func recordSystem(_ session: TrainingSession<Model>, isLast: Bool = false) throws {
        guard session.clock.isSystemRecordDue || isLast else { return }
        var record = MetricsRecord(step: session.trainer.state.step)
        record.set("tokens", session.trainer.state.tokens)
        record.set("resident_bytes", Host.residentBytes)
        record.set("peak_resident_bytes", Host.peakResidentBytes)
        record.set("processor_seconds", Host.processorSeconds)
        record.set("peak_flops_per_second", session.clock.peakRate)
        try session.metrics.append(session.clock.timed(record))
    }

    func stop(_ reporter: RunReporter, _ outcome: TrainingOutcome) {
        switch outcome {
        case .complete: stop(reporter, "complete", nil)
        case .exhausted: stop(reporter, "exhausted", nil)
        case .interrupted: stop(reporter, "interrupted", nil)
        case .stopped(let reason): stop(reporter, state.stopping?.reason?.rawValue ?? "stopped", reason)
        }
    }

    /// Records the end and tells `on-stop`. What goes wrong with that cannot make the end another.
    func stop(_ reporter: RunReporter, _ stop: String, _ reason: String?) {
        var record = MetricsRecord(step: state.step)
        record.set("tokens", state.tokens)
        record.set("stop", stop)
        if let reason { record.set("stop_reason", reason) }
        record = reporter.clock.timed(record)
        try? reporter.metrics.append(record)
        try? runHook(.stop, record, reporter)
    }

    /// Tells a hook. Its failure is said and recorded, and changes nothing.
    func runHook(_ event: TrainingHooks.Event, _ record: MetricsRecord, _ reporter: RunReporter) throws {
        guard let command = options.hooks.commands[event] else { return }
        let wasInterrupted = reporter.isInterrupted()
        var timeout = options.hooks.timeout
        if wasInterrupted { timeout = min(timeout, TrainingHooks.timeoutWhenInterrupted) }
        let begin = Host.monotonicClock
        var failure: String?
        do throws(Fault) {
            let outcome = try ShellCommand(command).run(
                input: record.line,
                environment: [
                    ("MILLRACE_RUN", FileSystem.absolute(directory.path).string), ("MILLRACE_HOOK", event.name),
                ],
                timeout: timeout, isInterrupted: { !wasInterrupted && reporter.isInterrupted() })
            switch outcome {
            case .exited(0), .unknown: break
            case .exited(let status): failure = "exit status \(status)"
            case .killed(let signal): failure = "killed by signal \(signal)"
            case .timedOut: failure = "ended after \(timeout) seconds"
            case .interrupted: failure = "ended because the run was interrupted"
            }
        } catch { failure = error.message }
        reporter.clock.pass()
        guard let failure else { return }
        report(.hookFailed(event, failure))
        var failed = MetricsRecord(step: record.step ?? state.step)
        failed["tokens"] = record["tokens"]
        failed.set("hook", event.name)
        failed.set("hook_failure", failure)
        failed.set("hook_seconds", Host.monotonicClock - begin)
        try reporter.metrics.append(reporter.clock.timed(failed))
    }
}
