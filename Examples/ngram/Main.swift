// Trains an `NGram` on a dataset of tok-shard, through the same loop, checkpoints and metrics as train-step:
//
//     ngram DATASET RUN STEPS
//
// begins the run or goes on with it. Kill it when you like; the run ends in the same bytes.

import ArgumentParser
import Millrace

@main
struct NGramTraining: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ngram", abstract: "Train a model that is no transformer, or go on with it.")

    @Argument(help: "A dataset made by tok-shard.") var dataset: String
    @Argument(help: ArgumentHelp("The run's directory: begun when it is not there.", valueName: "run")) var directory:
        String
    @Argument(help: "Steps to go to.") var steps: Int

    func validate() throws {
        if steps < 1 { throw ValidationError("steps is \(steps), expected at least 1") }
    }

    func run() throws {
        let dataset = try Dataset(dataset)
        let directory = FilePath(directory)
        var options = TrainingOptions()
        (options.saveEvery, options.keep) = (50, 2)
        let engine = try Engine()

        // The library prints nothing; what happens comes here.
        func report(_ event: TrainingEvent) {
            switch event {
            case .saved(let step, let path): print("step \(step): saved \(path)")
            case .skippedStep(let step, _, let skipped): print("step \(step) was skipped: \(skipped.reason)")
            case .fellBack(let step, _): print("going on from step \(step)")
            default: break
            }
        }
        let training: TrainingRun<NGram>
        if FileSystem.kind(of: directory) == nil {
            var recipe = TrainingRecipe()
            (recipe.learningRate, recipe.minimumLearningRate) = (3e-3, 3e-4)
            (recipe.warmupSteps, recipe.scheduleSteps) = (min(20, steps), steps)
            training = try TrainingRun(
                new: directory, of: NGram.self,
                configuration: NGramDescription(vocabularySize: dataset.manifest.vocabularySize),
                state: TrainingState(recipe: recipe, steps: steps), options: options, engine: engine, report: report)
        } else {
            training = try TrainingRun(
                resuming: directory, of: NGram.self, options: options, engine: engine,
                adjust: { state throws(Fault) in state.steps = max(state.steps, steps) }, report: report)
        }
        training.sinks.append(LastLoss())
        let batches = DatasetBatches(
            try TokenSource([dataset]),
            recipe: Recipe(length: 64, seed: 1, order: .window, packing: .bestFit, crossDocument: false), rows: 16,
            epochs: nil, cursor: training.state.cursor)
        let outcome = try training.train(on: batches)
        print("\(outcome) at step \(training.state.step) of \(training.state.steps)")
    }
}

/// A sink of one's own: says how the loss falls.
final class LastLoss: MetricsSink {
    func append(_ record: MetricsRecord) throws(Fault) {
        guard let step = record.step, step % 20 == 0, let loss = record["train_loss"]?.doubleValue else { return }
        print("step \(step): loss \((loss * 1000).rounded() / 1000)")
    }
}
