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

    /// A file with a field that this program would pass over, and files of other versions.
    @Test func whatIsNotKnownIsRefused() throws {
        let json = TrainingState(recipe: TrainingRecipe(), steps: 9).json
        func expectRefusal(_ text: String, _ change: (inout JSONObject) -> Void) {
            var object = json.objectValue ?? [:]
            change(&object)
            let fault = #expect(throws: Fault.self) { try TrainingState(json: .object(object), name: "state.json") }
            #expect(fault?.message.contains(text) == true)
        }
        expectRefusal("'momentum_of_tomorrow' is unknown") { $0["momentum_of_tomorrow"] = 1 }
        expectRefusal("'recipe.optimizer_of_tomorrow' is unknown") { object in
            var recipe = object["recipe"]?.objectValue ?? [:]
            recipe["optimizer_of_tomorrow"] = "x"
            object["recipe"] = .object(recipe)
        }
        expectRefusal("version 3, this program reads 1 and 2") { $0["version"] = 3 }
        expectRefusal("version 0, this program reads 1 and 2") { $0["version"] = 0 }
    }

    /// The first runs' states lacked what there was no choice of then.
    @Test func theFirstStatesAreRead() throws {
        let state = TrainingState(recipe: TrainingRecipe(), steps: 9)
        var object = JSONObject()
        for (key, value) in state.json.objectValue?.members ?? [] { object[key] = key == "version" ? 1 : value }
        var recipe = JSONObject()
        for (key, value) in state.json["recipe"]?.objectValue?.members ?? []
        where !["schedule", "decay_steps", "restart_every", "precision"].contains(key) { recipe[key] = value }
        object["recipe"] = .object(recipe)
        #expect(try TrainingState(json: .object(object), name: "state.json") == state)
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
