// Time and speed of a run, for its metrics only: nothing of it reaches a checkpoint.

internal import Bytes
internal import Metrics
internal import SystemPackage

/// Training time that goes on across resumes. A class: the loop, its evaluations and its end share one.
final class TrainingClock {
    private let secondsBefore: Double
    private let begin = Host.monotonicClock
    private var last = Host.monotonicClock

    /// - Parameter secondsBefore: training time of the run before this process.
    init(secondsBefore: Double) { self.secondsBefore = secondsBefore }

    /// The training time that the run's last record states.
    static func lastSeconds(run directory: FilePath) throws(Fault) -> Double {
        let path = directory.appending(MetricsReader.fileName)
        if FileSystem.kind(of: path) == nil { return 0 }
        var reader = try MetricsReader(opening: path.string)
        var seconds = 0.0
        while let record = try reader.next() { seconds = record["seconds"]?.doubleValue ?? seconds }
        return seconds
    }

    /// Tokens a second since the last call.
    func advance(tokens: Int) -> Double {
        let now = Host.monotonicClock
        defer { last = now }
        return Double(tokens) / max(now - last, 1e-9)
    }

    /// Time that was no training passed: it does not count in the next speed.
    func pass() { last = Host.monotonicClock }

    func record(_ step: StepReport, _ state: TrainingState, _ tokensPerSecond: Double) -> MetricsRecord {
        var record = MetricsRecord(step: step.step)
        record.set("tokens", state.tokens)
        record.set("train_loss", step.loss)
        record.set("learning_rate", step.learningRate)
        record.set("gradient_norm", step.gradientNorm)
        record.set("tokens_per_second", tokensPerSecond)
        record.set("skipped_steps", state.guardState.skipped)
        return timed(record)
    }

    func record(_ evaluation: Evaluation, _ state: TrainingState) -> MetricsRecord {
        var record = MetricsRecord(step: state.step)
        record.set("tokens", state.tokens)
        record.set("validation_loss", evaluation.loss)
        record.set("validation_tokens", evaluation.tokens)
        return timed(record)
    }

    private func timed(_ record: MetricsRecord) -> MetricsRecord {
        var record = record
        record.set("seconds", secondsBefore + Host.monotonicClock - begin)
        record.set("time", Host.wallClock)
        return record
    }
}
