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

    /// - Parameter name: the file, for messages.
    /// - Throws: `Fault` (bad data) naming the field.
    public init(json: JSON, name: String) throws(Fault) {
        let fields = ConfigurationFields(json: json, name: name)
        try fields.requireLlama()
        vocabularySize = try fields.size("vocab_size")
        hiddenSize = try fields.size("hidden_size")
        intermediateSize = try fields.size("intermediate_size")
        layers = try fields.size("num_hidden_layers", limit: 1 << 12)
        heads = try fields.size("num_attention_heads", limit: 1 << 12)
        keyValueHeads = try fields.size("num_key_value_heads", default: heads, limit: 1 << 12)
        headSize = try fields.size("head_dim", default: hiddenSize / heads, limit: 256)
        normEpsilon = try fields.number("rms_norm_eps", default: 1e-6) { $0 > 0 && $0 < 1 }
        maximumPositions = try fields.size("max_position_embeddings", default: 2048, limit: 1 << 24)
        tiesEmbeddings = try fields.flag("tie_word_embeddings", default: false)
        initializerRange = try fields.number("initializer_range", default: 0.02) { $0 >= 0 && $0 < 100 }
        ropeTheta = try fields.ropeTheta()
        if heads % keyValueHeads != 0 {
            throw .badData(
                name, "'num_key_value_heads' is \(keyValueHeads), expected a divisor of num_attention_heads \(heads)")
        }
        if json["head_dim"]?.intValue == nil && hiddenSize % heads != 0 {
            throw .badData(name, "'hidden_size' is \(hiddenSize), expected a multiple of num_attention_heads \(heads)")
        }
        if headSize % 2 != 0 { throw .badData(name, "'head_dim' is \(headSize), expected an even number") }
        guard let count = ParameterLayout.checkedCount(self), count < 1 << 40 else {
            throw .badData(name, "the model has more parameters than can be addressed")
        }
    }

    public init(parsing bytes: [UInt8], name: String) throws(Fault) {
        try self.init(json: try JSON(parsing: bytes, name: name), name: name)
    }

    /// A config.json that transformers loads as LlamaForCausalLM. Both spellings of the rotary base are written: the
    /// older `rope_theta` and the current `rope_parameters`.
    public var json: JSON {
        [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false, "mlp_bias": false,
            "head_dim": .integer(headSize), "hidden_act": "silu", "hidden_size": .integer(hiddenSize),
            "initializer_range": .number(initializerRange), "intermediate_size": .integer(intermediateSize),
            "max_position_embeddings": .integer(maximumPositions), "num_attention_heads": .integer(heads),
            "num_hidden_layers": .integer(layers), "num_key_value_heads": .integer(keyValueHeads),
            "rms_norm_eps": .number(normEpsilon),
            "rope_parameters": ["rope_theta": .number(ropeTheta), "rope_type": "default"],
            "rope_theta": .number(ropeTheta), "tie_word_embeddings": .bool(tiesEmbeddings), "torch_dtype": "float32",
            "use_cache": true, "vocab_size": .integer(vocabularySize),
        ]
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

private struct ConfigurationFields {
    let json: JSON
    let name: String

    func requireLlama() throws(Fault) {
        if json.objectValue == nil { throw .badData(name, "expected a JSON object") }
        let type = json["model_type"]?.stringValue ?? "llama"
        if type != "llama" {
            throw .badData(name, "'model_type' is \(quoted(type)), this program trains 'llama'")
        }
        for architecture in json["architectures"]?.arrayValue ?? [] where architecture != "LlamaForCausalLM" {
            throw .badData(
                name,
                "'architectures' has \(quoted(architecture.stringValue ?? architecture.compact)), expected 'LlamaForCausalLM'")
        }
        let activation = json["hidden_act"]?.stringValue ?? "silu"
        if activation != "silu" && activation != "swish" {
            throw .badData(name, "'hidden_act' is \(quoted(activation)), expected 'silu'")
        }
        for key in ["attention_bias", "mlp_bias"] where try flag(key, default: false) {
            throw .badData(name, "'\(key)' is true, this program has no biases in this family")
        }
        for key in ["attention_dropout", "embd_pdrop", "resid_pdrop"] {
            if try number(key, default: 0, { _ in true }) != 0 {
                throw .badData(name, "'\(key)' is not 0, this program has no dropout")
            }
        }
        if let tensorParallel = json["pretraining_tp"], tensorParallel.intValue != 1, !tensorParallel.isNull {
            throw .badData(name, "'pretraining_tp' is \(tensorParallel.compact), expected 1")
        }
    }

    /// The base, from either spelling; kinds of scaling are refused.
    func ropeTheta() throws(Fault) -> Double {
        if let scaling = json["rope_scaling"], !scaling.isNull {
            guard (scaling["rope_type"] ?? scaling["type"])?.stringValue == "default" else {
                throw .badData(name, "'rope_scaling' is \(printable(scaling.compact)), this program knows no scaling")
            }
        }
        guard let parameters = json["rope_parameters"], !parameters.isNull else {
            return try number("rope_theta", default: 10_000) { $0 > 0 }
        }
        let type = parameters["rope_type"]?.stringValue ?? "default"
        if type != "default" {
            throw .badData(name, "'rope_parameters.rope_type' is \(quoted(type)), expected 'default'")
        }
        let inner = ConfigurationFields(json: parameters, name: name)
        return try inner.number("rope_theta", default: try number("rope_theta", default: 10_000) { $0 > 0 }) { $0 > 0 }
    }

    func present(_ key: String) -> JSON? { json[key].flatMap { $0.isNull ? nil : $0 } }

    func size(_ key: String, default fallback: Int? = nil, limit: Int = 1 << 28) throws(Fault) -> Int {
        guard let value = present(key) else {
            guard let fallback else { throw .badData(name, "'\(key)' is missing") }
            return fallback
        }
        guard let size = value.intValue, (1...limit).contains(size) else {
            throw .badData(name, "'\(key)' is \(printable(value.compact)), expected 1 to \(limit)")
        }
        return size
    }

    func number(_ key: String, default fallback: Double, _ isValid: (Double) -> Bool) throws(Fault) -> Double {
        guard let value = present(key) else { return fallback }
        guard let number = value.doubleValue, isValid(number) else {
            throw .badData(name, "'\(key)' is \(printable(value.compact)), which is out of range")
        }
        return number
    }

    func flag(_ key: String, default fallback: Bool) throws(Fault) -> Bool {
        guard let value = present(key) else { return fallback }
        guard let flag = value.boolValue else {
            throw .badData(name, "'\(key)' is \(printable(value.compact)), expected true or false")
        }
        return flag
    }
}
