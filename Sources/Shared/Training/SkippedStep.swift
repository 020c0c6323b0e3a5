// Why an update was left out, in the words of the log and of metrics.jsonl.

/// What the guard found in a step.
public struct SkippedStep: Sendable, Equatable {
    /// As `guard` in metrics.jsonl spells it.
    public enum Cause: String, Sendable {
        case nonfiniteLoss = "nonfinite_loss"
        case nonfiniteGradient = "nonfinite_gradient"
        /// The parameters themselves are damaged: no step can be learned from any more.
        case nonfiniteParameter = "nonfinite_parameter"
        case lossOutlier = "loss_outlier"
        case gradientOutlier = "gradient_outlier"
        /// Finite, but its squares would not be.
        case gradientTooLarge = "gradient_too_large"
        /// The batch had no target to learn from.
        case noTargets = "no_targets"
    }

    public let cause: Cause
    /// The first tensor that is not finite: a parameter's name, which for `nonfiniteGradient` means its gradient, or the
    /// output of a module, `model.layers.0.mlp.output`.
    public var tensor: String?
    /// What the guard saw: the loss, the gradient's norm, or for an outlier its z-score; not a number for parameters.
    public let value: Double
    /// What it allows; nil: finite numbers.
    public var limit: Double?

    init(cause: Cause, tensor: String? = nil, value: Double, limit: Double? = nil) {
        self.cause = cause
        self.tensor = tensor
        self.value = value
        self.limit = limit
    }

    /// One clause for a person: `the loss is not finite, first in 'model.norm.output'`.
    public var reason: String {
        let place = tensor.map { ", first in '\($0)'" } ?? ""
        switch cause {
        case .nonfiniteLoss: return "the loss is not finite" + place
        case .nonfiniteGradient: return "the gradient is not finite" + place
        case .nonfiniteParameter: return "the parameters are not finite" + place
        case .lossOutlier: return "the loss is \(rounded(value)) deviations above the mean" + allowed
        case .gradientOutlier: return "the gradient's norm is \(rounded(value)) deviations above the mean" + allowed
        case .gradientTooLarge: return "the gradient's norm is \(value)" + allowed
        case .noTargets: return "the batch has no targets, so its loss is not finite"
        }
    }

    private var allowed: String { limit.map { ", over the limit of \(rounded($0))" } ?? "" }

    /// Two digits behind the point at most.
    private func rounded(_ value: Double) -> String {
        abs(value) < 1e15 ? "\((value * 100).rounded() / 100)" : "\(value)"
    }
}
