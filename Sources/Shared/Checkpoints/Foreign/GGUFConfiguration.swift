// A model's configuration as GGUF's metadata, both ways (docs/formats/foreign-checkpoints.md).

internal import Bytes

extension GGUFFile {
    /// The metadata of a model, without its tokenizer, in the order it is written.
    static func pairs(
        _ dimensions: ModelDimensions, _ configuration: JSON, fileType: UInt32, name: String
    ) throws(Fault) -> [(String, GGUFValue)] {
        let a = dimensions.kind.rawValue
        var pairs: [(String, GGUFValue)] = [
            ("general.architecture", .string(a)), ("general.type", .string("model")),
            ("general.file_type", .u32(fileType)), ("general.quantization_version", .u32(2)),
            ("\(a).context_length", .u32(UInt32(dimensions.positions))),
            ("\(a).embedding_length", .u32(UInt32(dimensions.hidden))),
            ("\(a).block_count", .u32(UInt32(dimensions.layers))),
            ("\(a).feed_forward_length", .u32(UInt32(dimensions.inner))),
            ("\(a).vocab_size", .u32(UInt32(dimensions.vocabulary))),
            ("\(a).attention.head_count", .u32(UInt32(dimensions.heads))),
            ("\(a).attention.head_count_kv", .u32(UInt32(dimensions.keyValueHeads))),
        ]
        if dimensions.kind == .gpt2 {
            pairs.append(("\(a).attention.layer_norm_epsilon", .f32(Float(dimensions.epsilon))))
            return pairs
        }
        let width = GGUFValue.u32(UInt32(dimensions.headSize))
        pairs += [
            ("\(a).attention.layer_norm_rms_epsilon", .f32(Float(dimensions.epsilon))),
            ("\(a).rope.dimension_count", width), ("\(a).attention.key_length", width),
            ("\(a).attention.value_length", width), ("\(a).rope.freq_base", .f32(Float(dimensions.theta))),
        ]
        pairs += try GGUFRotation(configuration, dimensions, name: name).pairs(a)
        return pairs
    }

    /// Hugging Face's configuration of what the file holds.
    func configuration() throws(Fault) -> JSON {
        guard let text = pairs["general.architecture"]?.text else {
            throw .badData(file.name, "'general.architecture' is missing in its metadata")
        }
        guard let kind = ModelKind(rawValue: text) else {
            let known = ModelKind.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            throw .badData(file.name, "architecture \(quoted(text)) is not read, only \(known)")
        }
        func size(_ key: String, default fallback: Int? = nil) throws(Fault) -> JSON {
            guard let value = pairs["\(text).\(key)"] else {
                guard let fallback else { throw .badData(file.name, "'\(text).\(key)' is missing in its metadata") }
                return .integer(fallback)
            }
            // Some writers give a value a layer; all the same is one.
            let integers = value.integers ?? value.integer.map { [$0] } ?? []
            guard let integer = integers.first, integers.allSatisfy({ $0 == integer }), integer > 0 else {
                throw .badData(file.name, "'\(text).\(key)' is no size")
            }
            return .integer(integer)
        }
        func number(_ key: String, default fallback: Double? = nil) throws(Fault) -> JSON {
            guard let value = pairs["\(text).\(key)"] else {
                guard let fallback else { throw .badData(file.name, "'\(text).\(key)' is missing in its metadata") }
                return .number(fallback)
            }
            guard let number = value.number, number.isFinite else {
                throw .badData(file.name, "'\(text).\(key)' is no number")
            }
            return .number(number)
        }
        guard let embedding = tensors.first(where: { $0.name == "token_embd.weight" }), embedding.shape.count == 2
        else {
            throw .badData(file.name, "no matrix 'token_embd.weight'")
        }
        let names = Set(tensors.map(\.name))
        var object: JSONObject = ["architectures": [.string(kind.architecture)], "model_type": .string(text)]
        for (key, name) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
            object[key] = pairs["tokenizer.ggml.\(name)_token_id"]?.integer.map { .integer($0) } ?? .null
        }
        object["vocab_size"] = .integer(embedding.shape[0])
        object["tie_word_embeddings"] = .bool(!names.contains("output.weight"))
        let heads = try size("attention.head_count")
        let positions = try size("context_length").intValue ?? 1
        let hidden = try size("embedding_length")
        let width = max(1, (hidden.intValue ?? 1) / (heads.intValue ?? 1))
        if kind == .gpt2 {
            try requireNeutral(kind, positions: positions, headSize: width)
            object["activation_function"] = "gelu_new"
            for key in ["attn_pdrop", "embd_pdrop", "resid_pdrop"] { object[key] = 0.0 }
            object["layer_norm_epsilon"] = try number("attention.layer_norm_epsilon")
            object["n_embd"] = hidden
            object["n_head"] = heads
            object["n_inner"] = try size("feed_forward_length")
            object["n_layer"] = try size("block_count")
            object["n_positions"] = .integer(positions)
            return .object(object)
        }
        let headSize =
            try size("attention.key_length", default: try size("rope.dimension_count", default: width).intValue)
            .intValue ?? width
        try requireNeutral(kind, positions: positions, headSize: headSize)
        object["hidden_act"] = "silu"
        object["hidden_size"] = hidden
        object["intermediate_size"] = try size("feed_forward_length")
        object["num_hidden_layers"] = try size("block_count")
        object["num_attention_heads"] = heads
        object["num_key_value_heads"] = try size("attention.head_count_kv", default: heads.intValue)
        object["head_dim"] = .integer(headSize)
        object["max_position_embeddings"] = .integer(positions)
        object["rms_norm_eps"] = try number("attention.layer_norm_rms_epsilon")
        let theta = try number("rope.freq_base", default: 10_000)
        object["rope_theta"] = theta
        let rotation = try GGUFRotation(
            self, text, positions: positions, headSize: headSize, theta: theta.doubleValue ?? 10_000)
        object["rope_parameters"] = ["rope_theta": theta, "rope_type": "default"]
        if var parameters = rotation.json {
            object["rope_scaling"] = .object(parameters)
            parameters["rope_theta"] = theta
            object["rope_parameters"] = .object(parameters)
        }
        if kind != .qwen2 { object["attention_bias"] = .bool(names.contains("blk.0.attn_q.bias")) }
        if kind == .llama { object["mlp_bias"] = .bool(names.contains("blk.0.ffn_up.bias")) }
        if kind != .llama { object["use_sliding_window"] = false }
        return .object(object)
    }
}
