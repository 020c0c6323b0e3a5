// What a run has in hand while it trains: a run that only looks at its directory has none of it.

internal import Batches
internal import Metrics
internal import Models

/// The trainer at work, and what it reads and writes.
final class TrainingSession<Model: TrainableModel> {
    let trainer: Trainer<Model>
    let stream: BatchPrefetcher
    /// The stream's, for messages.
    let name: String
    let reporter: RunReporter
    var metrics: MetricsRelay { reporter.metrics }
    var clock: TrainingClock { reporter.clock }
    var isInterrupted: () -> Bool { reporter.isInterrupted }
    /// Whether a checkpoint is being saved, or could not be: then saving is no remedy.
    private(set) var isSaving = false

    /// What the last checkpoint of this process holds.
    var savedState: TrainingState?

    init(trainer: Trainer<Model>, stream: BatchPrefetcher, name: String, reporter: RunReporter) {
        self.trainer = trainer
        self.stream = stream
        self.name = name
        self.reporter = reporter
    }

    /// Does a part of saving.
    func saving(_ body: () throws -> Void) rethrows {
        isSaving = true
        try body()
        isSaving = false
    }
}
