// What a loss mask leaves out has no part in a step: not in the loss, not in the count of tokens, not in a single bit of
// the parameters.

import Batches
import Bytes
import Kernels
import Models
import Testing
import Training

@Suite struct LossMaskStepTests {
    private func learned(_ batch: TokenBatch) throws -> (report: StepReport, bits: [UInt32]) {
        let configuration = try ModelConfiguration(
            json: [
                "model_type": "gpt2", "vocab_size": 19, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8,
            ], name: "config.json")
        var recipe = TrainingRecipe()
        (recipe.learningRate, recipe.minimumLearningRate, recipe.scheduleSteps) = (1e-2, 1e-3, 3)
        let trainer = Trainer(
            configuration: configuration, engine: try Engine(threads: 1), rows: 2, length: 6,
            state: TrainingState(recipe: recipe, steps: 3))
        trainer.model.initialize(seed: 1)
        let report = try #require(try trainer.step(batch))
        return (report, trainer.model.parameters.array.map(\.bitPattern))
    }

    private func batch(mask: [Bool]?, maskedTarget: UInt32 = 3) -> TokenBatch {
        let inputs: [UInt32] = [18, 1, 2, 3, 4, 5, 18, 7, 8, 9, 18, 18]
        var targets: [UInt32] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 18]
        for position in [1, 7] { targets[position] = maskedTarget }
        return TokenBatch(
            index: 0, cursor: "x", rows: 2, length: 6, inputs: inputs, targets: targets,
            segmentEnds: [[3, 6], [4]], lossMask: mask)
    }

    @Test func maskedTargetsHaveNoPart() throws {
        var mask = [Bool](repeating: true, count: 12)
        (mask[1], mask[7]) = (false, false)
        let one = try learned(batch(mask: mask))
        let other = try learned(batch(mask: mask, maskedTarget: 17))
        #expect(one.report.tokens == 8 && one.report == other.report && one.bits == other.bits)
        // Without the mask they have.
        let (first, second) = (try learned(batch(mask: nil)), try learned(batch(mask: nil, maskedTarget: 17)))
        #expect(first.report.tokens == 10 && first.bits != second.bits && first.report.loss != one.report.loss)
    }
}
