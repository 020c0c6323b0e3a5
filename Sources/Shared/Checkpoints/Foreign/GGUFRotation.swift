// How rotary frequencies are changed for more positions, as GGUF says it (docs/formats/foreign-checkpoints.md): keys for a
// linear scaling and for YaRN, a tensor of factors for Llama 3's. Whatever is not understood is refused: a scaling that gets
// lost is another model in silence.

internal import Bytes

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A scaling of rotary frequencies, both ways.
enum GGUFRotation: Equatable {
    case plain
    case linear(factor: Double)
    /// `attention`: what rotated vectors are multiplied with; nil: 0.1 ln(factor) + 1.
    case yarn(factor: Double, original: Int, betaFast: Double, betaSlow: Double, attention: Double?)
    case llama3(Llama3Rotation)

    /// The tensor of Llama 3's factors.
    static let tensorName = "rope_freqs.weight"
    private static let headLimit = 1 << 16
    private static let betaFast = 32.0
    private static let betaSlow = 1.0

    /// YaRN's own length of rotated vectors, which GGUF's `attn_factor` multiplies and Hugging Face's `attention_factor`
    /// replaces.
    private static func magnitude(_ factor: Double) -> Double { factor <= 1 ? 1 : 0.1 * log(factor) + 1 }

    // MARK: to GGUF

    /// Of a config.json.
    /// - Throws: `Fault` (bad data) for what GGUF cannot say.
    init(_ configuration: JSON, _ dimensions: ModelDimensions, name: String) throws(Fault) {
        self = .plain
        for key in ["rope_scaling", "rope_parameters"] {
            guard let scaling = configuration[key], !scaling.isNull else { continue }
            let kind = (scaling["rope_type"] ?? scaling["type"])?.stringValue ?? "default"
            if kind == "default" { continue }
            func number(_ field: String, default fallback: Double?) throws(Fault) -> Double {
                guard let value = scaling[field], !value.isNull else {
                    guard let fallback else { throw .badData(name, "'\(key).\(field)' is missing") }
                    return fallback
                }
                guard let number = value.doubleValue, number > 0, number.isFinite else {
                    throw .badData(
                        name, "'\(key).\(field)' is \(printable(value.compact)), expected a number above 0")
                }
                return number
            }
            let length = try number("original_max_position_embeddings", default: Double(dimensions.positions))
            guard let original = Int(exactly: length), original <= 1 << 30 else {
                throw .badData(name, "'\(key).original_max_position_embeddings' is \(length), expected a length")
            }
            for field in ["mscale", "mscale_all_dim"] where scaling[field].map({ !$0.isNull }) == true {
                throw .badData(name, "'\(key).\(field)' is not written to GGUF")
            }
            if scaling["truncate"]?.boolValue == false {
                throw .badData(name, "'\(key).truncate' is false, which is not written to GGUF")
            }
            switch kind {
            case "linear": self = .linear(factor: try number("factor", default: nil))
            case "yarn":
                self = .yarn(
                    factor: try number("factor", default: nil), original: original,
                    betaFast: try number("beta_fast", default: GGUFRotation.betaFast),
                    betaSlow: try number("beta_slow", default: GGUFRotation.betaSlow),
                    attention: scaling["attention_factor"].map { $0.isNull } ?? true
                        ? nil : try number("attention_factor", default: nil))
            case "llama3" where dimensions.kind == .llama && dimensions.headSize <= GGUFRotation.headLimit:
                let rotation = Llama3Rotation(
                    factor: try number("factor", default: nil), low: try number("low_freq_factor", default: 1),
                    high: try number("high_freq_factor", default: 4), original: original)
                guard rotation.high > rotation.low else {
                    throw .badData(name, "'\(key).high_freq_factor' is not more than 'low_freq_factor'")
                }
                self = .llama3(rotation)
            default:
                let whose = kind == "llama3" ? " for '\(dimensions.kind.rawValue)'" : ""
                throw .badData(name, "'\(key)' asks for \(quoted(kind)), which is not written to GGUF\(whose)")
            }
            return
        }
    }

