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
}
