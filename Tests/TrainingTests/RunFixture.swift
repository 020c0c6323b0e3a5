// A small dataset, a model and runs on it, in this process: what the guard's tests put their NaNs into.

import Batches
import Bytes
import Checkpoints
import Kernels
import Metrics
import Models
import SystemPackage
import TestSupport
import Testing
import Training

struct RunFixture {
    let directory: String

    static func with(_ body: (RunFixture) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            let made = try runShell(
                """
                for i in $(seq 120); do echo "document $i: $(seq $i $((i + i % 30)) | tr '\\n' ' ')"; echo; done \\
                    | tok-shard --tokenizer bytes --split-on '' --output data - &&
                tok-pack --rows 2 --length 24 --limit 2 data > validation
                """, directory: directory)
            #expect(made.status == 0, "\(made.errors)")
            try body(RunFixture(directory: directory))
        }
    }

    static let model: JSON = [
        "model_type": "llama", "vocab_size": 257, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": false,
    ]

    static let steps = 20

    func path(_ name: String) -> FilePath { FilePath(directory + "/" + name) }

    var options: TrainingOptions {
        var options = TrainingOptions()
        (options.saveEvery, options.evaluateEvery) = (4, 5)
        options.validation = directory + "/validation"
        return options
    }

    /// Begins the run `name` or goes on with it.
    /// - Parameters:
    ///   - policy: sets guard and stopping of a new run.
    ///   - fromStart: whether a run that goes on is given the stream from its beginning.
    ///   - stopAfter: the step at whose end it is asked to stop.
    ///   - prepare: given the trainer.
    func train(
        _ name: String, options: TrainingOptions? = nil, policy: (inout TrainingState) throws -> Void = { _ in },
        fromStart: Bool = false, stopAfter: Int? = nil, report: @escaping (TrainingEvent) -> Void = { _ in },
        prepare: @escaping (Trainer<Transformer>) -> Void = { _ in }
    ) throws -> TrainingOutcome {
        let (options, engine) = (options ?? self.options, try Engine(threads: 1))
        let run: TrainingRun<Transformer>
        if exists(directory + "/" + name) {
            run = try TrainingRun(resuming: path(name), options: options, engine: engine, report: report)
        } else {
            var recipe = TrainingRecipe()
            (recipe.learningRate, recipe.minimumLearningRate, recipe.scheduleSteps) = (1e-2, 1e-3, Self.steps)
            var state = TrainingState(recipe: recipe, steps: Self.steps)
            try policy(&state)
            run = try TrainingRun(
                new: path(name), configuration: try ModelConfiguration(json: Self.model, name: "config.json"),
                state: state, options: options, engine: engine, report: report)
        }
        let cursor = fromStart || run.state.cursor == TrainingState.startCursor ? "" : "--cursor '\(run.state.cursor)'"
        let packed = try runShell(
            "tok-pack --rows 2 --length 24 --seed 3 --epochs forever --limit 30 \(cursor) data > stream",
            directory: directory)
        #expect(packed.status == 0, "\(packed.errors)")
        let box = Box()
        run.willTrain = { trainer in
            box.trainer = trainer
            prepare(trainer)
        }
        return try run.train(
            on: BatchStream(try FileSource.open(directory + "/stream")),
            isInterrupted: { stopAfter.map { box.trainer?.state.step ?? 0 >= $0 } ?? false },
            describe: { _, _, _ in
                RunDescription(millraceVersion: "test", commandLine: [], datasetDigest: nil, config: [:])
            })
    }

    private final class Box { var trainer: Trainer<Transformer>? }

    func state(_ name: String) throws -> TrainingState {
        let checkpoint = try Checkpoint(path(name).appending("latest"))
        return try TrainingState(json: checkpoint.state(), name: name)
    }

    func records(_ name: String) throws -> [MetricsRecord] {
        var reader = try MetricsReader(opening: directory + "/" + name + "/metrics.jsonl")
        var records: [MetricsRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    func link(_ name: String, _ link: String) -> String? {
        FileSystem.linkTarget(path(name).appending(link))
    }

    /// Every file of the last step's checkpoint.
    func result(_ name: String) throws -> [String: [UInt8]] {
        try tree(directory + "/" + name + "/" + RunDirectory.name(of: Self.steps))
    }
}

extension MetricsRecord {
    func text(_ key: String) -> String? { if case .string(let text)? = self[key] { text } else { nil } }
    func integer(_ key: String) -> Int? { if case .integer(let value)? = self[key] { value } else { nil } }
}