    /// The metadata of architecture `a`.
    func pairs(_ a: String) -> [(String, GGUFValue)] {
        func key(_ name: String, _ value: GGUFValue) -> (String, GGUFValue) { ("\(a).rope.scaling.\(name)", value) }
        switch self {
        case .plain, .llama3: return []
        case .linear(let factor): return [key("type", .string("linear")), key("factor", .f32(Float(factor)))]
        case .yarn(let factor, let original, let betaFast, let betaSlow, let attention):
            var pairs = [
                key("type", .string("yarn")), key("factor", .f32(Float(factor))),
                key("original_context_length", .u32(UInt32(original))),
            ]
            if let attention, Float(attention / GGUFRotation.magnitude(factor)) != 1 {
                pairs.append(key("attn_factor", .f32(Float(attention / GGUFRotation.magnitude(factor)))))
            }
            if betaFast != GGUFRotation.betaFast { pairs.append(key("yarn_beta_fast", .f32(Float(betaFast)))) }
            if betaSlow != GGUFRotation.betaSlow { pairs.append(key("yarn_beta_slow", .f32(Float(betaSlow)))) }
            return pairs
        }
    }

    /// `rope_freqs.weight`, where there is one.
    func tensor(_ dimensions: ModelDimensions) -> ModelTensor? {
        guard case .llama3(let rotation) = self else { return nil }
        let factors = rotation.factors(headSize: dimensions.headSize, theta: dimensions.theta).map { Float($0) }
        let storage = ValueStorage(subject: "tensor '\(GGUFRotation.tensorName)'", values: factors)
        return ModelTensor(GGUFRotation.tensorName, [factors.count], storage)
    }

    // MARK: from GGUF

    /// Of a file's metadata and tensors.
    /// - Throws: `Fault` (bad data) for what a config.json of these families cannot say.
    init(_ file: GGUFFile, _ architecture: String, positions: Int, headSize: Int, theta: Double) throws(Fault) {
        func name(_ key: String) -> String { "\(architecture).rope.\(key)" }
        func number(_ key: String, default fallback: Double) throws(Fault) -> Double {
            guard let value = file.pairs[name(key)] else { return fallback }
            guard let number = value.number, number.isFinite else {
                throw .badData(file.file.name, "'\(name(key))' is no number")
            }
            return number
        }
        func require(_ key: String, _ neutral: [Double]) throws(Fault) {
            let value = try number(key, default: neutral[0])
            if !neutral.contains(value) {
                throw .badData(file.file.name, "'\(name(key))' is \(value), only \(neutral[0]) is read")
            }
        }
        // As llama.cpp takes them: a factor without a type is linear, `scale_linear` its old name, 0 none.
        var factor = try number("scaling.factor", default: try number("scale_linear", default: 1))
        if factor == 0 { factor = 1 }
        guard factor > 0 else { throw .badData(file.file.name, "'\(name("scaling.factor"))' is \(factor)") }
        let given = file.pairs[name("scaling.type")]
        guard let type = given.map(\.text) ?? "linear" else {
            throw .badData(file.file.name, "'\(name("scaling.type"))' is no string")
        }
        try require("scaling.alpha", [0])
        switch type {
        case "none", "linear":
            try require("scaling.attn_factor", [1])
            self = type == "none" || factor == 1 ? .plain : .linear(factor: factor)
        case "yarn":
            try require("scaling.yarn_log_multiplier", [0])
            try require("scaling.yarn_ext_factor", [1, -1])
            let original = Int(exactly: try number("scaling.original_context_length", default: 0))
            guard let original, (0...1 << 30).contains(original) else {
                throw .badData(file.file.name, "'\(name("scaling.original_context_length"))' is no length")
            }
            self = .yarn(
                factor: factor, original: original == 0 ? positions : original,
                betaFast: try number("scaling.yarn_beta_fast", default: GGUFRotation.betaFast),
                betaSlow: try number("scaling.yarn_beta_slow", default: GGUFRotation.betaSlow),
                attention: try GGUFRotation.attention(
                    factor, relative: try number("scaling.attn_factor", default: 1),
                    absolute: file.pairs[name("scaling.yarn_attn_factor")] == nil
                        ? nil : try number("scaling.yarn_attn_factor", default: 1),
                    name: file.file.name))
        default:
            throw .badData(
                file.file.name,
                "'\(name("scaling.type"))' is \(quoted(type)), only 'none', 'linear' and 'yarn' are read")
        }
        if let factors = try GGUFRotation.factors(file, headSize: headSize) {
            guard self == .plain else {
                throw .badData(
                    file.file.name,
                    "tensor '\(GGUFRotation.tensorName)' besides '\(name("scaling.type"))' \(quoted(type))")
            }
            if let one = factors.first, factors.allSatisfy({ $0 == one }), one > 0, one.isFinite {
                if one != 1 { self = .linear(factor: Double(one.description) ?? Double(one)) }
            } else if let rotation = Llama3Rotation(factors: factors, headSize: headSize, theta: theta) {
                self = .llama3(rotation)
            } else {
                throw .badData(
                    file.file.name,
                    "tensor '\(GGUFRotation.tensorName)': its factors are not those of a scaling 'llama3' with low_freq_factor 1 and high_freq_factor 4"
                )
            }
        }
    }

