// From stored bytes to numbers, for the types that models and optimizers are stored in.

internal import Bytes

extension DataType {
    /// The values of whole elements as float32, or nil for a type that is no IEEE or brain float. F64 is rounded to
    /// nearest; the others are exact.
    public func floats(_ bytes: [UInt8]) -> [Float]? {
        switch self {
        case .f32: [UInt32](littleEndianBytes: bytes[...]).map { Float(bitPattern: $0) }
        case .bf16: [UInt16](littleEndianBytes: bytes[...]).map { Float(bitPattern: UInt32($0) << 16) }
        case .f16: [UInt16](littleEndianBytes: bytes[...]).map { DataType.halfToFloat($0) }
        case .f64: [UInt64](littleEndianBytes: bytes[...]).map { Float(Double(bitPattern: $0)) }
        default: nil
        }
    }

    /// The values of whole elements as float64, or nil for a type that is neither an integer nor a float of 16 bits
    /// and more. 64-bit integers are rounded to nearest, the others are exact.
    public func doubles(_ bytes: [UInt8]) -> [Double]? {
        switch self {
        case .f32, .bf16, .f16: floats(bytes)?.map { Double($0) }
        case .f64: [UInt64](littleEndianBytes: bytes[...]).map { Double(bitPattern: $0) }
        case .bool, .u8: bytes.map { Double($0) }
        case .i8: bytes.map { Double(Int8(bitPattern: $0)) }
        case .u16: [UInt16](littleEndianBytes: bytes[...]).map { Double($0) }
        case .i16: [Int16](littleEndianBytes: bytes[...]).map { Double($0) }
        case .u32: [UInt32](littleEndianBytes: bytes[...]).map { Double($0) }
        case .i32: [Int32](littleEndianBytes: bytes[...]).map { Double($0) }
        case .u64: [UInt64](littleEndianBytes: bytes[...]).map { Double($0) }
        case .i64: [Int64](littleEndianBytes: bytes[...]).map { Double($0) }
        default: nil
        }
    }

    /// IEEE 754 binary16 by hand: `Float16` does not exist on every platform that we build for.
    static func halfToFloat(_ bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) << 16
        let exponent = UInt32(bits >> 10) & 31
        let fraction = UInt32(bits) & 0x3ff
        switch exponent {
        case 0:
            let magnitude = Float(fraction) * 0x1p-24
            return Float(bitPattern: magnitude.bitPattern | sign)
        case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
        default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
        }
    }
}
