// A model that calls itself tied and has a head of its own: what begins from it must not pass over the head.

import Bytes
import Checkpoints
import Kernels
import Models
import SystemPackage
import TestSupport
import Testing
import Training

@Suite struct TiedHeadTests {
    private static let model: JSON = [
        "model_type": "llama", "vocab_size": 19, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 1,
        "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 4, "tie_word_embeddings": true,
    ]

    @Test(arguments: [Float(0), 0.5])
    func aCopyIsPassedOverAndAnotherHeadRefused(_ difference: Float) throws {
        try withTemporaryDirectory { directory in
            let configuration = try ModelConfiguration(json: Self.model, name: "config.json")
            let writer = try CheckpointWriter(FilePath(directory + "/m"))
            try writer.write(Self.model, to: Checkpoint.configurationName)
            func source(_ name: String, _ shape: [Int], _ added: Float = 0) -> TensorSource {
                TensorSource(
                    name: name, shape: shape, values: (0..<shape.reduce(1, *)).map { Float($0) / 64 + added })
            }
            let tensors = configuration.tensors.map { source($0.name, $0.shape) }
            try writer.write(tensors + [source("lm_head.weight", [19, 12], difference)], to: Checkpoint.modelName)
            try writer.commit()
            let checkpoint = try Checkpoint(FilePath(directory + "/m"))
            let model = Transformer(
                configuration: configuration, engine: try Engine(threads: 1), rows: 1, length: 4, training: false)
            if difference == 0 {
                try model.load(checkpoint)
            } else {
                let fault = #expect(throws: Fault.self) { try model.load(checkpoint) }
                #expect(
                    fault?.message.contains(
                        "tensor 'lm_head.weight' differs from 'model.embed_tokens.weight', but config.json says")
                        == true)
            }
        }
    }
}
