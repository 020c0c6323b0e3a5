// The model's shape, read from a Hugging Face config.json. What this program cannot honour is refused by name: a key
// that is ignored in silence is a model that is silently another one.

public import Bytes

/// A Llama-family transformer (arXiv:2302.13971): RMSNorm, rotary positions, grouped-query attention, SwiGLU.
public struct ModelConfiguration: Sendable, Equatable {
    /// V: ids are below it.
    public let vocabularySize: Int
    /// C: width of the residual stream.
    public let hiddenSize: Int
    /// I: width inside the feed-forward block.
    public let intermediateSize: Int
    /// L.
    public let layers: Int
    /// H: query heads.
    public let heads: Int
    /// KV: key and value heads; divides H.
    public let keyValueHeads: Int
    /// d: width of a head.
    public let headSize: Int
    public let normEpsilon: Double
    /// θ of the rotary angles.
    public let ropeTheta: Double
    /// The longest sequence the model is meant for.
    public let maximumPositions: Int
    /// Whether the head is the embedding.
    public let tiesEmbeddings: Bool
    /// Standard deviation of initial weights.
    public let initializerRange: Double

    /// `bos_token_id`, `eos_token_id` and `pad_token_id` as they stood, to be written back.
    public private(set) var tokenIDs: JSONObject

    /// - Parameter name: the file, for messages.
    /// - Throws: `Fault` (bad data) naming the field.
    public init(json: JSON, name: String) throws(Fault) {
        let fields = ConfigurationFields(json: json, name: name)
        try fields.requireLlama()
        vocabularySize = try fields.size("vocab_size", limit: 1 << 24)
        hiddenSize = try fields.size("hidden_size")
        intermediateSize = try fields.size("intermediate_size")
        layers = try fields.size("num_hidden_layers", limit: 1 << 12)
        heads = try fields.size("num_attention_heads", limit: 1 << 12)
        keyValueHeads = try fields.size("num_key_value_heads", default: heads, limit: 1 << 12)
        headSize = try fields.headSize(hiddenSize: hiddenSize, heads: heads)
        normEpsilon = try fields.number("rms_norm_eps", default: 1e-6, in: 1e-12...1)
        maximumPositions = try fields.size("max_position_embeddings", default: 2048, limit: 1 << 24)
        tiesEmbeddings = try fields.flag("tie_word_embeddings", default: false)
        initializerRange = try fields.number("initializer_range", default: 0.02, in: 0...100)
        ropeTheta = try fields.ropeTheta()
        tokenIDs = try fields.tokenIDs()
        if heads % keyValueHeads != 0 {
            throw .badData(
                name, "'num_key_value_heads' is \(keyValueHeads), expected a divisor of num_attention_heads \(heads)")
        }
        guard let count = ParameterLayout.checkedCount(self), count < 1 << 40 else {
            throw .badData(name, "the model has more parameters than can be addressed")
        }
    }

    public init(parsing bytes: [UInt8], name: String) throws(Fault) {
        try self.init(json: try JSON(parsing: bytes, name: name), name: name)
    }

    /// This model, for a tokenizer whose documents begin and end with `id`: the ids that the file left open become that
    /// one, so that `generate` in other programs begins and stops where training did.
    public func naming(endOfDocument id: Int?) -> ModelConfiguration {
        var result = self
        guard let id else { return result }
        for key in ["bos_token_id", "eos_token_id"] where tokenIDs[key]?.isNull != false {
            result.tokenIDs[key] = .integer(id)
        }
        return result
    }

    /// A config.json that transformers loads as LlamaForCausalLM. What has an older and a current spelling there is
    /// written in both: the rotary base and the type of numbers. Token ids that are not known are written as null,
    /// because transformers would take 1 and 2 for absent ones.
    public var json: JSON {
        var object: JSONObject = [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,
            "attention_dropout": 0.0,
        ]
        for key in ConfigurationFields.tokenKeys { object[key] = tokenIDs[key] ?? .null }
        let rest: JSONObject = [
            "dtype": "float32", "head_dim": .integer(headSize), "hidden_act": "silu",
            "hidden_size": .integer(hiddenSize), "initializer_range": .number(initializerRange),
            "intermediate_size": .integer(intermediateSize), "max_position_embeddings": .integer(maximumPositions),
            "mlp_bias": false, "num_attention_heads": .integer(heads), "num_hidden_layers": .integer(layers),
            "num_key_value_heads": .integer(keyValueHeads), "rms_norm_eps": .number(normEpsilon),
            "rope_parameters": ["rope_theta": .number(ropeTheta), "rope_type": "default"],
            "rope_scaling": .null, "rope_theta": .number(ropeTheta), "tie_word_embeddings": .bool(tiesEmbeddings),
            "torch_dtype": "float32", "use_cache": true, "vocab_size": .integer(vocabularySize),
        ]
        for (key, value) in rest.members { object[key] = value }
        return .object(object)
    }

    /// Floating-point operations that training on one token costs at `length` tokens a row: 6 a matrix parameter and
    /// 12 · L · T · H · d for attention (Chowdhery et al. 2022, appendix B; the causal half is not taken off).
    public func flopsPerToken(length: Int) -> Double {
        let width = heads * headSize
        let attention = 2 * width * hiddenSize + 2 * keyValueHeads * headSize * hiddenSize
        let matrices = layers * (attention + 3 * hiddenSize * intermediateSize) + vocabularySize * hiddenSize
        return 6 * Double(matrices) + 12 * Double(layers) * Double(length) * Double(width)
    }
}
