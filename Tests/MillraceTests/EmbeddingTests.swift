// The library as an embedder meets it: one import, and a model learns.

import Millrace
import TestSupport
import Testing

@Suite struct EmbeddingTests {
    @Test func oneImportTrainsAModel() throws {
        try withTemporaryDirectory { directory in
            // Text to a dataset.
            try writeFile("to be or not to be\n", to: directory + "/text")
            var ingest = try Ingest(
                IngestRecipe(inputs: [directory + "/text"], format: .text, tokenizer: BytesTokenizer()),
                tokenizer: BytesTokenizer(), output: directory + "/data", resume: false)
            _ = try ingest.run(threads: 1)
            // A model, and a trainer without a run around it.
            let configuration = try ModelConfiguration(
                json: [
                    "model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32,
                ], name: "here")
            var recipe = TrainingRecipe()
            (recipe.learningRate, recipe.minimumLearningRate, recipe.scheduleSteps) = (1e-2, 1e-3, 30)
            let trainer = Trainer(
                configuration: configuration, engine: try Engine(threads: 1), rows: 1, length: 20,
                state: TrainingState(recipe: recipe, steps: 30))
            trainer.model.initialize(seed: 1)
            // Batches straight from the dataset.
            let batches = try BatchProducer(
                TokenSource([Dataset(directory + "/data")]),
                recipe: Recipe(length: 20, seed: 1, order: .window, packing: .bestFit, crossDocument: false), rows: 1,
                epochs: 30)
            var losses: [Double] = []
            _ = try batches.run { batch in
                if let step = try trainer.step(batch.decoded(batches.head)) { losses.append(step.loss) }
            }
            let (first, last) = (try #require(losses.first), try #require(losses.last))
            #expect(losses.count == 30 && first > 5 && last < 3)
        }
    }

    /// The loop of docs/api.md, cut anywhere, ends in the same bytes, average included.
    @Test func aLoopOfOnesOwnGoesOn() throws {
        try withTemporaryDirectory { directory in
            let configuration = try ModelConfiguration(
                json: [
                    "model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8,
                ], name: "here")
            var recipe = TrainingRecipe()
            (recipe.learningRate, recipe.scheduleSteps, recipe.averageDecay) = (1e-2, 12, 0.9)
            let ids = (0..<9).map { UInt32($0 * 5 % 9) }
            func train(_ path: FilePath, to last: Int) throws {
                let store = CheckpointStore(try RunDirectory(path, access: .write), keepLast: 2)
                let found = try store.directory.latestValid()?.checkpoint
                var state = TrainingState(recipe: recipe, steps: 12)
                if let found { state = try TrainingState(json: found.state(), name: "state.json") }
                let trainer = Trainer(
                    configuration: configuration, engine: try Engine(threads: 1), rows: 1, length: 8, state: state)
                if let found {
                    try trainer.load(found)
                } else {
                    trainer.model.initialize(seed: recipe.seed)
                    trainer.beginAverage()
                }
                var saved: Int?
                while trainer.state.step < last {
                    let batch = TokenBatch(
                        index: trainer.state.step, cursor: "\(trainer.state.step + 1)", rows: 1, length: 8,
                        inputs: Array(ids.prefix(8)), targets: Array(ids.dropFirst()), segmentEnds: [[8]])
                    let report = try #require(try trainer.step(batch))
                    if report.isApplied, let step = saved {
                        try store.promote(step)
                        saved = nil
                    }
                    if report.step % 3 == 0 || report.step == last {
                        try store.save(trainer.content, step: report.step)
                        saved = report.step
                    }
                }
            }
            let (whole, cut) = (FilePath(directory + "/whole"), FilePath(directory + "/cut"))
            try train(whole, to: 12)
            for last in [2, 6, 7, 12] { try train(cut, to: last) }
            let name = RunDirectory.name(of: 12)
            #expect(try tree(cut.appending(name).string) == tree(whole.appending(name).string))
            #expect(FileSystem.linkTarget(whole.appending("last-good")) == RunDirectory.name(of: 9))
        }
    }
}
