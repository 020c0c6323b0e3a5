// What a file says of one tensor before its bytes are read.

/// A named tensor's place in a safetensors file.
public struct TensorEntry: Sendable, Hashable {
    public let name: String
    public let dtype: DataType
    /// Outermost dimension first; `[]` is a scalar.
    public let shape: [Int]
    /// Where the tensor lies, in bytes from the beginning of the file.
    public let byteRange: Range<Int>

    public var byteCount: Int { byteRange.count }

    /// The product of the shape: 1 for a scalar, 0 when any dimension is.
    public var elementCount: Int { shape.reduce(1, *) }

    /// The product of `shape`, multiplied from the left, or nil when it (or a dimension) is out of range.
    static func checkedProduct(_ shape: [Int]) -> Int? {
        var product = 1
        for dimension in shape {
            let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
            if dimension < 0 || overflow { return nil }
            product = next
        }
        return product
    }

    /// The bytes that `shape` takes as `dtype`, or nil when they overflow or are no whole number.
    static func checkedByteCount(_ dtype: DataType, _ shape: [Int]) -> Int? {
        guard let elements = checkedProduct(shape) else { return nil }
        let (bits, overflow) = elements.multipliedReportingOverflow(by: dtype.bitWidth)
        return overflow || bits % 8 != 0 ? nil : bits / 8
    }
}
