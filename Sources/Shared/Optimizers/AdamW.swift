// AdamW over flat arrays, with clipping by the global norm and the guard that keeps non-finite gradients away from
// everything that lasts.

public import Kernels

/// A stretch of the flat arrays with one treatment.
public struct ParameterGroup: Sendable, Equatable {
    public let offset: Int
    public let count: Int
    /// Whether weight decay applies.
    public let decays: Bool

    public init(offset: Int, count: Int, decays: Bool) {
        self.offset = offset
        self.count = count
        self.decays = decays
    }
}

/// Decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101); the formulas stand in docs/numerics.md.
public final class AdamW {
    public let beta1: Double
    public let beta2: Double
    public let epsilon: Double
    public let weightDecay: Double
    /// Largest global norm of a gradient; infinity clips nothing.
    public let clip: Double
    /// First and second moment of every parameter.
    public let m: Tensor
    public let v: Tensor
    private let groups: [ParameterGroup]

    /// - Parameter groups: must tile the `count` parameters.
    public init(
        count: Int, groups: [ParameterGroup], beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double,
        clip: Double
    ) {
        var end = 0
        for group in groups {
            precondition(group.offset == end, "group at \(group.offset), expected at \(end)")
            end += group.count
        }
        precondition(end == count, "groups cover \(end) of \(count) parameters")
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.clip = clip
        m = Tensor(zeroed: count)
        v = Tensor(zeroed: count)
        // Neighbours with one treatment become one pass.
        self.groups = groups.reduce(into: []) { merged, group in
            if let last = merged.last, last.decays == group.decays {
                merged[merged.count - 1] = ParameterGroup(
                    offset: last.offset, count: last.count + group.count, decays: last.decays)
            } else {
                merged.append(group)
            }
        }
    }

    /// √Σ g², summed in double; not finite when any element is not.
    public static func globalNorm(_ gradient: Tensor, _ engine: Engine) -> Double {
        engine.sumOfSquares(gradient).squareRoot()
    }

    /// What a gradient of that norm is multiplied with: clip / norm when norm > clip, else 1.
    public func clipScale(norm: Double) -> Double { norm > clip ? clip / norm : 1 }

    /// The largest norm, after clipping, that squares without overflow in fp32: a second moment that once became
    /// infinite would freeze its parameter for ever.
    public static let largestNorm = 1e18

    /// Whether a gradient of that norm may be applied: finite, and not so large that its squares overflow.
    public func accepts(norm: Double) -> Bool { norm.isFinite && norm * clipScale(norm: norm) <= AdamW.largestNorm }

    /// One update.
    /// - Parameters:
    ///   - t: updates including this one: 1 for the first.
    ///   - norm: of the gradient, as `globalNorm` gives it.
    /// - Returns: false, and nothing is touched, when `accepts` refuses the norm.
    public func update(
        _ parameters: Tensor, gradient: Tensor, norm: Double, learningRate: Double, t: Int, _ engine: Engine
    ) -> Bool {
        guard accepts(norm: norm) else { return false }
        precondition(t >= 1, "update number \(t)")
        let bias1 = 1 - AdamW.power(beta1, t)
        let bias2 = 1 - AdamW.power(beta2, t)
        var numbers = AdamWUpdate(
            gradientScale: Float(clipScale(norm: norm)), oneMinusBeta1: Float(1 - beta1),
            oneMinusBeta2: Float(1 - beta2), decay: 0, stepSize: Float(learningRate / bias1),
            inverseSquareRootBias2: Float(1 / bias2.squareRoot()), epsilon: Float(epsilon))
        for group in groups {
            numbers.decay = group.decays ? Float(learningRate * weightDecay) : 0
            engine.adamW(
                numbers, gradient: gradient.slice(group.offset, group.count),
                parameters: parameters.slice(group.offset, group.count), m: m.slice(group.offset, group.count),
                v: v.slice(group.offset, group.count))
        }
        return true
    }

    /// x^n by squaring: the same operations, so the same bits, everywhere.
    static func power(_ x: Double, _ n: Int) -> Double {
        var (result, base, rest) = (1.0, x, n)
        while rest > 0 {
            if rest & 1 == 1 { result *= base }
            base *= base
            rest >>= 1
        }
        return result
    }
}
