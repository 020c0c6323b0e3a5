// The values of GGUF's metadata.

internal import Bytes

/// A metadata value. Numbers are kept by what they are; their width matters on the disk only.
enum GGUFValue: Equatable {
    case u8(UInt8), i8(Int8), u16(UInt16), i16(Int16), u32(UInt32), i32(Int32), u64(UInt64), i64(Int64)
    case f32(Float), f64(Double)
    case bool(Bool)
    case string(String)
    case strings([String])
    case i32s([Int32])
    /// Any other array.
    case array(type: UInt32, [GGUFValue])

    static let stringType: UInt32 = 8
    static let arrayType: UInt32 = 9

    /// Bytes of a value of a type at least.
    static func minimumSize(_ type: UInt32) -> Int? {
        switch type {
        case 0, 1, 7: 1
        case 2, 3: 2
        case 4, 5, 6: 4
        case 10, 11, 12, stringType: 8
        default: nil
        }
    }

    /// The type as it stands in a file.
    var type: UInt32 {
        switch self {
        case .u8: 0
        case .i8: 1
        case .u16: 2
        case .i16: 3
        case .u32: 4
        case .i32: 5
        case .f32: 6
        case .bool: 7
        case .string: GGUFValue.stringType
        case .strings, .i32s, .array: GGUFValue.arrayType
        case .u64: 10
        case .i64: 11
        case .f64: 12
        }
    }

    /// The value without its type.
    func append(to bytes: inout [UInt8]) {
        switch self {
        case .u8(let value): bytes.append(value)
        case .i8(let value): bytes.append(UInt8(bitPattern: value))
        case .u16(let value): bytes.append(littleEndian: value)
        case .i16(let value): bytes.append(littleEndian: value)
        case .u32(let value): bytes.append(littleEndian: value)
        case .i32(let value): bytes.append(littleEndian: value)
        case .u64(let value): bytes.append(littleEndian: value)
        case .i64(let value): bytes.append(littleEndian: value)
        case .f32(let value): bytes.append(littleEndian: value.bitPattern)
        case .f64(let value): bytes.append(littleEndian: value.bitPattern)
        case .bool(let value): bytes.append(value ? 1 : 0)
        case .string(let text): GGUFValue.append(text, to: &bytes)
        case .strings(let texts):
            bytes.append(littleEndian: GGUFValue.stringType)
            bytes.append(littleEndian: UInt64(texts.count))
            for text in texts { GGUFValue.append(text, to: &bytes) }
        case .i32s(let values):
            bytes.append(littleEndian: UInt32(5))
            bytes.append(littleEndian: UInt64(values.count))
            bytes.append(littleEndian: values)
        case .array(let type, let values):
            bytes.append(littleEndian: type)
            bytes.append(littleEndian: UInt64(values.count))
            for value in values { value.append(to: &bytes) }
        }
    }

    static func append(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(littleEndian: UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    var integer: Int? {
        switch self {
        case .u8(let value): Int(value)
        case .i8(let value): Int(value)
        case .u16(let value): Int(value)
        case .i16(let value): Int(value)
        case .u32(let value): Int(value)
        case .i32(let value): Int(value)
        case .u64(let value): Int(exactly: value)
        case .i64(let value): Int(value)
        default: nil
        }
    }

    /// The shortest decimal of a float32 as a double: 1e-05 stays 1e-05.
    var number: Double? {
        switch self {
        case .f32(let value): Double(value.description) ?? Double(value)
        case .f64(let value): value
        default: integer.map { Double($0) }
        }
    }

    var text: String? { if case .string(let text) = self { text } else { nil } }
    var flag: Bool? { if case .bool(let value) = self { value } else { nil } }
    var texts: [String]? { if case .strings(let texts) = self { texts } else { nil } }

    /// An array of integers of any width.
    var integers: [Int]? {
        switch self {
        case .i32s(let values): return values.map { Int($0) }
        case .array(_, let values):
            let integers = values.compactMap(\.integer)
            return integers.count == values.count ? integers : nil
        default: return nil
        }
    }
}
