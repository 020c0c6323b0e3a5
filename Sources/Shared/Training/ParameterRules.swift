// Exceptions by name to how parameters are treated: who decays, and who learns at another rate. Part of the recipe, so that a
// resumed run keeps them.

internal import Bytes
internal import Models

/// Patterns over parameters' names (Hugging Face's), `*` for any text and `?` for any one character.
public struct ParameterRules: Sendable, Equatable {
    /// A factor on the learning rate.
    public struct Rate: Sendable, Equatable {
        public var pattern: String
        public var factor: Double

        public init(pattern: String, factor: Double) {
            self.pattern = pattern
            self.factor = factor
        }
    }

    /// Parameters that decay although they are vectors, and those that do not although they are matrices. A name that
    /// both match does not decay.
    public var decay: [String] = []
    public var noDecay: [String] = []
    /// The last that matches a name counts.
    public var rates: [Rate] = []

    public init() {}

    func decays(_ tensor: ParameterTensor) -> Bool {
        if noDecay.contains(where: { Glob($0).matches(tensor.name) }) { return false }
        return tensor.decays || decay.contains { Glob($0).matches(tensor.name) }
    }

    func rate(_ tensor: ParameterTensor) -> Double {
        rates.last { Glob($0.pattern).matches(tensor.name) }?.factor ?? 1
    }

    /// Refuses a pattern that fits no parameter: it is a slip.
    static func require(_ patterns: [String], in tensors: [ParameterTensor], _ option: String) throws(Fault) {
        for pattern in patterns where !tensors.contains(where: { Glob(pattern).matches($0.name) }) {
            throw Fault(
                .usage, "\(option): no parameter of the model has a name like \(quoted(pattern))",
                hint: "* stands for any text; the names are \(names(of: tensors))")
        }
    }

    /// The names of a model as patterns, layers and the like as one: a run that is about to begin has no checkpoint whose
    /// names could be listed.
    private static func names(of tensors: [ParameterTensor]) -> String {
        var names: [String] = []
        for tensor in tensors {
            let parts = tensor.name.split(separator: ".", omittingEmptySubsequences: false)
            let name = parts.map { !$0.isEmpty && $0.allSatisfy(\.isASCIIDigit) ? "*" : $0 }.joined(separator: ".")
            if !names.contains(name) { names.append(name) }
        }
        let rest = names.count > namesShown ? " and \(names.count - namesShown) more" : ""
        return names.prefix(namesShown).map(quoted).joined(separator: ", ") + rest
    }

    private static let namesShown = 32

    func check(_ tensors: [ParameterTensor]) throws(Fault) {
        try ParameterRules.require(decay, in: tensors, "--decay")
        try ParameterRules.require(noDecay, in: tensors, "--no-decay")
        try ParameterRules.require(rates.map(\.pattern), in: tensors, "--rate")
    }

    /// Adds what there is to a recipe's JSON.
    func write(to object: inout JSONObject) {
        if !decay.isEmpty { object["decay"] = .array(decay.map(JSON.string)) }
        if !noDecay.isEmpty { object["no_decay"] = .array(noDecay.map(JSON.string)) }
        if !rates.isEmpty {
            object["rates"] = .array(
                rates.map { ["pattern": .string($0.pattern), "factor": .number($0.factor)] })
        }
    }

    /// - Throws: `Fault` (bad data) naming the wrong field.
    init(_ json: JSON, _ fields: Fields) throws(Fault) {
        decay = try fields.strings("decay")
        noDecay = try fields.strings("no_decay")
        if json["rates"] == nil { return }
        rates = try fields.value("rates", "an array of patterns with factors") { value in
            guard let elements = value.arrayValue else { return nil }
            let rates = elements.compactMap { element in
                element["pattern"]?.stringValue.flatMap { pattern in
                    element["factor"]?.doubleValue.map { Rate(pattern: pattern, factor: $0) }
                }
            }
            return rates.count == elements.count ? rates : nil
        }
    }
}

extension Fields {
    /// An array of strings; empty when the field is missing.
    func strings(_ key: String) throws(Fault) -> [String] {
        if json[key] == nil { return [] }
        return try value(key, "an array of strings") { value in
            guard let elements = value.arrayValue else { return nil }
            let strings = elements.compactMap(\.stringValue)
            return strings.count == elements.count ? strings : nil
        }
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}
