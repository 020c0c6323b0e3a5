// How far two tensors are apart, in one streaming pass over both, so that two models of any size and of any formats can be
// compared in a few megabytes.

public import Bytes

/// The difference of two tensors of one shape, in float64.
public struct TensorDifference: Sendable, Equatable {
    /// Same dtype, and every bit the same.
    public let hasEqualBits: Bool
    /// max |a − b|; NaN when exactly one of two values is NaN. nil for types that are not decoded (float8 and smaller).
    public let maximumAbsolute: Double?
    /// max |a − b| / max(|a|, |b|) over the elements that differ; 0 when none does.
    public let maximumRelative: Double?
    /// ‖a − b‖ / ‖a‖ (Euclidean); 0 when both are zero, infinite when only a is.
    public let relativeL2: Double?

    /// Reads both tensors to the end, digests checked on the way where there are any.
    /// - Throws: `Fault`: a tensor is missing, damaged, or the shapes differ.
    public static func of(_ name: String, _ a: TensorSet, _ b: TensorSet) throws -> TensorDifference {
        try of(a.require(name), b.require(name))
    }

    /// Reads both tensors to the end, digests checked on the way where there are any.
    /// - Throws: `Fault`: a tensor is damaged, or the shapes differ.
    public static func of(_ a: ModelTensor, _ b: ModelTensor) throws(Fault) -> TensorDifference {
        guard a.shape == b.shape else {
            throw Fault(.badData, "tensor \(quoted(a.name)): shapes \(a.shape) and \(b.shape) differ")
        }
        var (first, second) = (a.reader(), b.reader())
        var sums = Sums()
        var hasEqualBits = a.dtype == b.dtype
        let isFloat32 = hasEqualBits && a.dtype == .f32
        var isDecoded = true
        while let left = try first.next(), let right = try second.next() {
            if isFloat32 {
                // The usual case without arrays of float64 in between.
                sums.add([UInt32](littleEndianBytes: left[...]), [UInt32](littleEndianBytes: right[...]))
            } else if let x = a.dtype.doubles(left), let y = b.dtype.doubles(right) {
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
            maximumRelative: isDecoded ? sums.maximumRelative : nil,
            relativeL2: isDecoded ? sums.relativeL2 : nil)
    }
}

/// What is added up over the elements of two tensors.
private struct Sums {
    var maximum = 0.0
    var maximumRelative = 0.0
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
        // Once NaN, a maximum stays NaN.
        if !(difference <= maximum) && !maximum.isNaN { maximum = difference }
        let relative = difference / max(abs(x), abs(y))
        if !(relative <= maximumRelative) && !maximumRelative.isNaN { maximumRelative = relative }
        squaredDifference += difference * difference
    }
}

extension TensorSet {
    /// The tensor of that name.
    /// - Throws: `Fault` (bad data) when there is none.
    fileprivate func require(_ name: String) throws(Fault) -> ModelTensor {
        guard let tensor = tensors.first(where: { $0.name == name }) else {
            throw Fault(
                .badData, "\(files.map { quoted($0.file.name) }.joined(separator: ", ")): no tensor \(quoted(name))")
        }
        return tensor
    }
}
