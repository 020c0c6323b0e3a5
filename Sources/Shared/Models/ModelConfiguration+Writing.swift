// The config.json that transformers loads. What has an older and a current spelling there is written in both: the rotary
// base and the type of numbers. Token ids that are not known are written as null, because transformers would take its
// own defaults for absent ones.

public import Bytes

extension ModelConfiguration {
    public var json: JSON {
        var object: JSONObject = [
            "architectures": [.string(family.architecture)], "model_type": .string(family.rawValue),
        ]
        for key in ConfigurationFields.tokenKeys { object[key] = tokenIDs[key] ?? .null }
        object["dtype"] = "float32"
        object["initializer_range"] = .number(initializerRange)
        object["tie_word_embeddings"] = .bool(tiesEmbeddings)
        object["torch_dtype"] = "float32"
        object["use_cache"] = true
        object["vocab_size"] = .integer(vocabularySize)
        for (key, value) in (family == .gpt2 ? gpt2Fields : llamaFields).members { object[key] = value }
        if let adapters { object["lora"] = adapters.json }
        return .object(object)
    }

    private var gpt2Fields: JSONObject {
        [
            "activation_function": "gelu_new", "attn_pdrop": 0.0, "embd_pdrop": 0.0,
            "layer_norm_epsilon": .number(normEpsilon), "n_embd": .integer(hiddenSize), "n_head": .integer(heads),
            "n_inner": .integer(intermediateSize), "n_layer": .integer(layers),
            "n_positions": .integer(maximumPositions), "resid_pdrop": 0.0, "scale_attn_weights": true,
        ]
    }

    private var llamaFields: JSONObject {
        let theta = JSON.number(ropeTheta ?? 0)
        var object: JSONObject = [
            "attention_dropout": 0.0, "head_dim": .integer(headSize),
            "hidden_act": "silu", "hidden_size": .integer(hiddenSize), "intermediate_size": .integer(intermediateSize),
            "max_position_embeddings": .integer(maximumPositions), "num_attention_heads": .integer(heads),
            "num_hidden_layers": .integer(layers),
            "num_key_value_heads": .integer(keyValueHeads), "rms_norm_eps": .number(normEpsilon),
            "rope_parameters": ["rope_theta": theta, "rope_type": "default"], "rope_scaling": .null,
            "rope_theta": theta,
        ]
        if let ropeScaling {
            var parameters = ropeScaling.json
            object["rope_scaling"] = .object(parameters)
            parameters["rope_theta"] = theta
            object["rope_parameters"] = .object(parameters)
        }
        // Qwen2's biases are fixed by the family, and neither Qwen has biases in its feed-forward block.
        if family != .qwen2 { object["attention_bias"] = .bool(biasesQueryKeyValue) }
        if family == .llama {
            object["mlp_bias"] = .bool(biasesFeedForward)
        } else {
            object["sliding_window"] = .null
            object["use_sliding_window"] = false
        }
        return object
    }
}
