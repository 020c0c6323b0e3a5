// The fields of a config.json, taken out one at a time with their limits. A value of the wrong kind is never taken for
// an absent one, and a field that would change the computation is refused unless it says what is done anyway.

import Bytes

/// Typed access to a Hugging Face configuration.
struct ConfigurationFields {
    let json: JSON
    let name: String

    static let tokenKeys = ["bos_token_id", "eos_token_id", "pad_token_id"]

    /// From `model_type`, or from `architectures` where that is missing; they may not contradict each other.
    func family() throws(Fault) -> ModelFamily {
        let known = ModelFamily.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
        guard json.objectValue != nil else { throw .badData(name, "expected a JSON object") }
        var family: ModelFamily?
        if let value = present("model_type") {
            family = value.stringValue.flatMap(ModelFamily.init(rawValue:))
            if family == nil { throw refusal("model_type", value, "expected one of \(known)") }
        }
        if let value = present("architectures") {
            let named = ModelFamily.allCases.first { [.string($0.architecture)] == value }
            guard let named, named == family ?? named else {
                let expected = family.map { "[\"\($0.architecture)\"]" } ?? "the class of one of \(known)"
                throw refusal("architectures", value, "expected \(expected)")
            }
            family = named
        }
        guard let family else { throw .badData(name, "'model_type' is missing, this program trains \(known)") }
        return family
    }

    /// Refuses what is not plain Llama or Qwen.
    func requireLlama(_ family: ModelFamily) throws(Fault) {
        try require("hidden_act", among: ["silu", "swish"])
        if family == .qwen2, try !flag("attention_bias", default: true) {
            throw .badData(name, "'attention_bias' is false, this family always has biases")
        }
        if family != .llama, try flag("mlp_bias", default: false) {
            throw .badData(name, "'mlp_bias' is true, this family has no such biases")
        }
        for key in ["attention_dropout", "embd_pdrop", "resid_pdrop", "hidden_dropout"] {
            _ = try number(key, default: 0, in: 0...0)
        }
        for key in ["pretraining_tp", "partial_rotary_factor"] { _ = try number(key, default: 1, in: 1...1) }
        // Qwen's configurations name a window that they switch off.
        let usesWindow = try flag("use_sliding_window", default: family == .llama)
        for key in ["sliding_window", "quantization_config"] {
            if key == "sliding_window" && !usesWindow { continue }
            if let value = present(key) { throw refusal(key, value, "this program does not have it") }
        }
        if let value = present("layer_types") {
            guard let types = value.arrayValue, types.allSatisfy({ $0 == "full_attention" }) else {
                throw refusal("layer_types", value, "expected 'full_attention' in every layer")
            }
        }
    }

