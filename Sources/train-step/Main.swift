// train-step: learns from a batch stream on standard input. Parse, open, train, report.

import ArgumentParser
import Batches
import Bytes
import CommandLine
import Kernels
import Training

@main
struct TrainStep: Tool {
    static let configuration = CommandConfiguration(
        commandName: "train-step",
        abstract: "Train a model on a batch stream from standard input.",
        discussion: """
            EXAMPLE: tok-pack --rows 16 --length 256 data | train-step --run run --model config.json --steps 1000

            Begins a run (--run with --model or --from) or goes on with one (--resume). The run's directory holds the
            checkpoints, `latest` pointing at the newest, and metrics.jsonl. SIGINT or SIGTERM saves and exits 75; go on
            with: tok-pack --cursor "$(ckpt-tool get RUN/latest cursor)" … | train-step --resume RUN
            """,
        version: millraceVersion)

    @OptionGroup(title: "What to train") var target: TargetOptions
    @OptionGroup(title: "Recipe (part of the checkpoint; a resumed run keeps its own)") var recipe: RecipeOptions
    @OptionGroup(title: "Watch (a resumed run goes on with what run.json keeps of it)") var watch: WatchOptions
    @OptionGroup(title: "Work (changes no bit of the result)") var work: WorkOptions

    func run() throws {
        if work.printSchedule { return try Request.printSchedule(target, recipe) }
        Interruption.install()
        let request = try Request(target, recipe, watch, work)
        let engine = try Engine(threads: work.threads)
        let console = Console(quiet: work.quiet)
        let run = try request.open(engine) { console.report($0) }
        if run.state.step < run.state.steps && run.state.status != .stopped && StandardInput.isTerminal {
            throw CleanExit.helpRequest(TrainStep.self)
        }
        console.begin(run.state)
        let outcome: TrainingOutcome
        do {
            outcome = try run.train(
                on: BatchStream(FileSource.standardInput), isInterrupted: { Interruption.isRequested },
                describe: request.describe)
        } catch {
            console.clear()
            throw error
        }
        console.clear()
        switch outcome {
        case .complete: break
        case .stopped(let reason):
            StandardError.writeLine("train-step: stopped at step \(run.state.step) of \(run.state.steps): \(reason)")
            if let remedy = run.state.stopping?.remedy { StandardError.writeLine("hint: \(remedy)") }
        case .exhausted:
            StandardError.writeLine(
                "train-step: the stream ended at step \(run.state.step) of \(run.state.steps); saved, --resume goes on")
        case .interrupted:
            throw Exit(.interrupted, "interrupted at step \(run.state.step); saved, --resume goes on")
        }
    }
}