    /// Hugging Face's `attention_factor` from what multiplies YaRN's own, or from what llama.cpp's converter copied.
    private static func attention(
        _ factor: Double, relative: Double, absolute: Double?, name: String
    ) throws(Fault) -> Double? {
        if let absolute {
            guard absolute > 0, relative == 1 || abs(relative * magnitude(factor) - absolute) <= 1e-6 * absolute else {
                throw .badData(
                    name, "'rope.scaling.attn_factor' and 'rope.scaling.yarn_attn_factor' contradict each other")
            }
            return absolute
        }
        if relative == 1 { return nil }
        guard relative > 0 else { throw .badData(name, "'rope.scaling.attn_factor' is \(relative)") }
        // Of the neighbours that are written as the same float32, the shortest decimal.
        let nearest = Float(relative * magnitude(factor))
        let candidates = [nearest, nearest.nextDown, nearest.nextUp].compactMap { Double($0.description) }
        return candidates.filter { Float($0 / magnitude(factor)) == Float(relative) }
            .min { "\($0)".utf8.count < "\($1)".utf8.count } ?? Double(nearest)
    }

    private static func factors(_ file: GGUFFile, headSize: Int) throws(Fault) -> [Float]? {
        guard let tensor = file.tensors.first(where: { $0.name == tensorName }) else { return nil }
        guard tensor.shape == [headSize / 2], headSize <= headLimit else {
            throw .badData(
                file.file.name, "tensor '\(tensorName)' has shape \(tensor.shape), expected [\(headSize / 2)]")
        }
        var reader = ModelTensor(tensorName, tensor.shape, tensor.storage).reader()
        var factors: [Float] = []
        while let bytes = try reader.next() { factors += tensor.storage.dtype.floats(bytes) ?? [] }
        return factors
    }

    /// What config.json holds, without the base; nil: nothing.
    var json: JSONObject? {
        switch self {
        case .plain: return nil
        case .linear(let factor): return ["rope_type": "linear", "factor": .number(factor)]
        case .yarn(let factor, let original, let betaFast, let betaSlow, let attention):
            var object: JSONObject = [
                "rope_type": "yarn", "factor": .number(factor), "original_max_position_embeddings": .integer(original),
                "beta_fast": .number(betaFast), "beta_slow": .number(betaSlow),
            ]
            if let attention { object["attention_factor"] = .number(attention) }
            return object
        case .llama3(let rotation):
            return [
                "rope_type": "llama3", "factor": .number(rotation.factor), "low_freq_factor": .number(rotation.low),
                "high_freq_factor": .number(rotation.high),
                "original_max_position_embeddings": .integer(rotation.original),
            ]
        }
    }
}
