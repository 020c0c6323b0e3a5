// Fields of a GGUF file in order, each held against the end of the file before a byte of it is taken.

internal import Bytes

/// Reads the part of a GGUF file before its data.
struct GGUFCursor {
    let file: InputFile
    private(set) var position = 0
    private var buffer: [UInt8] = []
    private var bufferStart = 0
    /// Longer beginnings are refused: the largest vocabularies take some 20 MB.
    private static let limit = 256 << 20
    private static let longest: UInt64 = 1 << 30

    init(_ file: InputFile) { self.file = file }

    func fault(_ reason: String, at byte: Int? = nil) -> Fault { .badData(file.name, byte: byte ?? position, reason) }

    /// Whether `count` values of at least `size` bytes can follow.
    func require(_ count: UInt64, of size: Int, _ what: String) throws(Fault) {
        if count > UInt64(max(0, file.size - position) / size) {
            throw fault("\(count) \(what) do not fit the file of \(file.size) bytes")
        }
    }

    mutating func bytes(_ count: Int) throws(Fault) -> ArraySlice<UInt8> {
        if count > file.size - position { throw fault("expected \(count) more bytes, found the end of the file") }
        if position + count > GGUFCursor.limit {
            throw fault("more than \(GGUFCursor.limit) bytes before the tensors")
        }
        if position + count > bufferStart + buffer.count {
            buffer = try file.read(at: position, count: min(file.size - position, max(count, 1 << 16)))
            bufferStart = position
        }
        let start = position - bufferStart
        position += count
        return buffer[start..<start + count]
    }

    mutating func integer<Integer: FixedWidthInteger>(_ type: Integer.Type = Integer.self) throws(Fault) -> Integer {
        var value: Integer = 0
        for byte in try bytes(Integer.bitWidth / 8).reversed() {
            value = value << 8 | Integer(truncatingIfNeeded: byte)
        }
        return value
    }

    mutating func string() throws(Fault) -> String {
        let start = position
        let count = try integer(UInt64.self)
        if count > GGUFCursor.longest { throw fault("a string of \(count) bytes", at: start) }
        try require(count, of: 1, "bytes of a string")
        guard let text = String(validating: try bytes(Int(count)), as: UTF8.self) else {
            throw fault("a string is not UTF-8", at: start)
        }
        return text
    }

    mutating func value(_ type: UInt32) throws(Fault) -> GGUFValue {
        switch type {
        case 0: return .u8(try integer())
        case 1: return .i8(try integer())
        case 2: return .u16(try integer())
        case 3: return .i16(try integer())
        case 4: return .u32(try integer())
        case 5: return .i32(try integer())
        case 6: return .f32(Float(bitPattern: try integer()))
        case 7:
            let byte = try integer(UInt8.self)
            if byte > 1 { throw fault("a bool is \(byte)", at: position - 1) }
            return .bool(byte == 1)
        case GGUFValue.stringType: return .string(try string())
        case GGUFValue.arrayType: return try array()
        case 10: return .u64(try integer())
        case 11: return .i64(try integer())
        case 12: return .f64(Double(bitPattern: try integer()))
        default: throw fault("unknown type \(type) of a value")
        }
    }

    private mutating func array() throws(Fault) -> GGUFValue {
        let start = position
        let type = try integer(UInt32.self)
        if type == GGUFValue.arrayType { throw fault("an array of arrays", at: start) }
        guard let size = GGUFValue.minimumSize(type) else { throw fault("unknown type \(type) of an array", at: start) }
        let count = try integer(UInt64.self)
        if count > GGUFCursor.longest { throw fault("an array of \(count) values", at: start) }
        try require(count, of: size, "values of an array")
        switch type {
        case GGUFValue.stringType:
            var texts: [String] = []
            for _ in 0..<count { texts.append(try string()) }
            return .strings(texts)
        case 5:
            var values: [Int32] = []
            for _ in 0..<count { values.append(try integer()) }
            return .i32s(values)
        default:
            var values: [GGUFValue] = []
            for _ in 0..<count { values.append(try value(type)) }
            return .array(type: type, values)
        }
    }
}
