// What the keys of docs/formats/metrics.md mean to the programs that show them: the unit that decides which curves share an
// axis, whether a lower or a higher value is better, and what is a count or a clock, which no one wants smoothed.

/// The meaning of a metric, by its key. Keys that are not known are measures without a unit.
public struct MetricMeaning: Sendable, Equatable {
    public enum Role: Sendable {
        /// Something measured, which noise is in.
        case measure
        /// Only ever grows while a run goes on.
        case counter
        /// Says when.
        case clock
        /// Chosen, not measured.
        case setting
    }

    /// Whether it is of records that say what a run did beside learning: saved, left out, ended, how much memory it took.
    public static func isOfEvents(_ key: String) -> Bool {
        ["checkpoint", "guard", "rollback", "hook", "stop"].contains { key == $0 || key.hasPrefix($0 + "_") }
            || ["resident_bytes", "peak_resident_bytes", "processor_seconds", "peak_flops_per_second"].contains(key)
    }

    public enum Better: Sendable { case lower, higher }

    public var role = Role.measure
    /// As an axis calls it.
    public var unit: String
    public var better: Better?
    /// One sentence without a full stop.
    public var help: String

    public static func of(_ key: String) -> MetricMeaning {
        if let known = table[key] { return known }
        if key.contains("_group_"), let range = key.firstRange(of: "_group_"),
            var known = table[String(key[..<range.lowerBound])]
        {
            known.help += ", of the parameter group \(key[range.upperBound...])"
            return known
        }
        let help = "\(key), as the run records it"
        if key.hasSuffix("_loss") || key == "loss" {
            return MetricMeaning(unit: "loss (nats a token)", better: .lower, help: help)
        }
        if key.contains("accuracy") { return MetricMeaning(unit: "accuracy", better: .higher, help: help) }
        if key.hasSuffix("_bytes") { return MetricMeaning(unit: "bytes", help: help) }
        if key.hasSuffix("_seconds") { return MetricMeaning(unit: "seconds", help: help) }
        if key.hasSuffix("_norm") { return MetricMeaning(unit: "norm", help: help) }
        if key.hasSuffix("_per_second") { return MetricMeaning(unit: key, better: .higher, help: help) }
        return MetricMeaning(unit: key, help: help)
    }

    private static let table: [String: MetricMeaning] = [
        "step": .init(role: .counter, unit: "steps", help: "Steps done, skipped ones included"),
        "tokens": .init(role: .counter, unit: "tokens", help: "Targets learned from"),
        "epoch": .init(role: .clock, unit: "epochs", help: "Passes over the data"),
        "seconds": .init(role: .clock, unit: "seconds of training", help: "Training time, pauses left out"),
        "time": .init(role: .clock, unit: "seconds since 1970", help: "When the last record was made"),
        "train_loss": .init(
            unit: "loss (nats a token)", better: .lower, help: "Mean loss of the step's batch, in nats"),
        "validation_loss": .init(
            unit: "loss (nats a token)", better: .lower, help: "Mean loss of the validation stream, in nats"),
        "validation_tokens": .init(role: .setting, unit: "validation tokens", help: "Targets of the validation stream"),
        "perplexity": .init(unit: "perplexity", better: .lower, help: "e to the power of the validation loss"),
        "learning_rate": .init(role: .setting, unit: "learning rate", help: "Learning rate of the step's update"),
        "gradient_norm": .init(unit: "norm", help: "Global L2 norm of the gradient before clipping"),
        "gradient_norm_clipped": .init(unit: "norm", help: "Global L2 norm of the gradient after clipping"),
        "update_norm": .init(unit: "update norm", help: "Global L2 norm of the step's update"),
        "weight_norm": .init(unit: "weight norm", help: "Global L2 norm of the parameters"),
        "update_to_weight_ratio": .init(unit: "update to weight ratio", help: "Update norm over weight norm"),
        "activation_outlier": .init(
            unit: "outlier (over root mean square)", help: "Largest activation over the root mean square"),
        "gradient_outlier": .init(
            unit: "outlier (over root mean square)", help: "Largest gradient over the root mean square of its tensor"),
        "loss_scale": .init(role: .setting, unit: "loss scale", help: "Factor of the loss in low precision"),
        "skipped_steps": .init(role: .counter, unit: "steps", better: .lower, help: "Updates left out by the guard"),
        "tokens_per_second": .init(unit: "tokens a second", better: .higher, help: "Targets learned from a second"),
        "fraction_of_peak": .init(
            unit: "fraction of peak", better: .higher, help: "Floating-point work over what the processor can do"),
        "flops_per_second": .init(
            unit: "operations a second", better: .higher, help: "Floating-point operations of the model a second"),
        "peak_flops_per_second": .init(
            role: .setting, unit: "operations a second", help: "Operations a second that the processor can do"),
        "data_wait_seconds": .init(
            unit: "seconds of waiting", better: .lower, help: "Waiting for batches since the last record"),
        "checkpoint_seconds": .init(unit: "seconds of saving", better: .lower, help: "How long a checkpoint took"),
        "checkpoint_bytes": .init(unit: "bytes", help: "Size of a checkpoint"),
        "resident_bytes": .init(unit: "bytes", help: "Memory that the process holds"),
        "peak_resident_bytes": .init(unit: "bytes", help: "The most memory that the process held"),
        "processor_seconds": .init(role: .counter, unit: "processor seconds", help: "Processor time of all threads"),
        "guard_value": .init(unit: "guard", help: "What the guard saw"),
        "guard_limit": .init(role: .setting, unit: "guard", help: "What the guard allows"),
    ]

    init(role: Role = .measure, unit: String, better: Better? = nil, help: String) {
        self.role = role
        self.unit = unit
        self.better = better
        self.help = help
    }
}
