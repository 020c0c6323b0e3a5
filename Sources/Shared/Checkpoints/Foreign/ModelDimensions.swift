// The few numbers of a configuration that file formats speak of. What a model may be is checked by Models; here is only
// what GGUF and llm.c need, checked for being there and in range, because a configuration is input like any other.

internal import Bytes

/// The families that GGUF and llm.c hold, by Hugging Face's names, which are GGUF's too.
enum ModelKind: String, CaseIterable {
    case gpt2, llama, qwen2, qwen3

    var architecture: String {
        switch self {
        case .gpt2: "GPT2LMHeadModel"
        case .llama: "LlamaForCausalLM"
        case .qwen2: "Qwen2ForCausalLM"
        case .qwen3: "Qwen3ForCausalLM"
        }
    }
}

/// A model's sizes.
struct ModelDimensions {
    let kind: ModelKind
    let vocabulary, hidden, inner, layers, heads, keyValueHeads, headSize, positions: Int
    let epsilon: Double
    /// θ of the rotary angles; 10,000 where there is none.
    let theta: Double
    let isTied: Bool

    /// - Parameter name: of the model, for messages.
    init(_ json: JSON, name: String) throws(Fault) {
        guard let kind = json["model_type"]?.stringValue.flatMap(ModelKind.init) else {
            throw .badData(
                name,
                "'model_type' is \(printable(json["model_type"]?.compact ?? "missing")), expected one of "
                    + ModelKind.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", "))
        }
        func present(_ key: String) -> JSON? { json[key].flatMap { $0.isNull ? nil : $0 } }
        func size(_ key: String, default fallback: Int? = nil) throws(Fault) -> Int {
            guard let value = present(key) else {
                guard let fallback else { throw .badData(name, "'\(key)' is missing in its configuration") }
                return fallback
            }
            guard let size = value.intValue, (1...1 << 30).contains(size) else {
                throw .badData(name, "'\(key)' is \(printable(value.compact)), expected 1 to \(1 << 30)")
            }
            return size
        }
        func number(_ keys: [JSON?], default fallback: Double) throws(Fault) -> Double {
            for case let value? in keys where !value.isNull {
                guard let number = value.doubleValue, number > 0 else {
                    throw .badData(name, "found \(printable(value.compact)), expected a number above 0")
                }
                return number
            }
            return fallback
        }
        self.kind = kind
        vocabulary = try size("vocab_size")
        if kind == .gpt2 {
            hidden = try size("n_embd")
            layers = try size("n_layer")
            heads = try size("n_head")
            inner = try size("n_inner", default: 4 * hidden)
            positions = try size("n_positions", default: 1024)
            keyValueHeads = heads
            headSize = max(1, hidden / heads)
            epsilon = try number([json["layer_norm_epsilon"]], default: 1e-5)
            theta = 10_000
        } else {
            hidden = try size("hidden_size")
            layers = try size("num_hidden_layers")
            heads = try size("num_attention_heads")
            inner = try size("intermediate_size")
            positions = try size("max_position_embeddings", default: 2048)
            keyValueHeads = try size("num_key_value_heads", default: heads)
            headSize = try size("head_dim", default: max(1, hidden / heads))
            epsilon = try number([json["rms_norm_eps"]], default: 1e-6)
            theta = try number([json["rope_theta"], json["rope_parameters"]?["rope_theta"]], default: 10_000)
        }
        isTied = present("tie_word_embeddings")?.boolValue ?? (kind == .gpt2)
    }
}
