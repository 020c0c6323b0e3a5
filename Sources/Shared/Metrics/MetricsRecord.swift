// One line of metrics.jsonl: flat, ordered, and honest about numbers that JSON cannot hold. A NaN goes out as null with
// a companion key and comes back as NaN, so that a column stays numeric in every reader and nothing is lost
// (docs/formats/metrics.md).

/// What a run reports at one moment: keys with numbers, texts or nothing, in order.
public struct MetricsRecord: Sendable, Equatable {
    public enum Value: Sendable, Hashable {
        case integer(Int)
        /// Any double, the non-finite ones included.
        case number(Double)
        case string(String)
        case null
    }

    public struct Field: Sendable, Hashable {
        public let key: String
        public let value: Value
    }

    public internal(set) var fields: [Field] = []

    public init() {}

    /// A record of `step`, the key that every record has.
    public init(step: Int) { self["step"] = .integer(step) }

    /// Setting replaces the value where it stands or appends it; setting nil takes it out. A key that is not snake_case,
    /// or that is a companion's, is a programmer's slip.
    public subscript(key: String) -> Value? {
        get { fields.first { $0.key == key }?.value }
        set {
            precondition(MetricsRecord.isKey(key), "a metric's key is snake_case, '\(key)' is not")
            precondition(!key.hasSuffix(MetricsRecord.companionSuffix), "'\(key)' is written for its number, not set")
            let index = fields.firstIndex { $0.key == key }
            switch (index, newValue) {
            case (let index?, let value?): fields[index] = Field(key: key, value: value)
            case (nil, let value?): fields.append(Field(key: key, value: value))
            case (let index?, nil): fields.remove(at: index)
            case (nil, nil): break
            }
        }
    }

    public mutating func set(_ key: String, _ value: Int) { self[key] = .integer(value) }
    public mutating func set(_ key: String, _ value: Double) { self[key] = .number(value) }
    public mutating func set(_ key: String, _ value: Float) { self[key] = .number(Double(value)) }
    public mutating func set(_ key: String, _ value: String) { self[key] = .string(value) }

    /// The step, when the record has one.
    public var step: Int? { if case .integer(let step)? = self["step"] { step } else { nil } }
}

extension MetricsRecord.Value {
    /// The number, integers included; nil for texts and null.
    public var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        case .string, .null: nil
        }
    }
}

extension MetricsRecord {
    static let companionSuffix = "_nonfinite"

    /// `[a-z][a-z0-9_]*`
    static func isKey(_ key: String) -> Bool {
        guard let first = key.utf8.first, isLetter(first) else { return false }
        return key.utf8.allSatisfy {
            isLetter($0) || $0 == UInt8(ascii: "_") || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") }
}
