// How far two tensors are apart, in one streaming pass over both, so that two checkpoints of any size can be compared in
// a few megabytes.

internal import Bytes

/// The difference of two tensors of one shape, in float64.
public struct TensorDifference: Sendable, Equatable {
    /// Same dtype, and every bit the same.
    public let hasEqualBits: Bool
    /// max |a − b|; NaN when exactly one of two values is NaN. nil for types that are not decoded (float8 and smaller).
    public let maximumAbsolute: Double?
    /// ‖a − b‖ / ‖a‖ (Euclidean); 0 when both are zero, infinite when only a is.
    public let relativeL2: Double?

    /// Reads both tensors to the end, digests checked on the way where there are any.
    /// - Throws: `Fault`: a tensor is missing, damaged, or the shapes differ.
    public static func of(_ name: String, _ a: TensorSet, _ b: TensorSet) throws -> TensorDifference {
        // Pieces of the same number of elements on both sides: 64 Ki, and a multiple of 8 bytes for every dtype.
        let elements = 1 << 16
        var first = try a.reader(name, chunk: elements * (a[name]?.dtype.bitWidth ?? 8) / 8)
        var second = try b.reader(name, chunk: elements * (b[name]?.dtype.bitWidth ?? 8) / 8)
        guard first.entry.shape == second.entry.shape else {
            throw Fault(
                .badData, "tensor \(quoted(name)): shapes \(first.entry.shape) and \(second.entry.shape) differ")
        }
        var sums = Sums()
        var hasEqualBits = first.entry.dtype == second.entry.dtype
        let isFloat32 = hasEqualBits && first.entry.dtype == .f32
        var isDecoded = true
        while let left = try first.next(), let right = try second.next() {
            if isFloat32 {
                // The usual case without arrays of float64 in between.
                sums.add([UInt32](littleEndianBytes: left[...]), [UInt32](littleEndianBytes: right[...]))
            } else if let x = first.entry.dtype.doubles(left), let y = second.entry.dtype.doubles(right) {
                for index in x.indices { sums.add(x[index], y[index]) }
            } else {
                isDecoded = false
            }
            if hasEqualBits && left != right { hasEqualBits = false }
        }
        // Equal shapes give equal numbers of pieces; asking on checks the digests of empty tensors too.
        while try second.next() != nil {}
        return TensorDifference(
            hasEqualBits: hasEqualBits, maximumAbsolute: isDecoded ? sums.maximum : nil,
            relativeL2: isDecoded ? sums.relativeL2 : nil)
    }
}

/// What is added up over the elements of two tensors.
private struct Sums {
    var maximum = 0.0
    private var squaredDifference = 0.0
    private var squaredReference = 0.0

    var relativeL2: Double { squaredDifference == 0 ? 0 : (squaredDifference / squaredReference).squareRoot() }

    /// The bits of float32 values.
    mutating func add(_ x: [UInt32], _ y: [UInt32]) {
        for index in x.indices {
            add(Double(Float(bitPattern: x[index])), Double(Float(bitPattern: y[index])))
        }
    }

    @inline(__always)
    mutating func add(_ x: Double, _ y: Double) {
        squaredReference += x * x
        // The same infinity, or NaN on both sides, is no difference.
        if x == y || (x.isNaN && y.isNaN) { return }
        let difference = abs(x - y)
        // Once NaN, the maximum stays NaN.
        if !(difference <= maximum) && !maximum.isNaN { maximum = difference }
        squaredDifference += difference * difference
    }
}
