// JSON as our formats need it: strict, with byte offsets in every complaint, duplicate keys refused, order of keys
// kept, integers exact to 64 bits, depth bounded. Foundation's parser lets duplicates through and knows no offsets,
// and it would be half of each tool's start-up time.

/// A JSON value (RFC 8259). Objects keep the order of their keys.
public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    /// An integer that fits 64 bits, signed.
    case integer(Int)
    /// An integer above `Int.max` that fits 64 bits, unsigned.
    case unsigned(UInt64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

/// The members of an object in order, found by key in constant time once there are many.
public struct JSONObject: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    public private(set) var members: [(key: String, value: JSON)] = []
    /// Empty while there are few members: looking through those is quicker than a table, and manifests have a hundred
    /// thousand small objects.
    private var positions: [ExactKey: Int] = [:]
    private static let fewMembers = 8

    public init() {}

    public init(dictionaryLiteral elements: (String, JSON)...) {
        for (key, value) in elements { self[key] = value }
    }

    public var count: Int { members.count }
    public var keys: [String] { members.map(\.key) }

    private func position(of key: String) -> Int? {
        if members.count > JSONObject.fewMembers { return positions[ExactKey(text: key)] }
        return members.firstIndex { $0.key.utf8.elementsEqual(key.utf8) }
    }

    /// Setting nil removes nothing: members are only added or replaced, in order of first appearance.
    public subscript(key: String) -> JSON? {
        get { position(of: key).map { members[$0].value } }
        set {
            guard let newValue else { return }
            if let position = position(of: key) {
                members[position].value = newValue
                return
            }
            members.append((key, newValue))
            if members.count == JSONObject.fewMembers + 1 {
                for (index, member) in members.enumerated() { positions[ExactKey(text: member.key)] = index }
            } else if members.count > JSONObject.fewMembers {
                positions[ExactKey(text: key)] = members.count - 1
            }
        }
    }

    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.key] == $0.value }
    }
}

/// Keys are equal when their bytes are. Swift's strings are equal when they look alike (é as one scalar or as two), but
/// those are different members, and real tokenizers have both in their vocabularies.
private struct ExactKey: Hashable, Sendable {
    let text: String

    static func == (left: ExactKey, right: ExactKey) -> Bool {
        // What looks different has different bytes, and looking is quick.
        left.text == right.text && left.text.utf8.elementsEqual(right.text.utf8)
    }

    func hash(into hasher: inout Hasher) {
        let isHashed: Void? = unsafe text.utf8.withContiguousStorageIfAvailable { bytes in
            // SAFETY: the hasher only reads the bytes, which live for the call.
            unsafe hasher.combine(bytes: UnsafeRawBufferPointer(bytes))
        }
        if isHashed == nil { for byte in text.utf8 { hasher.combine(byte) } }
    }
}

extension JSON {
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var arrayValue: [JSON]? { if case .array(let value) = self { value } else { nil } }
    public var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }
    public var isNull: Bool { if case .null = self { true } else { false } }

    /// An exact integer; `3.0` counts, `3.5` does not.
    public var intValue: Int? {
        switch self {
        case .integer(let value): value
        case .number(let value): Int(exactly: value)
        default: nil
        }
    }

    public var uint64Value: UInt64? {
        switch self {
        case .integer(let value): UInt64(exactly: value)
        case .unsigned(let value): value
        case .number(let value): UInt64(exactly: value)
        default: nil
        }
    }

    public var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    public subscript(key: String) -> JSON? { objectValue?[key] }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) {
        var object = JSONObject()
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }

    /// Any 64-bit value without loss.
    public init(_ value: UInt64) { self = Int(exactly: value).map(JSON.integer) ?? .unsigned(value) }
}
