// Time and speed of a run, for its metrics only: nothing of it reaches a checkpoint.

internal import Bytes
private import Kernels
internal import Metrics
internal import SystemPackage

/// Training time that goes on across resumes. A class: the loop, its evaluations and its end share one.
final class TrainingClock {
    /// What the processor can do, in floating-point operations a second.
    let peakRate: Double
    /// Passes over the data so far; nil: the stream does not say how long one is.
    var epoch: Double?
    private let secondsBefore: Double
    private let begin = Host.monotonicClock
    private var last = Host.monotonicClock
    /// Of the last step.
    private var stepSeconds = 0.0
    /// Waiting for batches since the last train record.
    private var waitedSeconds = 0.0
    private var lastSystemRecord: Double?

    /// - Parameter secondsBefore: training time of the run before this process.
    init(secondsBefore: Double, peakRate: Double) {
        self.secondsBefore = secondsBefore
        self.peakRate = peakRate
    }

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
        stepSeconds = max(now - last, 1e-9)
        last = now
        return Double(tokens) / stepSeconds
    }

    /// Time that was no training passed: it does not count in the next speed.
    func pass() { last = Host.monotonicClock }

    func waited(_ seconds: Double) { waitedSeconds += seconds }

    /// Ten seconds after the last time that it was true.
    var isSystemRecordDue: Bool {
        let now = Host.monotonicClock
        if let lastSystemRecord, now - lastSystemRecord < 10 { return false }
        lastSystemRecord = now
        return true
    }

    func record(_ step: StepReport, _ state: TrainingState, _ tokensPerSecond: Double) -> MetricsRecord {
        var record = MetricsRecord(step: step.step)
        record.set("tokens", state.tokens)
        record.set("train_loss", step.loss)
        record.set("learning_rate", step.learningRate)
        record.set("gradient_norm", step.gradientNorm)
        // Of a step that was skipped nothing was clipped.
        if step.isApplied { record.set("gradient_norm_clipped", min(step.gradientNorm, state.recipe.clip)) }
        record.set("tokens_per_second", tokensPerSecond)
        if let operations = step.operations {
            record.set("flops_per_second", operations / stepSeconds)
            record.set("fraction_of_peak", operations / stepSeconds / peakRate)
        }
        record.set("skipped_steps", state.guardState.skipped)
        record.set("data_wait_seconds", waitedSeconds)
        waitedSeconds = 0
        // Behind what every step has: a table has room for the first.
        if let norms = step.norms { record.set(norms) }
        return timed(record)
    }

    /// Why an update was left out.
    func record(_ skipped: SkippedStep, batch: Int, _ state: TrainingState) -> MetricsRecord {
        var record = MetricsRecord(step: state.step)
        record.set("tokens", state.tokens)
        record.set("guard", skipped.cause.rawValue)
        record.set("guard_batch", batch)
        if let tensor = skipped.tensor { record.set("guard_tensor", tensor) }
        record.set("guard_value", skipped.value)
        if let limit = skipped.limit { record.set("guard_limit", limit) }
        return timed(record)
    }

    func record(_ evaluation: Evaluation, _ state: TrainingState) -> MetricsRecord {
        var record = MetricsRecord(step: state.step)
        record.set("tokens", state.tokens)
        record.set("validation_loss", evaluation.loss)
        record.set("validation_tokens", evaluation.tokens)
        record.set("perplexity", TrainingClock.exponential(evaluation.loss))
        return timed(record)
    }

    /// e^x, infinite where a double is not enough.
    private static func exponential(_ x: Double) -> Double {
        abs(x) < 700 ? Naive.exponential(x) : x < 0 ? 0 : x + .infinity
    }

    func timed(_ record: MetricsRecord) -> MetricsRecord {
        var record = record
        if let epoch { record.set("epoch", epoch) }
        record.set("seconds", secondsBefore + Host.monotonicClock - begin)
        record.set("time", Host.wallClock)
        return record
    }
}

extension MetricsRecord {
    /// Figures of all parameters, then of each group.
    fileprivate mutating func set(_ norms: StepNorms) {
        set(norms.all, suffix: "", gradientNorm: false)
        if let outlier = norms.activationOutlier { set("activation_outlier", outlier) }
        if let outlier = norms.all.gradientOutlier { set("gradient_outlier", outlier) }
        for group in norms.groups {
            set(group, suffix: "_group_" + group.name, gradientNorm: true)
            if let outlier = group.gradientOutlier { set("gradient_outlier_group_" + group.name, outlier) }
        }
        // Of the stream between layers only where layers are wanted.
        guard norms.groups.contains(where: { $0.name.hasPrefix("layer_") }) else { return }
        for stream in norms.streams {
            if let outlier = stream.magnitude.outlier { set("activation_outlier_group_" + stream.name, outlier) }
        }
    }

    private mutating func set(_ group: StepNorms.Group, suffix: String, gradientNorm: Bool) {
        if gradientNorm { set("gradient_norm" + suffix, group.gradientNorm) }
        if let norm = group.updateNorm { set("update_norm" + suffix, norm) }
        if let norm = group.weightNorm { set("weight_norm" + suffix, norm) }
        if let ratio = group.updateToWeightRatio { set("update_to_weight_ratio" + suffix, ratio) }
    }
}
