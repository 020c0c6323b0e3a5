// The smallest models of two families, as Hugging Face has them, for the tests of foreign formats.

import Bytes
import Checkpoints
import SystemPackage

/// A llama with two query heads, one key head, heads 4 wide; every value its own.
func writeLlama(to path: FilePath, tied: Bool = false, tokenizer: Bool = false) throws {
    let configuration: JSON = [
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 5, "hidden_size": 8,
        "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 4, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "max_position_embeddings": 16, "tie_word_embeddings": .bool(tied), "bos_token_id": 3, "eos_token_id": 4,
    ]
    let layer = "model.layers.0."
    var shapes: [(String, [Int])] = [
        ("model.embed_tokens.weight", [5, 8]), (layer + "input_layernorm.weight", [8]),
        (layer + "self_attn.q_proj.weight", [8, 8]), (layer + "self_attn.k_proj.weight", [4, 8]),
        (layer + "self_attn.v_proj.weight", [4, 8]), (layer + "self_attn.o_proj.weight", [8, 8]),
        (layer + "post_attention_layernorm.weight", [8]), (layer + "mlp.gate_proj.weight", [32, 8]),
        (layer + "mlp.up_proj.weight", [32, 8]), (layer + "mlp.down_proj.weight", [8, 32]),
        ("model.norm.weight", [8]),
    ]
    if !tied { shapes.append(("lm_head.weight", [5, 8])) }
    try write(shapes, configuration, to: path, tokenizer: tokenizer)
}

/// A GPT-2 of two layers, its names without `transformer.`, with a mask as old files have it.
func writeGPT2(to path: FilePath) throws {
    let configuration: JSON = [
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 5, "n_embd": 4, "n_layer": 2,
        "n_head": 2, "n_positions": 3, "layer_norm_epsilon": 1e-05, "activation_function": "gelu_new",
    ]
    var shapes: [(String, [Int])] = [
        ("wte.weight", [5, 4]), ("wpe.weight", [3, 4]), ("ln_f.weight", [4]), ("ln_f.bias", [4]),
    ]
    for layer in 0..<2 {
        for (name, shape) in [
            ("ln_1.weight", [4]), ("ln_1.bias", [4]), ("attn.c_attn.weight", [4, 12]), ("attn.c_attn.bias", [12]),
            ("attn.c_proj.weight", [4, 4]), ("attn.c_proj.bias", [4]), ("ln_2.weight", [4]), ("ln_2.bias", [4]),
            ("mlp.c_fc.weight", [4, 16]), ("mlp.c_fc.bias", [16]), ("mlp.c_proj.weight", [16, 4]),
            ("mlp.c_proj.bias", [4]), ("attn.bias", [1, 1, 3, 3]),
        ] { shapes.append(("h.\(layer).\(name)", shape)) }
    }
    try write(shapes, configuration, to: path)
}

private func write(
    _ shapes: [(String, [Int])], _ configuration: JSON, to path: FilePath, tokenizer: Bool = false
) throws {
    let writer = try CheckpointWriter(path)
    var next: Float = 0
    let sources = shapes.map { name, shape in
        let values = (0..<shape.reduce(1, *)).map { _ in
            next += 1
            return next / 64
        }
        return TensorSource(name: name, shape: shape, values: values)
    }
    try writer.write(configuration, to: Checkpoint.configurationName)
    try writer.write(sources, to: Checkpoint.modelName)
    if tokenizer {
        let json: JSON = [
            "version": "1.0",
            "added_tokens": [
                ["id": 3, "content": "<s>", "special": true], ["id": 4, "content": "<x>", "special": false],
            ],
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false],
            "model": ["type": "BPE", "vocab": ["a": 0, "b": 1, "ab": 2], "merges": [["a", "b"]]],
        ]
        try writer.write(json, to: "tokenizer.json")
    }
    try writer.commit()
}

extension ForeignModel {
    /// Every tensor's bytes as they are handed out, by name.
    func contents() throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for tensor in tensors {
            var bytes: [UInt8] = []
            var reader = tensor.reader(chunk: 64)
            while let piece = try reader.next() { bytes += piece }
            result[tensor.name] = bytes
        }
        return result
    }

    /// A tensor's values.
    func values(_ name: String) throws -> [Float] {
        guard let tensor = self[name], let bytes = try contents()[name] else { return [] }
        return tensor.dtype.floats(bytes) ?? []
    }
}
