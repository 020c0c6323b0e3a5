// How a run is watched over: evaluations and what follows from them, the guard, checkpoints, hooks. What decides the bits of
// a run (the guard, when to stop) goes into its state; the rest into run.json, hooks excepted.

import ArgumentParser
import Bytes
import Training

struct WatchOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A saved batch stream to evaluate on.", valueName: "file"))
    var validation: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Steps between evaluations; each new best is saved. 0 = only at the end (the default).", valueName: "n"))
    var evalEvery: Int?

    @Flag(inversion: .prefixedNo, help: "Evaluate the moving average of --ema instead of the parameters.")
    var evalEma: Bool?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Stop after n evaluations in a row (--eval-every) without improvement; 0 = never (the default).",
            valueName: "n"))
    var patience: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "An improvement is a validation loss lower by more than this (default: 0).", valueName: "x"))
    var minDelta: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Stop at a validation loss this low or lower; -inf = at none (the default).", valueName: "x")
    )
    var targetLoss: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Steps between records of norms and outliers, in all and by part of the network; 0 = none (default: 10).",
            valueName: "n"))
    var normsEvery: Int?

    @Flag(inversion: .prefixedNo, help: "Record them of each layer, too.")
    var normsByLayer: Bool?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Steps between checkpoints; 0 = only at the end (the default).", valueName: "n"))
    var saveEvery: Int?

    @Option(
        name: [.customLong("keep-last"), .customLong("keep")],
        parsing: .unconditional,
        help: ArgumentHelp(
            "Newest checkpoints to keep beside latest, best and last-good; 0 = all (the default).", valueName: "n"))
    var keepLast: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Keep checkpoints of every n-th step too, and without --keep-last only them and the newest; 0 = none (the default).",
            valueName: "n"))
    var keepEvery: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            """
            Leave out updates whose loss or gradient norm lies far above those of the last n applied ones; 0 = only what \
            is not finite (the default; 128 with --guard-z).
            """, valueName: "n"))
    var guardWindow: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Standard deviations above the window's mean that are too far (default with --guard-window: 6).",
            valueName: "x"))
    var guardZ: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Left-out updates in a row after which the run is saved and ends (default: 10).", valueName: "n"))
    var maxSkips: Int?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            """
            Instead of ending after --max-skips, go back to the parameters of last-good and pass over the batches since \
            (needs --save-every).
            """))
    var rollback: Bool?

    @Option(
        help: ArgumentHelp(
            "Run sh -c cmd after each checkpoint, with its metrics record on standard input and MILLRACE_RUN set.",
            valueName: "cmd"))
    var onCheckpoint: String?

    @Option(help: ArgumentHelp("The same after each evaluation.", valueName: "cmd"))
    var onEvaluation: String?

    @Option(help: ArgumentHelp("The same when training ends, however it ends.", valueName: "cmd"))
    var onStop: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Seconds after which a command of these three is ended (default: 60). Give all four again to a resume.",
            valueName: "seconds"))
    var hookTimeout: Double?

    /// - Throws: `Fault` (usage) for a time limit that is none, or one without a command.
    func hooks() throws(Fault) -> TrainingHooks {
        var hooks = TrainingHooks()
        for (event, command) in [
            (TrainingHooks.Event.checkpoint, onCheckpoint), (.evaluation, onEvaluation), (.stop, onStop),
        ] {
            if let command { hooks.commands[event] = command }
        }
        if let hookTimeout {
            guard hookTimeout > 0 && hookTimeout <= 86_400 else {
                throw Fault(.usage, "--hook-timeout is \(hookTimeout), expected more than 0 and at most 86400 seconds")
            }
            guard !hooks.commands.isEmpty else {
                throw Fault(
                    .usage,
                    "--hook-timeout needs --on-checkpoint, --on-evaluation or --on-stop: it limits their commands",
                    hint: "a resume is given the commands again, too: run.json keeps none")
            }
            hooks.timeout = hookTimeout
        }
        return hooks
    }

    /// Puts the guard and what ends the run into its state; what is not given stays as it is.
    /// - Throws: `Fault` (usage) for values out of range, or ones that would have no effect.
    func adjust(_ state: inout TrainingState, _ options: TrainingOptions) throws(Fault) {
        func usage(_ message: String) -> Fault {
            Fault(.usage, message, hint: "'train-step --help' shows the options")
        }
        if guardWindow == 0 && guardZ != nil {
            throw usage("--guard-z needs a window, and --guard-window 0 is none")
        }
        state.guardState.window = try GuardWindow.changed(state.guardState.window, size: guardWindow, limit: guardZ)
        state.guardState.rollsBack = rollback ?? state.guardState.rollsBack
        if rollback == true && options.saveEvery == 0 {
            throw usage("--rollback needs --save-every: it goes back to a checkpoint")
        }
        var patience = state.stopping?.patience ?? 0
        patience = self.patience ?? patience
        var target = state.stopping?.targetLoss
        if let targetLoss { target = targetLoss == -.infinity ? nil : targetLoss }
        let isGiven = (self.patience ?? 0) > 0 || (targetLoss != nil && target != nil)
        if options.evaluateEvery == 0 && isGiven {
            throw usage(
                "\((self.patience ?? 0) > 0 ? "--patience" : "--target-loss") needs --eval-every: it counts evaluations"
            )
        }
        if patience == 0 && minDelta != nil {
            throw usage("--min-delta needs --patience: it says what an improvement is")
        }
        if patience == 0 && target == nil {
            state.stopping = nil
        } else {
            var stopping = TrainingState.Stopping.none
            if let kept = state.stopping { stopping = kept }
            try stopping.change(patience: patience, minimumDelta: minDelta, targetLoss: target)
            state.stopping = stopping
        }
        if state.status == .stopped && state.stopping?.reason == nil { state.status = .running }
    }
}
