// The model's shape, read from a Hugging Face config.json. What this program cannot honour is refused by name: a key
// that is ignored in silence is a model that is silently another one.

public import Bytes

/// A decoder-only transformer: Llama, GPT-2, Qwen2 or Qwen3.
public struct ModelConfiguration: Sendable, Equatable {
    public let family: ModelFamily
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
    public let normalization: Normalization
    public let normEpsilon: Double
    public let positions: PositionEncoding
    /// How rotary frequencies are changed for more positions; nil: not at all.
    public let ropeScaling: RotaryScaling?
    /// The longest sequence the model is meant for; rows of the table of learned positions.
    public let maximumPositions: Int
    public let feedForward: FeedForward
    /// Whether queries, keys and values have biases; whether the projection of attention's output has; whether the
    /// feed-forward block has.
    public let biasesQueryKeyValue, biasesOutput, biasesFeedForward: Bool
    /// Whether each head of queries and keys is normalized before it is rotated.
    public let normalizesHeads: Bool
    /// Whether the head is the embedding.
    public let tiesEmbeddings: Bool
    /// Standard deviation of initial weights.
    public let initializerRange: Double

    /// Low-rank adapters beside matrices of the layers; nil: none.
    public internal(set) var adapters: LowRankAdapters?

    /// What the file asks for and training does without, for a note to the person: dropout.
    public let leftOut: [String]

    /// `bos_token_id`, `eos_token_id` and `pad_token_id` as they stood, to be written back.
    public private(set) var tokenIDs: JSONObject

    /// θ of the rotary angles, or nil.
    public var ropeTheta: Double? {
        if case .rotary(let theta) = positions { theta } else { nil }
    }

    /// Whether layers store matrices as (in, out), as GPT-2 does, and not as (out, in).
    public var isInputMajor: Bool { family == .gpt2 }

    /// - Parameter name: the file, for messages.
    /// - Throws: `Fault` (bad data) naming the field.
    public init(json: JSON, name: String) throws(Fault) {
        let fields = ConfigurationFields(json: json, name: name)
        family = try fields.family()
        vocabularySize = try fields.size("vocab_size", limit: 1 << 24)
        tokenIDs = try fields.tokenIDs()
        adapters = try fields.adapters()
        initializerRange = try fields.number("initializer_range", default: 0.02, in: 0...100)
        if family == .gpt2 {
            leftOut = try fields.requireGPT2()
            hiddenSize = try fields.size("n_embd")
            intermediateSize = try fields.size("n_inner", default: 4 * hiddenSize, limit: 1 << 22)
            layers = try fields.size("n_layer", limit: 1 << 12)
            heads = try fields.size("n_head", limit: 1 << 12)
            keyValueHeads = heads
            headSize = try fields.headSize(hidden: "n_embd", hiddenSize, heads: "n_head", heads)
            normalization = .layer
            normEpsilon = try fields.number("layer_norm_epsilon", default: 1e-5, in: 1e-12...1)
            positions = .learned
            ropeScaling = nil
            maximumPositions = try fields.size("n_positions", default: 1024, limit: 1 << 24)
            feedForward = .gelu
            (biasesQueryKeyValue, biasesOutput, biasesFeedForward) = (true, true, true)
            normalizesHeads = false
            tiesEmbeddings = try fields.flag("tie_word_embeddings", default: true)
        } else {
            try fields.requireLlama(family)
            leftOut = []
            hiddenSize = try fields.size("hidden_size")
            intermediateSize = try fields.size("intermediate_size")
            layers = try fields.size("num_hidden_layers", limit: 1 << 12)
            heads = try fields.size("num_attention_heads", limit: 1 << 12)
            keyValueHeads = try fields.size("num_key_value_heads", default: heads, limit: 1 << 12)
            headSize = try fields.headSize(
                hidden: "hidden_size", hiddenSize, heads: "num_attention_heads", heads,
                isRequired: family == .qwen3)
            normalization = .rootMeanSquare
            normEpsilon = try fields.number("rms_norm_eps", default: 1e-6, in: 1e-12...1)
            maximumPositions = try fields.size("max_position_embeddings", default: 2048, limit: 1 << 24)
            positions = .rotary(theta: try fields.ropeTheta())
            ropeScaling = try fields.ropeScaling(original: maximumPositions)
            feedForward = .swiGLU
            let attentionBias = try fields.flag("attention_bias", default: family == .qwen2)
            biasesQueryKeyValue = attentionBias
            biasesOutput = attentionBias && family != .qwen2
            biasesFeedForward = try fields.flag("mlp_bias", default: false)
            normalizesHeads = family == .qwen3
            tiesEmbeddings = try fields.flag("tie_word_embeddings", default: false)
        }
        if heads % keyValueHeads != 0 {
            throw .badData(
                name, "'num_key_value_heads' is \(keyValueHeads), expected a divisor of num_attention_heads \(heads)")
        }
        try adapters?.check(self) { .badData(name, "lora: " + $0) }
        // The limits of the fields keep this sum far from overflow.
        guard ParameterLayout.count(self) < 1 << 40 else {
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
}
