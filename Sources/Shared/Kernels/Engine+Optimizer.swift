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

/// The numbers of one Lion update (Chen et al. 2023), as the kernel takes them.
public struct LionUpdate: Sendable, Equatable {
    /// Multiplies the gradient first: what clipping leaves of it.
    public var gradientScale: Float
    public var oneMinusBeta1: Float
    public var oneMinusBeta2: Float
    /// Learning rate · weight decay.
    public var decay: Float
    public var stepSize: Float

    public init(gradientScale: Float, oneMinusBeta1: Float, oneMinusBeta2: Float, decay: Float, stepSize: Float) {
        self.gradientScale = gradientScale
        self.oneMinusBeta1 = oneMinusBeta1
        self.oneMinusBeta2 = oneMinusBeta2
        self.decay = decay
        self.stepSize = stepSize
    }
}

/// The numbers of one step of gradient descent, as the kernel takes them.
public struct SGDUpdate: Sendable, Equatable {
    /// Multiplies the gradient first: what clipping leaves of it.
    public var gradientScale: Float
    /// Times the parameter, added to the gradient.
    public var decay: Float
    public var momentum: Float
    public var stepSize: Float
    public var nesterov: Bool

    public init(gradientScale: Float, decay: Float, momentum: Float, stepSize: Float, nesterov: Bool) {
        self.gradientScale = gradientScale
        self.decay = decay
        self.momentum = momentum
        self.stepSize = stepSize
        self.nesterov = nesterov
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

    /// Σ x², to the bit as `sumOfSquares` has it, and the largest |x|, which is NaN when any element is.
    public func magnitude(_ x: Tensor) -> Magnitude {
        let found = unsafe mr_magnitude_of(context, Int64(x.count), x.pointer)
        return Magnitude(count: x.count, squares: found.squares, largest: found.largest)
    }

    /// One AdamW update of `parameters` and its moments `m` and `v`, in one pass over memory.
    /// - Parameter isMeasured: whether to sum up what the parameters go through; the update is the same to the bit.
    /// - Returns: that sum, or nil.
    @discardableResult
    public func adamW(
        _ update: AdamWUpdate, gradient: Tensor, parameters: Tensor, m: Tensor, v: Tensor, isMeasured: Bool = false
    ) -> UpdateSquares? {
        let count = parameters.count
        precondition(
            gradient.count == count && m.count == count && v.count == count,
            "an update of \(count) parameters with \(gradient.count) gradients and \(m.count), \(v.count) moments")
        let numbers = mr_adamw_parameters(
            gradient_scale: update.gradientScale, one_minus_beta1: update.oneMinusBeta1,
            one_minus_beta2: update.oneMinusBeta2, decay: update.decay,
            step_size: update.stepSize, inverse_sqrt_bias2: update.inverseSquareRootBias2, epsilon: update.epsilon)
        return unsafe measured(isMeasured) { squares in
            unsafe mr_adamw(
                context, Int64(count), numbers, gradient.pointer, parameters.pointer, m.pointer, v.pointer, squares)
        }
    }

    /// One Lion update of `parameters` and the moment `m`; measured as `adamW` is.
    @discardableResult
    public func lion(
        _ update: LionUpdate, gradient: Tensor, parameters: Tensor, m: Tensor, isMeasured: Bool = false
    ) -> UpdateSquares? {
        let count = parameters.count
        precondition(
            gradient.count == count && m.count == count,
            "an update of \(count) parameters with \(gradient.count) gradients and \(m.count) moments")
        let numbers = mr_lion_parameters(
            gradient_scale: update.gradientScale, one_minus_beta1: update.oneMinusBeta1,
            one_minus_beta2: update.oneMinusBeta2, decay: update.decay, step_size: update.stepSize)
        return unsafe measured(isMeasured) { squares in
            unsafe mr_lion(context, Int64(count), numbers, gradient.pointer, parameters.pointer, m.pointer, squares)
        }
    }

    /// One step of gradient descent; `m` nil: without momentum. Measured as `adamW` is.
    @discardableResult
    public func sgd(
        _ update: SGDUpdate, gradient: Tensor, parameters: Tensor, m: Tensor?, isMeasured: Bool = false
    ) -> UpdateSquares? {
        let count = parameters.count
        precondition(
            gradient.count == count && m?.count ?? count == count,
            "a step of \(count) parameters with \(gradient.count) gradients and \(m?.count ?? count) moments")
        let numbers = mr_sgd_parameters(
            gradient_scale: update.gradientScale, decay: update.decay, momentum: update.momentum,
            step_size: update.stepSize, nesterov: update.nesterov)
        return unsafe measured(isMeasured) { squares in
            unsafe mr_sgd(context, Int64(count), numbers, gradient.pointer, parameters.pointer, m?.pointer, squares)
        }
    }

    private func measured(
        _ isMeasured: Bool, _ body: (UnsafeMutablePointer<mr_update_squares>?) -> Void
    ) -> UpdateSquares? {
        guard isMeasured else {
            body(nil)
            return nil
        }
        var squares = mr_update_squares()
        // SAFETY: the kernel writes to it and has returned when the pointer ends.
        unsafe withUnsafeMutablePointer(to: &squares) { unsafe body($0) }
        return UpdateSquares(update: squares.update, weight: squares.weight)
    }

    /// `y` += `weight` · (`x` · `scale` − `y`), a moving average. With `direction` also that average, or, with `nesterov`, the
    /// mean of it and `x` · `scale` with weights 1 − `weight` and `weight`.
    public func average(
        _ x: Tensor, scale: Float = 1, weight: Float, into y: Tensor, direction: Tensor? = nil, nesterov: Bool = false
    ) {
        precondition(
            x.count == y.count && direction?.count ?? y.count == y.count,
            "an average of \(x.count) elements in \(y.count), with \(direction?.count ?? y.count) of direction")
        let numbers = mr_average_parameters(scale: scale, weight: weight, nesterov: nesterov)
        unsafe mr_average(context, Int64(y.count), numbers, x.pointer, y.pointer, direction?.pointer)
    }

    /// `y` = `a` · `x` + `b` · `y`; `y` may be `x`.
    public func combine(_ a: Float, _ x: Tensor, _ b: Float, _ y: Tensor) {
        precondition(x.count == y.count, "combining \(x.count) elements with \(y.count)")
        unsafe mr_combine(context, Int64(y.count), a, x.pointer, b, y.pointer)
    }
}
