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
        var hasEqualBits = first.entry.dtype == second.entry.dtype
        var isDecoded = true
        var maximum = 0.0
        var squaredDifference = 0.0
        var squaredReference = 0.0
        while let left = try first.next(), let right = try second.next() {
            if hasEqualBits && left != right { hasEqualBits = false }
            guard let x = first.entry.dtype.doubles(left), let y = second.entry.dtype.doubles(right) else {
                isDecoded = false
                continue
            }
            for index in x.indices {
                // The same infinity, or NaN on both sides, is no difference.
                let isSame = x[index] == y[index] || (x[index].isNaN && y[index].isNaN)
                let difference = isSame ? 0 : abs(x[index] - y[index])
                if difference > maximum || difference.isNaN { maximum = maximum.isNaN ? maximum : difference }
                squaredDifference += difference * difference
                squaredReference += x[index] * x[index]
            }
        }
        // A shorter side cannot be: equal shapes give equal numbers of pieces. The end of b checks its digest.
        while try second.next() != nil {}
        let relative =
            squaredDifference == 0 ? 0 : (squaredDifference / squaredReference).squareRoot()
        return TensorDifference(
            hasEqualBits: hasEqualBits, maximumAbsolute: isDecoded ? maximum : nil,
            relativeL2: isDecoded ? relative : nil)
    }
}
