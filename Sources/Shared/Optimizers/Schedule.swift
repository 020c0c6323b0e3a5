// The learning rate as a pure function of the step: nothing to save, nothing to lose on a resume.

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// Linear warm-up, then half a cosine down to a floor, which holds afterwards (SGDR without restarts, arXiv:1608.03983).
public struct Schedule: Sendable, Equatable {
    public let peak: Double
    public let floor: Double
    public let warmupSteps: Int
    /// Steps from the beginning to the floor, warm-up included.
    public let steps: Int

    public init(peak: Double, floor: Double, warmupSteps: Int, steps: Int) {
        precondition(warmupSteps >= 0 && steps >= 0, "\(warmupSteps) warm-up steps of \(steps)")
        self.peak = peak
        self.floor = floor
        self.warmupSteps = warmupSteps
        self.steps = steps
    }

    /// The rate of the update that follows `step` finished ones: step 0 has peak / warm-up, the last step of the
    /// schedule is just above the floor.
    public func rate(afterSteps step: Int) -> Double {
        if step < warmupSteps { return peak * Double(step + 1) / Double(warmupSteps) }
        if step >= steps { return floor }
        let progress = Double(step - warmupSteps) / Double(steps - warmupSteps)
        // Written from the peak down, so that the first rate after the warm-up is the peak to the bit.
        return peak - (peak - floor) * 0.5 * (1 - cosine(halfTurns: progress))
    }

    /// cos(π x) for 0 ≤ x ≤ 1, rounded to 40 bits: C libraries differ in the last bit of a cosine, and a learning rate
    /// that differs in its last bit makes another run.
    private func cosine(halfTurns x: Double) -> Double {
        let scale = 0x1p40
        return (cos(Double.pi * x) * scale).rounded() / scale
    }
}
