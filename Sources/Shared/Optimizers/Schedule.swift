// The learning rate as a pure function of the step: nothing to save, nothing to lose on a resume.

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// How the learning rate goes on after the warm-up.
public enum ScheduleShape: String, Sendable, CaseIterable {
    /// The peak, for ever.
    case constant
    /// A straight line to the floor.
    case linear
    /// Half a cosine to the floor (SGDR, arXiv:1608.03983).
    case cosine
    /// Warm-up, stable, decay (arXiv:2404.06395): the peak, then a straight line to the floor over the last steps.
    case wsd
    /// The peak times √(w / n) at update n, w the steps of warm-up, at least 1 (arXiv:1706.03762), and never below the floor.
    case inverseSquareRoot = "inverse-sqrt"

    /// Whether it reaches the floor at the schedule's end, so that it can begin again.
    public var ends: Bool { self == .linear || self == .cosine || self == .wsd }
}

/// Linear warm-up, then one of the shapes.
public struct Schedule: Sendable, Equatable {
    public let shape: ScheduleShape
    public let peak: Double
    public let floor: Double
    public let warmupSteps: Int
    /// Steps from the beginning to the floor, warm-up included.
    public let steps: Int
    /// Steps of the decay that ends `wsd`.
    public let decaySteps: Int
    /// Steps after which a shape that ends begins again from the peak, without warm-up; 0: never.
    public let restartEvery: Int

    public init(
        _ shape: ScheduleShape = .cosine, peak: Double, floor: Double, warmupSteps: Int, steps: Int,
        decaySteps: Int = 0,
        restartEvery: Int = 0
    ) {
        precondition(warmupSteps >= 0 && steps >= 0, "\(warmupSteps) warm-up steps of \(steps)")
        precondition(decaySteps >= 0 && restartEvery >= 0, "decay of \(decaySteps) steps, cycles of \(restartEvery)")
        self.shape = shape
        self.peak = peak
        self.floor = floor
        self.warmupSteps = warmupSteps
        self.steps = steps
        self.decaySteps = decaySteps
        self.restartEvery = restartEvery
    }

    /// The rate of the update that follows `step` finished ones: step 0 has peak / warm-up, the last step of a schedule
    /// that ends is just above the floor.
    public func rate(afterSteps step: Int) -> Double {
        if step < warmupSteps { return peak * Double(step + 1) / Double(warmupSteps) }
        if !shape.ends {
            if shape == .constant { return peak }
            return max(floor, peak * (Double(max(warmupSteps, 1)) / Double(step + 1)).squareRoot())
        }
        if step >= steps { return floor }
        var (done, span) = (step - warmupSteps, steps - warmupSteps)
        if restartEvery > 0 { (done, span) = (done % restartEvery, restartEvery) }
        if shape == .wsd {
            (done, span) = (done - (span - decaySteps), decaySteps)
            if done < 0 { return peak }
        }
        let progress = Double(done) / Double(span)
        // Written from the peak down, so that the first rate after the warm-up is the peak to the bit.
        return peak - (peak - floor) * (shape == .cosine ? 0.5 * (1 - cosine(halfTurns: progress)) : progress)
    }

    /// cos(π x) for 0 ≤ x ≤ 1, rounded to 40 bits: C libraries differ in the last bit of a cosine, and a learning rate
    /// that differs in its last bit makes another run.
    private func cosine(halfTurns x: Double) -> Double {
        let scale = 0x1p40
        return (cos(Double.pi * x) * scale).rounded() / scale
    }
}
