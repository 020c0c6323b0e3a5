// JSON read piece by piece, for what should not be a tree in memory: a manifest of 100,000 shards, whose tree would be
// many times the file, and a line of ids that may be longer than memory. The grammar and the complaints are those of
// `JSON(parsing:)`; the caller says what it expects, and small values can still be had as trees.

/// A reader of JSON values from a source, in order. After an error it must not be used again.
public struct JSONReader {
    private let source: any ByteSource
    var buffer: [UInt8] = []
    private(set) var position = 0
    /// Byte of `buffer[0]` in the source.
    private var base: Int
    private var isExhausted = false
    /// Of each object and array that is open: whether nothing has been read of it yet.
    private var isFirst: [Bool] = []
    /// Where the last key began.
    public private(set) var keyOffset = 0
    /// Newlines between tokens passed so far.
    public private(set) var line: Int
    private static let pieceBytes = 1 << 16

    /// Bytes before the next one that is read.
    public var offset: Int { base + position }

    /// - Parameters:
    ///   - base: bytes of the input that come before what the source gives.
    ///   - line: lines before it.
    public init(_ source: any ByteSource, base: Int = 0, line: Int = 0) {
        self.source = source
        self.base = base
        self.line = line
    }

    // MARK: Bytes

    private func fault(_ reason: String, at byte: Int? = nil) -> Fault {
        .badData(source.name, byte: byte ?? offset, reason)
    }

    /// Gets more bytes behind those not yet read. False at the end.
    mutating func fill() throws(Fault) -> Bool {
        if isExhausted { return false }
        let more = try source.read(upTo: JSONReader.pieceBytes)
        if more.isEmpty {
            isExhausted = true
            return false
        }
        if position == buffer.count {
            buffer = more
        } else {
            buffer = Array(buffer[position...]) + more
        }
        base += position
        position = 0
        return true
    }

    /// Bytes in the buffer that have not been read.
    var available: Int { buffer.count - position }

    /// Whether another object may be opened.
    var hasRoom: Bool { isFirst.count <= JSON.maximumDepth }

    /// Goes on at another place in the buffer.
    mutating func pass(to position: Int, lines: Int) {
        self.position = position
        line += lines
    }

    private mutating func peek() throws(Fault) -> UInt8? {
        if position < buffer.count { return buffer[position] }
        return try fill() ? buffer[position] : nil
    }

    /// The first byte of the next token, which is not read; nil at the end.
    public mutating func nextToken() throws(Fault) -> UInt8? {
        while let byte = try peek() {
            switch byte {
            case 0x0a: line += 1
            case 0x20, 0x09, 0x0d: break
            default: return byte
            }
            position += 1
        }
        return nil
    }

    /// Reads `bytes` if the input goes on with them.
    public mutating func skip(_ bytes: [UInt8]) throws(Fault) -> Bool {
        while buffer.count - position < bytes.count { if try !fill() { return false } }
        guard buffer[position..<position + bytes.count].elementsEqual(bytes) else { return false }
        position += bytes.count
        return true
    }

    // MARK: Structure

    private mutating func open(_ byte: UInt8, _ what: String) throws(Fault) {
        guard try nextToken() == byte else { throw fault("expected \(what)") }
        if isFirst.count > JSON.maximumDepth { throw fault("JSON nested deeper than \(JSON.maximumDepth)") }
        position += 1
        isFirst.append(true)
    }

    /// True when another member follows in the innermost object or array; false when it ends here.
    private mutating func hasNext(closing: UInt8, _ what: String) throws(Fault) -> Bool {
        let byte = try nextToken()
        let level = isFirst.count - 1
        if byte == closing {
            position += 1
            isFirst.removeLast()
            return false
        }
        if isFirst[level] {
            isFirst[level] = false
            return true
        }
        guard byte == UInt8(ascii: ",") else { throw fault("expected ',' or '\(what)") }
        position += 1
        return true
    }

    /// Enters an object.
    public mutating func beginObject() throws(Fault) { try open(UInt8(ascii: "{"), "an object") }

    /// The next key of the innermost object, whose value must be read next; nil at the object's end. Duplicates are the
    /// caller's to refuse.
    public mutating func nextKey() throws(Fault) -> String? {
        guard try hasNext(closing: UInt8(ascii: "}"), "}' in an object") else { return nil }
        guard try nextToken() == UInt8(ascii: "\"") else { throw fault("expected a key in quotes") }
        keyOffset = offset
        let key = try string()
        guard try nextToken() == UInt8(ascii: ":") else { throw fault("expected ':' after key \(quoted(key))") }
        position += 1
        return key
    }

    /// Enters an array.
    public mutating func beginArray() throws(Fault) { try open(UInt8(ascii: "["), "an array") }

    /// Whether the innermost array has another element, which must be read next.
    public mutating func nextElement() throws(Fault) -> Bool {
        try hasNext(closing: UInt8(ascii: "]"), "]' in an array")
    }

