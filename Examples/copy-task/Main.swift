// Batches that no dataset holds: a source of one's own makes them as they are asked for. The task: a word of random letters,
// a mark, and the same word again, which a transformer of two layers learns to copy.
//
//     copy-task RUN STEPS

import ArgumentParser
import Millrace

/// Rows of `letters` random ids, the mark, and the letters again; only the second half counts in the loss.
struct CopyTask: BatchSource {
    static let rows = 16
    static let letters = 12
    static let alphabet = 16
    /// The id after the letters'.
    static let mark = UInt32(alphabet)
    static var length: Int { 2 * letters }

    var name: String { "copy task" }
    /// Where to begin: the run's cursor, which is the number of batches that it has had.
    let cursor: String

    func run(_ receive: (BatchItem) -> Bool) throws {
        guard let first = cursor == TrainingState.startCursor ? 0 : Int(cursor) else {
            throw Fault(.badData, "cursor '\(cursor)': expected a number of batches")
        }
        let head = StreamHead(
            rows: Self.rows, length: Self.length, vocabularySize: Self.alphabet + 1,
            describing: "copy task of \(Self.letters) letters of \(Self.alphabet)", start: cursor, batches: first)
        if !receive(.head(head)) { return }
        var index = first
        while receive(.batch(batch(index))) { index += 1 }
    }

    /// A function of the index alone, so that a resumed run sees what it would have seen.
    private func batch(_ index: Int) -> TokenBatch {
        let random = Random(seed: 1, purpose: 1, step: UInt64(index))
        var (inputs, targets): ([UInt32], [UInt32]) = ([], [])
        for row in 0..<Self.rows {
            let word = (0..<Self.letters).map { letter in
                UInt32(random.bits(UInt64(row * Self.letters + letter)) % UInt64(Self.alphabet))
            }
            let tokens = word + [Self.mark] + word
            inputs += tokens.dropLast()
            targets += tokens.dropFirst()
        }
        return TokenBatch(
            index: index, cursor: String(index + 1), rows: Self.rows, length: Self.length, inputs: inputs,
            targets: targets, segmentEnds: Array(repeating: [Int32(Self.length)], count: Self.rows),
            lossMask: (0..<Self.rows * Self.length).map { $0 % Self.length >= Self.letters })
    }
}

@main
struct CopyTraining: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy-task", abstract: "Train a small transformer to copy, or go on with it.")

    @Argument(help: ArgumentHelp("The run's directory: begun when it is not there.", valueName: "run")) var directory:
        String
    @Argument(help: "Steps of a new run.") var steps: Int

    func validate() throws {
        if steps < 1 { throw ValidationError("steps is \(steps), expected at least 1") }
    }

    func run() throws {
        let directory = FilePath(directory)
        var options = TrainingOptions()
        options.saveEvery = 100
        let training: TrainingRun<Transformer>
        if FileSystem.kind(of: directory) == nil {
            var recipe = TrainingRecipe()
            (recipe.learningRate, recipe.minimumLearningRate) = (3e-3, 3e-4)
            (recipe.warmupSteps, recipe.scheduleSteps) = (min(50, steps), steps)
            let model: JSON = [
                "model_type": "llama", "vocab_size": .integer(CopyTask.alphabet + 1), "hidden_size": 64,
                "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                "max_position_embeddings": .integer(CopyTask.length),
            ]
            training = try TrainingRun(
                new: directory, configuration: ModelConfiguration(json: model, name: "copy task"),
                state: TrainingState(recipe: recipe, steps: steps), options: options, engine: Engine())
        } else {
            training = try TrainingRun(resuming: directory, options: options, engine: Engine())
        }
        let metrics = Memory()
        training.sinks.append(metrics)
        let outcome = try training.train(on: CopyTask(cursor: training.state.cursor))
        let losses = metrics.losses
        print(
            "\(outcome): loss \(losses.first ?? .nan) at first, \(losses.last ?? .nan) at step \(training.state.step)")
    }
}

/// Keeps the losses.
final class Memory: MetricsSink {
    private(set) var losses: [Double] = []

    func append(_ record: MetricsRecord) throws(Fault) {
        if let loss = record["train_loss"]?.doubleValue { losses.append(loss) }
    }
}
