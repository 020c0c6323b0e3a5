// Q8_0, the one quantized type that is read and written (docs/formats/foreign-checkpoints.md): the arithmetic is
// float32 throughout, so that the bytes are those of ggml and of the gguf package.

internal import Bytes

enum Q8Block {
    /// Elements a block.
    static let elements = 32
    /// An f16 scale and a signed byte an element.
    static let bytes = 34

    /// The values of whole blocks.
    static func decode(_ blocks: [UInt8]) -> [Float] {
        precondition(blocks.count % bytes == 0, "\(blocks.count) bytes are no whole number of blocks")
        var values: [Float] = []
        values.reserveCapacity(blocks.count / bytes * elements)
        for start in stride(from: 0, to: blocks.count, by: bytes) {
            let scale = DataType.halfToFloat(UInt16(blocks[start]) | UInt16(blocks[start + 1]) << 8)
            for index in start + 2..<start + bytes {
                values.append(scale * Float(Int8(bitPattern: blocks[index])))
            }
        }
        return values
    }

    /// - Parameter values: a multiple of 32.
    static func encode(_ values: [Float]) throws(EncodingTrouble) -> [UInt8] {
        precondition(values.count % elements == 0, "\(values.count) values are no whole number of blocks")
        var result: [UInt8] = []
        result.reserveCapacity(values.count / elements * bytes)
        for start in stride(from: 0, to: values.count, by: elements) {
            var largest: Float = 0
            for index in start..<start + elements {
                if !values[index].isFinite { throw .nonFinite }
                largest = max(largest, abs(values[index]))
            }
            let scale = largest / 127
            let half = DataType.floatToHalf(scale)
            if half & 0x7fff == 0x7c00 { throw .overflow(Double(largest)) }
            let inverse = scale == 0 ? 0 : 1 / scale
            result.append(UInt8(truncatingIfNeeded: half))
            result.append(UInt8(truncatingIfNeeded: half >> 8))
            for index in start..<start + elements {
                // A scale below the smallest normal float has an infinite inverse, and 127 × a rounded inverse may end
                // a hair above 127.
                let scaled = (values[index] * inverse).rounded(.toNearestOrAwayFromZero)
                let bounded = scaled.isNaN ? 0 : min(127, max(-127, scaled))
                result.append(UInt8(bitPattern: Int8(bounded)))
            }
        }
        return result
    }
}
