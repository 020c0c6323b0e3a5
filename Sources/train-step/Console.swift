// What a person sees: the memory plan before the run, a progress line while it goes.

import Bytes
import Checkpoints
import CommandLine
import Models
import Training

final class Console {
    private let quiet: Bool
    private var progress: Progress
    private var firstStep = 0
    private var steps = 0
    private let begin = Host.monotonicClock
    /// Smoothed tokens a second.
    private var speed = 0.0
    private var validation: Double?

    init(quiet: Bool) {
        self.quiet = quiet
        progress = Progress(quiet: quiet)
    }

    func begin(_ state: TrainingState) {
        firstStep = state.step
        steps = state.steps
        // A run may be resumed to go further, so this is no error.
        for planned in state.plannedExpansions where planned.step >= state.steps {
            say(
                "'\(planned.policy)' is planned for step \(planned.step); the run goes to step \(state.steps) and ends before it"
            )
        }
    }

    func clear() { progress.clear() }

    /// Says which checkpoint a run stands for that is not read to be gone on from.
    static func tellFallBack(_ found: RunDirectory.Valid) {
        for skipped in found.skipped {
            StandardError.writeLine("train-step: passed over \(quoted(skipped.name)): \(skipped.reason)")
        }
        StandardError.writeLine("train-step: reads step \(found.step)\(found.isLastGood ? ", which is last-good" : "")")
    }

    func report(_ event: TrainingEvent) {
        switch event {
        case .leftOut(let keys):
            StandardError.writeLine(
                "train-step: the model's file asks for dropout (\(keys.joined(separator: ", "))); there is none here")
        case .planned(let plan, let savings): if !quiet { show(plan, savings) }
        case .stepped(let step, let tokensPerSecond):
            speed = speed == 0 ? tokensPerSecond : 0.9 * speed + 0.1 * tokensPerSecond
            progress.update { line(step) }
        case .evaluated(_, let evaluation): validation = evaluation.loss
        case .saved: break
        case .expanded(let record):
            progress.clear()
            StandardError.writeLine(
                "train-step: step \(record.step ?? 0): \(record.policy), \(record.parametersBefore) to \(record.parametersAfter) parameters, preserves \(record.promise.rawValue), logits differ by \(record.relative) of the largest"
            )
        case .skippedCheckpoint(let skipped):
            StandardError.writeLine("train-step: passed over \(quoted(skipped.name)): \(skipped.reason)")
        case .fellBack(let step, let isLastGood):
            StandardError.writeLine("train-step: goes on from step \(step)\(isLastGood ? ", which is last-good" : "")")
        case .notFinite(let step, let tensor):
            progress.clear()
            StandardError.writeLine(
                "train-step: step \(step) does not become last-good: tensor \(quoted(tensor)) is not finite")
        case .skippedStep(let step, let batch, let skipped):
            let effect = skipped.cause == .nonfiniteParameter ? "" : "; its update is left out"
            say("step \(step), batch \(batch): \(printable(skipped.reason))\(effect)")
        case .rolledBack(let rollback):
            say(
                "went back to step \(rollback.goodStep) at step \(rollback.step): batches \(rollback.firstBatch) to "
                    + "\(rollback.lastBatch) are passed over")
        case .unsoundEvaluation(let step, let tensor):
            let place = tensor.map { ", first in \(quoted($0))" } ?? ""
            say("the validation loss of step \(step) is not finite\(place)")
        case .hookFailed(let event, let reason): say("the command of --\(event.name) failed: \(printable(reason))")
        }
    }

    /// A line of its own, whatever the progress line shows.
    private func say(_ message: String) {
        progress.clear()
        StandardError.writeLine("train-step: " + message)
    }

    private func line(_ step: StepReport) -> String {
        let done = Double(step.step - firstStep)
        let rest = (Host.monotonicClock - begin) / max(done, 1) * Double(steps - step.step)
        let evaluated = validation.map { "  validation \(fixed($0, 4))" } ?? ""
        return "step \(step.step)/\(steps)  loss \(fixed(step.loss, 4))\(evaluated)  "
            + "\(abbreviated(speed))tokens/s  ETA \(duration(rest))"
    }

    private func show(_ plan: MemoryPlan, _ savings: [(recompute: Recompute, bytes: Int)]) {
        let parts = plan.entries.map { "\($0.name) \(abbreviated(Double($0.bytes)))B" }.joined(separator: ", ")
        StandardError.writeLine("train-step: memory \(abbreviated(Double(plan.total)))B: \(parts)")
        if savings.isEmpty { return }
        let choices = savings.map { "--recompute \($0.recompute.rawValue) \(abbreviated(Double($0.bytes)))B" }
        StandardError.writeLine("train-step: would save: \(choices.joined(separator: ", "))")
    }
}
