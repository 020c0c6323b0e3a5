// An index of parts in a checkpoint of ours: it and the files that it names belong together.

import Bytes
import Checkpoints
import SystemPackage
import Testing

@Suite struct IndexTests {
    private static let index = "model.safetensors.index.json"

    private func findings(_ fill: (CheckpointWriter) throws -> Void) throws -> [String] {
        let scratch = try Scratch()
        let path = scratch.path.appending("c")
        let writer = try CheckpointWriter(path)
        try writer.write(["model_type": "llama"], to: Checkpoint.configurationName)
        try fill(writer)
        try writer.commit()
        return Checkpoint.verify(path).map(\.message)
    }

    private func write(_ name: String, _ writer: CheckpointWriter) throws {
        try writer.write([TensorSource(name: "a", shape: [2], values: [1, 2])], to: name)
    }

    @Test func partsUnderTheirIndexAreSound() throws {
        let found = try findings { writer in
            try write("model-00001-of-00001.safetensors", writer)
            try writer.write(["weight_map": ["a": "model-00001-of-00001.safetensors"]], to: IndexTests.index)
        }
        #expect(found == [])
    }

    @Test func aModelBesideAnIndexIsFound() throws {
        let found = try findings { writer in
            try write(Checkpoint.modelName, writer)
            try writer.write(["weight_map": ["a": "model-00001-of-00001.safetensors"]], to: IndexTests.index)
        }
        #expect(found.count == 1 && found[0].contains("lists 'model.safetensors' too"))
    }

    @Test func aPartThatIsNotListedIsFound() throws {
        let found = try findings { writer in
            try write("model-00001-of-00002.safetensors", writer)
            try writer.write(
                [
                    "weight_map": [
                        "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors",
                        "c": "model-00002-of-00002.safetensors",
                    ]
                ], to: IndexTests.index)
        }
        #expect(found.count == 1 && found[0].contains("file 'model-00002-of-00002.safetensors' is not listed"))
    }

    @Test func anIndexThatIsNoneIsFound() throws {
        let found = try findings { writer in
            try write("model-00001-of-00001.safetensors", writer)
            try writer.write(["weight_map": 1], to: IndexTests.index)
        }
        #expect(found.count == 1 && found[0].contains("expected an object 'weight_map'"))
    }
}
