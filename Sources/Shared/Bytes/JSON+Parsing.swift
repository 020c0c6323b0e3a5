// The parser: one pass over bytes, recursion bounded by `maximumDepth`.

extension JSON {
    /// Values nested deeper than this are refused: no file of ours needs more, and a hostile one would eat the stack.
    public static let maximumDepth = 64

    /// Parses one value with optional white space around it.
    /// - Parameter name: the file, for messages; `base` is added to byte offsets (a header inside a file).
    /// - Throws: `Fault` (bad data) naming the byte.
    public init(parsing bytes: [UInt8], name: String, base: Int = 0) throws(Fault) {
        var parser = JSONParser(bytes: bytes, name: name, base: base)
        self = try parser.document()
    }

    public init(parsing text: String, name: String) throws(Fault) {
        try self.init(parsing: Array(text.utf8), name: name)
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    let name: String
    let base: Int
    var position = 0

    init(bytes: [UInt8], name: String, base: Int) {
        self.bytes = bytes
        self.name = name
        self.base = base
    }

    func fault(_ reason: String, at offset: Int? = nil) -> Fault {
        .badData(name, byte: base + (offset ?? position), reason)
    }

    var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    mutating func document() throws(Fault) -> JSON {
        let value = try self.value(depth: 0)
        skipSpace()
        if position < bytes.count { throw fault("expected the end of the JSON value, found more") }
        return value
    }

    mutating func value(depth: Int) throws(Fault) -> JSON {
        if depth > JSON.maximumDepth { throw fault("JSON nested deeper than \(JSON.maximumDepth)") }
        skipSpace()
        guard let byte = peek else { throw fault("expected a JSON value, found the end") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw fault("expected a JSON value, found byte 0x\(String(byte, radix: 16))")
        }
    }

    mutating func literal(_ word: StaticString, _ value: JSON) throws(Fault) -> JSON {
        let text = Array(word.description.utf8)
        guard bytes.count - position >= text.count, Array(bytes[position..<position + text.count]) == text else {
            throw fault("expected '\(word)'")
        }
        position += text.count
        return value
    }

    mutating func object(depth: Int) throws(Fault) -> JSON {
        position += 1
        var object = JSONObject()
        skipSpace()
        if peek == UInt8(ascii: "}") {
            position += 1
            return .object(object)
        }
        while true {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw fault("expected a key in quotes") }
            let start = position
            let key = try string()
            if object[key] != nil { throw fault("duplicate key \(quoted(key))", at: start) }
            skipSpace()
            guard peek == UInt8(ascii: ":") else { throw fault("expected ':' after key \(quoted(key))") }
            position += 1
            object[key] = try value(depth: depth + 1)
            skipSpace()
            switch peek {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "}"):
                position += 1
                return .object(object)
            default: throw fault("expected ',' or '}' in an object")
            }
        }
    }

    mutating func array(depth: Int) throws(Fault) -> JSON {
        position += 1
        var elements: [JSON] = []
        skipSpace()
        if peek == UInt8(ascii: "]") {
            position += 1
            return .array(elements)
        }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            switch peek {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "]"):
                position += 1
                return .array(elements)
            default: throw fault("expected ',' or ']' in an array")
            }
        }
    }

    mutating func string() throws(Fault) -> String {
        let start = position
        position += 1
        // Most strings have nothing to undo and are taken as they lie.
        var end = position
        while end < bytes.count, bytes[end] != UInt8(ascii: "\""), bytes[end] != UInt8(ascii: "\\"), bytes[end] >= 0x20
        {
            end += 1
        }
        if end < bytes.count, bytes[end] == UInt8(ascii: "\"") {
            guard let string = String(validating: bytes[position..<end], as: UTF8.self) else {
                throw fault("string is not UTF-8", at: start)
            }
            position = end + 1
            return string
        }
        var text = Array(bytes[position..<end])
        position = end
        while true {
            guard let byte = peek else { throw fault("string without an end", at: start) }
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw fault("string is not UTF-8", at: start)
                }
                return string
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw fault("bare control character in a string", at: position - 1)
            default: text.append(byte)
            }
        }
    }

    mutating func escape(into text: inout [UInt8]) throws(Fault) {
        guard let byte = peek else { throw fault("string without an end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"):
            let start = position
            var code = try hexadecimal()
            if (0xdc00..<0xe000).contains(code) { throw fault("lone surrogate in a string", at: start) }
            if (0xd800..<0xdc00).contains(code) {
                guard peek == UInt8(ascii: "\\"), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u")
                else { throw fault("lone surrogate in a string", at: start) }
                position += 2
                let low = try hexadecimal()
                guard (0xdc00..<0xe000).contains(low) else { throw fault("lone surrogate in a string", at: start) }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw fault("lone surrogate in a string", at: start) }
            text.append(contentsOf: String(Character(scalar)).utf8)
        default: throw fault("unknown escape in a string", at: position - 1)
        }
    }

    mutating func hexadecimal() throws(Fault) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw fault("expected four hexadecimal digits")
            }
            code = code << 4 + UInt32(digit)
            position += 1
        }
        return code
    }

    mutating func digits() -> Int {
        let start = position
        while let byte = peek, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
        return position - start
    }

    mutating func number() throws(Fault) -> JSON {
        let start = position
        var isInteger = true
        if peek == UInt8(ascii: "-") { position += 1 }
        let leadingZero = peek == UInt8(ascii: "0")
        let whole = digits()
        if whole == 0 || (leadingZero && whole > 1) { throw fault("not a JSON number", at: start) }
        if peek == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            if digits() == 0 { throw fault("not a JSON number", at: start) }
        }
        if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { position += 1 }
            if digits() == 0 { throw fault("not a JSON number", at: start) }
        }
        if isInteger, bytes[start] != UInt8(ascii: "-"), position - start <= 18 {
            var value = 0
            for index in start..<position { value = value * 10 + Int(bytes[index] - UInt8(ascii: "0")) }
            return .integer(value)
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger {
            if let value = Int(text) { return .integer(value) }
            if let value = UInt64(text) { return .unsigned(value) }
        }
        guard let value = Double(text), value.isFinite else { throw fault("number out of range", at: start) }
        return .number(value)
    }
}
