// Where a run says what happens: its records, its clock and who asks it to stop. It outlives the trainer, which is let go
// before the model is made larger.

internal import Batches
internal import Metrics

/// What is left to report with when there is no trainer.
final class RunReporter {
    let metrics: MetricsRelay
    let clock: TrainingClock
    let isInterrupted: () -> Bool
    /// Positions that the run's stream has had, padding left out; and those of a pass over its data, where that is known.
    private var emitted: Int
    private let epochTokens: Int?

    init(_ head: StreamHead, metrics: MetricsRelay, clock: TrainingClock, isInterrupted: @escaping () -> Bool) {
        self.metrics = metrics
        self.clock = clock
        self.isInterrupted = isInterrupted
        (emitted, epochTokens) = (head.before.emitted, head.epochTokens)
        countEpochs()
    }

    /// A batch was learned from, or left out.
    func passOver(_ batch: TokenBatch) {
        emitted += batch.realPositions
        countEpochs()
    }

    private func countEpochs() { clock.epoch = epochTokens.map { Double(emitted) / Double($0) } }
}