    // MARK: Values

    /// An integer, exactly; nil when the next value is another number or does not fit 64 bits.
    /// - Throws: `Fault` when it is no number at all.
    public mutating func integer() throws(Fault) -> Int? {
        guard let byte = try nextToken(), byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte) else {
            throw fault("expected a number")
        }
        // Most ids are short and followed by something: no text is made of them.
        if byte != UInt8(ascii: "-"), byte != UInt8(ascii: "0") {
            var value = 0
            var end = position
            while end < buffer.count, end - position < 18, (0x30...0x39).contains(buffer[end]) {
                value = value * 10 + Int(buffer[end] &- 0x30)
                end += 1
            }
            if end < buffer.count, buffer[end] == UInt8(ascii: ",") || buffer[end] == UInt8(ascii: "]") {
                position = end
                return value
            }
        }
        return try number().integerValue
    }

    private mutating func number() throws(Fault) -> JSON {
        let start = offset
        var text: [UInt8] = []
        while let byte = try peek(), JSONReader.isPartOfNumber(byte) {
            text.append(byte)
            position += 1
            // The longest double has fewer digits that matter; a longer one is refused, not gathered for ever.
            if text.count > 1100 { throw fault("number out of range", at: start) }
        }
        return try JSON(parsing: text, name: source.name, base: start)
    }

    private static func isPartOfNumber(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
            || byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e")
    }

    /// A string.
    public mutating func string() throws(Fault) -> String {
        guard try nextToken() == UInt8(ascii: "\"") else { throw fault("expected a string") }
        var end = position + 1
        while end < buffer.count, buffer[end] != UInt8(ascii: "\""), buffer[end] != UInt8(ascii: "\\"),
            buffer[end] >= 0x20
        { end += 1 }
        if end < buffer.count, buffer[end] == UInt8(ascii: "\"") {
            guard let text = String(validating: buffer[(position + 1)..<end], as: UTF8.self) else {
                throw fault("string is not UTF-8")
            }
            position = end + 1
            return text
        }
        let start = offset
        var bytes: [UInt8] = []
        try passString { bytes.append($0) }
        guard let text = try JSON(parsing: bytes, name: source.name, base: start).stringValue else {
            throw fault("expected a string", at: start)
        }
        return text
    }

    /// Hands the bytes of a string to `body` as they are written, quotes and escapes included.
    private mutating func passString(_ body: (UInt8) -> Void) throws(Fault) {
        let start = offset
        var isEscaped = false
        repeat {
            guard let byte = try peek() else { throw fault("string without an end", at: start) }
            if byte < 0x20 { throw fault("bare control character in a string") }
            body(byte)
            position += 1
            if offset - start > 1 && byte == UInt8(ascii: "\"") && !isEscaped { return }
            isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
        } while true
    }

    /// Any value as a tree: for what is small.
    public mutating func value() throws(Fault) -> JSON {
        switch try nextToken() {
        case UInt8(ascii: "{"):
            var object = JSONObject()
            try beginObject()
            while true {
                guard let key = try nextKey() else { return .object(object) }
                if object[key] != nil { throw fault("duplicate key \(quoted(key))", at: keyOffset) }
                object[key] = try value()
            }
        case UInt8(ascii: "["):
            var elements: [JSON] = []
            try beginArray()
            while try nextElement() { elements.append(try value()) }
            return .array(elements)
        case UInt8(ascii: "\""): return .string(try string())
        case let byte?: return try scalar(byte)
        case nil: throw fault("expected a JSON value, found the end")
        }
    }

    private mutating func scalar(_ byte: UInt8) throws(Fault) -> JSON {
        for (word, value) in JSONReader.literals where word[0] == byte {
            if try skip(word) { return value }
        }
        if byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte) { return try number() }
        throw fault("expected a JSON value, found byte 0x\(String(byte, radix: 16))")
    }

    private static let literals: [([UInt8], JSON)] = [
        (Array("true".utf8), .bool(true)), (Array("false".utf8), .bool(false)), (Array("null".utf8), .null),
    ]

    /// Passes over any value, however long, without keeping it.
    public mutating func skipValue() throws(Fault) {
        switch try nextToken() {
        case UInt8(ascii: "{"):
            try beginObject()
            while try nextKey() != nil { try skipValue() }
        case UInt8(ascii: "["):
            try beginArray()
            while try nextElement() { try skipValue() }
        case UInt8(ascii: "\""): try passString { _ in }
        case let byte?: _ = try scalar(byte)
        case nil: throw fault("expected a JSON value, found the end")
        }
    }

    /// Nothing but white space may follow.
    public mutating func end() throws(Fault) {
        if try nextToken() != nil { throw fault("expected the end of the JSON value, found more") }
    }
}

extension JSON {
    fileprivate var integerValue: Int? { if case .integer(let value) = self { value } else { nil } }
}
