import Bytes
import Testing
import Training

@Suite struct TrainingStateTests {
    @Test func stateSurvivesItsJSON() throws {
        var recipe = TrainingRecipe()
        recipe.seed = .max
        recipe.clip = .infinity
        recipe.learningRate = 0.1 + 0.2
        var state = TrainingState(recipe: recipe, steps: 9)
        state.step = 7
        state.cursor = "1:0123456789abcdef:0:1:2:7:56:100:12:00112233445566778899aabbccddeeff"
        let read = try TrainingState(json: JSON(parsing: state.json.pretty, name: "state.json"), name: "state.json")
        #expect(read == state)
        #expect(read.orderDigest == "00112233445566778899aabbccddeeff")
    }

    @Test func aMissingFieldIsNamed() {
        let fault = #expect(throws: Fault.self) {
            try TrainingState(json: ["format": "millrace-state", "version": 1], name: "state.json")
        }
        #expect(fault?.kind == .badData)
        #expect(fault?.message.contains("recipe.learning_rate") == true)
    }

    @Test func recipesOutOfRangeAreRefused() {
        var recipe = TrainingRecipe()
        recipe.lanes = 3
        #expect(throws: Fault.self) { try recipe.validate() }
        recipe.lanes = 4
        recipe.learningRate = .nan
        #expect(throws: Fault.self) { try recipe.validate() }
    }
}
