// A tensor on its way into a file: what the header says of it, and a way to get its bytes that needs no second copy of
// them in memory.

internal import Bytes

/// A tensor to be written.
public struct TensorSource {
    public let name: String
    public let dtype: DataType
    /// Outermost dimension first.
    public let shape: [Int]
    /// Hands the tensor's bytes (little-endian, row-major) to its argument, in order, in pieces of any size. Called
    /// once a file.
    public let forEachChunk: (_ emit: (RawSpan) throws -> Void) throws -> Void

    public init(
        name: String, dtype: DataType, shape: [Int],
        forEachChunk: @escaping (_ emit: (RawSpan) throws -> Void) throws -> Void
    ) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.forEachChunk = forEachChunk
    }

    /// A tensor whose bytes are at hand.
    public init(name: String, dtype: DataType, shape: [Int], bytes: [UInt8]) {
        self.init(name: name, dtype: dtype, shape: shape) { emit in try bytes.withRawSpan(emit) }
    }

    /// A float32 tensor whose values are at hand.
    public init(name: String, shape: [Int], values: [Float]) {
        self.init(name: name, dtype: .f32, shape: shape) { emit in try values.withRawSpan(emit) }
    }
}
