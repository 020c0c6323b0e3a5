// Random numbers as a pure function of (seed, purpose, step, index): the same wherever, whenever and by whomever they
// are asked for.

internal import CKernels

/// A counter-based generator for one purpose of a run.
public struct Random: Sendable {
    public let seed: UInt64
    /// What the numbers are for: two purposes never share numbers.
    public let purpose: UInt64
    public let step: UInt64

    public init(seed: UInt64, purpose: UInt64, step: UInt64 = 0) {
        self.seed = seed
        self.purpose = purpose
        self.step = step
    }

    /// 64 uniform bits.
    public func bits(_ index: UInt64) -> UInt64 { mr_random_bits(seed, purpose, step, index) }

    /// Uniform in [0, 1), 53 bits.
    public func uniform(_ index: UInt64) -> Double { Double(bits(index) >> 11) * 0x1p-53 }

    /// Fills `tensor` with normal numbers of mean 0: element i has index `first` + i.
    public func normal(into tensor: Tensor, first: UInt64 = 0, deviation: Float) {
        unsafe mr_random_normal(seed, purpose, step, first, Int64(tensor.count), deviation, tensor.pointer)
    }
}
