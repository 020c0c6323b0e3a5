// How elements are stored, and the way from one of these to another. Narrowing rounds to nearest, ties to even; a finite
// value never becomes an infinite one in silence.

internal import Bytes

/// How a tensor's elements are stored.
public enum TensorEncoding: Sendable, Hashable, CustomStringConvertible {
    case plain(DataType)
    /// GGUF's blocks of 32 elements with one scale.
    case q8_0

    public var description: String {
        switch self {
        case .plain(let dtype): dtype.rawValue
        case .q8_0: "Q8_0"
        }
    }

    /// Of the elements when they are decoded.
    var dtype: DataType {
        switch self {
        case .plain(let dtype): dtype
        case .q8_0: .f32
        }
    }

    /// Bytes that `count` elements take.
    func byteCount(_ count: Int) -> Int {
        switch self {
        case .plain(let dtype): count * dtype.bitWidth / 8
        case .q8_0: count / Q8Block.elements * Q8Block.bytes
        }
    }

    /// What `bytes` of `dtype` are in this encoding.
    /// - Throws: `EncodingTrouble` when a value has no place in it.
    func encode(_ bytes: [UInt8], from dtype: DataType) throws(EncodingTrouble) -> [UInt8] {
        switch self {
        case .plain(let target):
            if target == dtype { return bytes }
            if target == .f64 {
                guard let values = dtype.doubles(bytes) else { throw .notFloat }
                return values.map(\.bitPattern).littleEndianBytes
            }
            guard let values = dtype.floats(bytes) else { throw .notFloat }
            return try DataType.encode(values, as: target, checkingOverflowOf: dtype == .f64 ? bytes : nil)
        case .q8_0:
            guard let values = dtype.floats(bytes) else { throw .notFloat }
            return try Q8Block.encode(values)
        }
    }
}

/// Why values cannot be stored as asked.
enum EncodingTrouble: Error {
    case notFloat
    /// A finite value that would become infinite.
    case overflow(Double)
    /// Q8_0 has no room for NaN and infinities.
    case nonFinite

    func reason(_ encoding: TensorEncoding) -> String {
        switch self {
        case .notFloat: "its elements are no floating-point numbers and cannot become \(encoding)"
        case .overflow(let value): "its value \(value) has no finite \(encoding)"
        case .nonFinite: "it holds NaN or infinite values, for which \(encoding) has no room"
        }
    }
}

extension DataType {
    /// `values` as F32, F16 or BF16.
    static func encode(
        _ values: [Float], as target: DataType, checkingOverflowOf doubles: [UInt8]?
    ) throws(EncodingTrouble) -> [UInt8] {
        if let doubles {
            let wide = [UInt64](littleEndianBytes: doubles[...])
            for index in values.indices where values[index].isInfinite {
                let value = Double(bitPattern: wide[index])
                if value.isFinite { throw .overflow(value) }
            }
        }
        switch target {
        case .f32: return values.map(\.bitPattern).littleEndianBytes
        case .bf16:
            var overflow: Float?
            let bits = values.map { value in
                let bits = floatToBrain(value)
                if bits & 0x7fff == 0x7f80 && value.isFinite { overflow = value }
                return bits
            }
            if let overflow { throw .overflow(Double(overflow)) }
            return bits.littleEndianBytes
        case .f16:
            var overflow: Float?
            let bits = values.map { value in
                let bits = floatToHalf(value)
                if bits & 0x7fff == 0x7c00 && value.isFinite { overflow = value }
                return bits
            }
            if let overflow { throw .overflow(Double(overflow)) }
            return bits.littleEndianBytes
        default: throw .notFloat
        }
    }

    /// The upper half of the float, rounded to nearest, ties to even; NaN stays NaN.
    static func floatToBrain(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (bits + 0x7fff + (bits >> 16 & 1)) >> 16)
    }

    /// IEEE 754 binary16, rounded to nearest, ties to even.
    static func floatToHalf(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        let sign = UInt16(truncatingIfNeeded: bits >> 16 & 0x8000)
        let magnitude = bits & 0x7fff_ffff
        if magnitude >= 0x7f80_0000 {
            // NaN keeps the upper bits of its payload, and at least one.
            let payload = UInt16(truncatingIfNeeded: magnitude >> 13 & 0x3ff)
            return magnitude == 0x7f80_0000 ? sign | 0x7c00 : sign | 0x7e00 | payload
        }
        // From 65,520 on, the middle between the largest half and the one after it.
        if magnitude >= 0x477f_f000 { return sign | 0x7c00 }
        if magnitude < 0x3880_0000 {
            // Subnormal: a multiple of 2^-24. Adding one half puts the rounded multiple into the low bits.
            let sum = Float(bitPattern: magnitude) + 0.5
            return sign | UInt16(truncatingIfNeeded: sum.bitPattern &- Float(0.5).bitPattern)
        }
        let rounded = magnitude + 0xfff + (magnitude >> 13 & 1)
        return sign | UInt16(truncatingIfNeeded: rounded >> 13 &- 112 << 10)
    }
}
