// Passes over flat arrays: sums, norms, the optimizer's update. Formulas and order: CKernels.h.

internal import CKernels

/// The numbers of one AdamW update (Loshchilov & Hutter 2019), as the kernel takes them.
public struct AdamWUpdate: Sendable, Equatable {
    /// Multiplies the gradient first: what clipping leaves of it.
    public var gradientScale: Float
    public var oneMinusBeta1: Float
    public var oneMinusBeta2: Float
    /// Learning rate · weight decay.
    public var decay: Float
    /// Learning rate / (1 − beta1^t).
    public var stepSize: Float
    /// 1 / √(1 − beta2^t).
    public var inverseSquareRootBias2: Float
    public var epsilon: Float

    public init(
        gradientScale: Float, oneMinusBeta1: Float, oneMinusBeta2: Float, decay: Float, stepSize: Float,
        inverseSquareRootBias2: Float, epsilon: Float
    ) {
        self.gradientScale = gradientScale
        self.oneMinusBeta1 = oneMinusBeta1
        self.oneMinusBeta2 = oneMinusBeta2
        self.decay = decay
        self.stepSize = stepSize
        self.inverseSquareRootBias2 = inverseSquareRootBias2
        self.epsilon = epsilon
    }
}

extension Engine {
    /// `y` = 0.
    public func zero(_ y: Tensor) { unsafe mr_zero(context, Int64(y.count), y.pointer) }

    /// `y` += `x`.
    public func add(_ x: Tensor, to y: Tensor) {
        precondition(x.count == y.count, "adding \(x.count) elements to \(y.count)")
        unsafe mr_add(context, Int64(x.count), x.pointer, y.pointer)
    }

    /// Σ x² in double; not finite when any element is not.
    public func sumOfSquares(_ x: Tensor) -> Double {
        unsafe mr_sum_squares(context, Int64(x.count), x.pointer)
    }

    /// One AdamW update of `parameters` and its moments `m` and `v`, in one pass over memory.
    public func adamW(_ update: AdamWUpdate, gradient: Tensor, parameters: Tensor, m: Tensor, v: Tensor) {
        let count = parameters.count
        precondition(
            gradient.count == count && m.count == count && v.count == count,
            "an update of \(count) parameters with \(gradient.count) gradients and \(m.count), \(v.count) moments")
        let numbers = mr_adamw_parameters(
            gradient_scale: update.gradientScale, one_minus_beta1: update.oneMinusBeta1,
            one_minus_beta2: update.oneMinusBeta2, decay: update.decay,
            step_size: update.stepSize, inverse_sqrt_bias2: update.inverseSquareRootBias2, epsilon: update.epsilon)
        unsafe mr_adamw(
            context, Int64(count), numbers, gradient.pointer, parameters.pointer, m.pointer, v.pointer)
    }
}