    /// Refuses what is not plain GPT-2.
    /// - Returns: the kinds of dropout that the file asks for.
    func requireGPT2() throws(Fault) -> [String] {
        try require("activation_function", among: ["gelu_new", "gelu_pytorch_tanh"])
        for (key, expected) in [
            ("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false),
            ("reorder_and_upcast_attn", false), ("add_cross_attention", false),
        ] {
            if try flag(key, default: expected) == expected { continue }
            throw .badData(name, "'\(key)' is \(!expected), expected \(expected)")
        }
        if let value = present("quantization_config") {
            throw refusal("quantization_config", value, "this program does not have it")
        }
        // GPT-2's files carry 0.1 for all three although most who train with them set 0; the function is the same.
        var dropouts: [String] = []
        for key in ["resid_pdrop", "embd_pdrop", "attn_pdrop"] {
            if try number(key, default: 0, in: 0...1) > 0 { dropouts.append(key) }
        }
        return dropouts
    }

    /// The base of the rotary angles, from either spelling; they may not contradict each other.
    func ropeTheta() throws(Fault) -> Double {
        let bounds = 1.0...1e12
        let older = try present("rope_theta") == nil ? nil : number("rope_theta", default: 1, in: bounds)
        var theta = older
        for key in ["rope_scaling", "rope_parameters"] {
            guard let value = present(key) else { continue }
            guard value.objectValue != nil else { throw refusal(key, value, "expected an object") }
            let inner = ConfigurationFields(json: value, name: name)
            _ = try inner.number("partial_rotary_factor", default: 1, in: 1...1)
            guard inner.present("rope_theta") != nil else { continue }
            let current = try inner.number("rope_theta", default: 1, in: bounds)
            if let theta, theta != current {
                throw .badData(name, "'rope_theta' is \(theta), but \(current) in '\(key)'")
            }
            theta = current
        }
        return theta ?? 10_000
    }

    /// How rotary frequencies are changed, from either spelling; they may not contradict each other. What depends on the
    /// length of a sequence is refused.
    /// - Parameter original: the length that a scaling which names none begins from.
    func ropeScaling(original: Int) throws(Fault) -> RotaryScaling? {
        var found: (key: String, scaling: RotaryScaling?)?
        for key in ["rope_scaling", "rope_parameters"] {
            guard let value = present(key) else { continue }
            let inner = ConfigurationFields(json: value, name: name)
            let scaling = try inner.scaling(inside: key, original: original)
            if let found, found.scaling != scaling {
                throw .badData(name, "'\(found.key)' and '\(key)' name different scalings")
            }
            found = (key, scaling)
        }
        return found?.scaling
    }

    private func scaling(inside key: String, original: Int) throws(Fault) -> RotaryScaling? {
        var type: String?
        for spelling in ["rope_type", "type"] {
            guard let value = present(spelling) else { continue }
            guard let text = value.stringValue, ["default", "linear", "yarn", "llama3"].contains(text) else {
                throw refusal(key + "." + spelling, value, "expected 'default', 'linear', 'yarn' or 'llama3'")
            }
            if let type, type != text { throw .badData(name, "'\(key)' has two types, '\(type)' and '\(text)'") }
            type = text
        }
        let positive = 1e-6...1e6
        func factor() throws(Fault) -> Double {
            guard present("factor") != nil else { throw .badData(name, "'\(key).factor' is missing") }
            return try number("factor", default: 1, in: positive)
        }
        let length = try size("original_max_position_embeddings", default: original, limit: 1 << 24)
        switch type {
        case "linear": return .linear(factor: try factor())
        case "yarn":
            for other in ["mscale", "mscale_all_dim"] {
                if let value = present(other) {
                    throw refusal(key + "." + other, value, "this program does not have it")
                }
            }
            if try !flag("truncate", default: true) {
                throw .badData(name, "'\(key).truncate' is false, this program does not have it")
            }
            return .yarn(
                factor: try factor(), original: length, betaFast: try number("beta_fast", default: 32, in: positive),
                betaSlow: try number("beta_slow", default: 1, in: positive),
                attentionFactor: try present("attention_factor") == nil
                    ? nil : number("attention_factor", default: 1, in: positive))
        case "llama3":
            let low = try number("low_freq_factor", default: 1, in: positive)
            let high = try number("high_freq_factor", default: 4, in: positive)
            guard high > low else {
                throw .badData(name, "'\(key).high_freq_factor' is \(high), expected more than low_freq_factor \(low)")
            }
            return .llama3(factor: try factor(), low: low, high: high, original: length)
        default: return nil
        }
    }

    /// Given, or the hidden size split among the heads; even, because rotation takes pairs.
    /// - Parameter isRequired: the family has a default that is not the quotient.
    func headSize(
        hidden hiddenKey: String, _ hiddenSize: Int, heads headsKey: String, _ heads: Int, isRequired: Bool = false
    ) throws(Fault) -> Int {
        let size: Int
        if present("head_dim") != nil || isRequired {
            size = try self.size("head_dim", limit: 256)
        } else {
            guard hiddenSize % heads == 0 else {
                throw .badData(
                    name, "'\(hiddenKey)' is \(hiddenSize), expected a multiple of \(headsKey) \(heads)")
            }
            size = hiddenSize / heads
        }
        guard size % 2 == 0, size <= 256 else {
            throw .badData(name, "a head is \(size) wide, expected an even number up to 256")
        }
        return size
    }

    /// Of our own checkpoints; nil: none.
    func adapters() throws(Fault) -> LowRankAdapters? {
        guard let value = present("lora") else { return nil }
        return try LowRankAdapters(json: value, name: name)
    }

    /// Integers, null, or a list of integers.
    func tokenIDs() throws(Fault) -> JSONObject {
        var result = JSONObject()
        for key in ConfigurationFields.tokenKeys {
            guard let value = json[key] else { continue }
            let ids = value.arrayValue ?? (value.isNull ? [] : [value])
            guard ids.allSatisfy({ $0.intValue != nil }) else { throw refusal(key, value, "expected an id") }
            result[key] = value
        }
        return result
    }

    func size(_ key: String, default fallback: Int? = nil, limit: Int = 1 << 20) throws(Fault) -> Int {
        guard let value = present(key) else {
            guard let fallback else { throw .badData(name, "'\(key)' is missing") }
            return fallback
        }
        guard let size = value.intValue, (1...limit).contains(size) else {
            throw refusal(key, value, "expected 1 to \(limit)")
        }
        return size
    }

    func number(_ key: String, default fallback: Double, in range: ClosedRange<Double>) throws(Fault) -> Double {
        guard let value = present(key) else { return fallback }
        guard let number = value.doubleValue, range.contains(number) else {
            let expected = range.lowerBound == range.upperBound ? "" : " to \(range.upperBound)"
            throw refusal(key, value, "expected \(range.lowerBound)\(expected)")
        }
        return number
    }

    func flag(_ key: String, default fallback: Bool) throws(Fault) -> Bool {
        guard let value = present(key) else { return fallback }
        guard let flag = value.boolValue else { throw refusal(key, value, "expected true or false") }
        return flag
    }

    private func present(_ key: String) -> JSON? { json[key].flatMap { $0.isNull ? nil : $0 } }

    private func require(_ key: String, among known: [String], inside parent: String? = nil) throws(Fault) {
        guard let value = present(key) else { return }
        guard let text = value.stringValue, known.contains(text) else {
            let path = parent.map { $0 + "." + key } ?? key
            throw refusal(path, value, "expected '\(known[0])'")
        }
    }

    private func refusal(_ key: String, _ value: JSON, _ expected: String) -> Fault {
        let text = value.stringValue.map(quoted) ?? printable(value.compact)
        return .badData(name, "'\(key)' is \(String(text.prefix(80))), \(expected)")
    }
}
