// The tensors of a model or of an optimizer, whether they lie in one file or in several, with or without digests.

public import Bytes

/// Named tensors over one or more safetensors files. Where the manifest has digests, reading checks them.
public final class TensorSet: Sendable {
    /// The files that hold the tensors.
    public let files: [SafetensorsFile]
    /// Every tensor, file by file in the order of its bytes.
    public let entries: [TensorEntry]
    private let places: [String: (file: SafetensorsFile, entry: TensorEntry)]
    private let digests: [String: Digest]

    /// - Throws: `Fault` (bad data) when two files hold a tensor of the same name.
    init(_ files: [SafetensorsFile], digests: [String: Digest]) throws(Fault) {
        self.files = files
        self.digests = digests
        var places: [String: (SafetensorsFile, TensorEntry)] = [:]
        for file in files {
            for entry in file.tensors {
                if let other = places.updateValue((file, entry), forKey: entry.name) {
                    throw .badData(
                        file.file.name, byte: entry.byteRange.lowerBound,
                        "tensor \(quoted(entry.name)) is in \(quoted(other.0.file.name)) too")
                }
            }
        }
        self.places = places
        entries = files.flatMap(\.tensors)
    }

    public subscript(name: String) -> TensorEntry? { places[name]?.entry }

    public var byteCount: Int { entries.reduce(0) { $0 + $1.byteCount } }
    public var elementCount: Int { entries.reduce(0) { $0 + $1.elementCount } }

    /// The SHA-256 that the manifest has for a tensor; nil for a foreign checkpoint.
    public func digest(of name: String) -> Digest? { digests[name] }

    /// A tensor's bytes on demand, `chunk` (a multiple of 8) at a time.
    /// - Throws: `Fault` (bad data) when there is no such tensor.
    public func reader(_ name: String, chunk: Int = 1 << 20) throws(Fault) -> TensorReader {
        guard let place = places[name] else {
            let names = files.map { quoted($0.file.name) }.joined(separator: ", ")
            throw Fault(.badData, "\(names): no tensor \(quoted(name))")
        }
        return TensorReader(place.file.file, place.entry, expected: digests[name], chunk: chunk)
    }

    /// A tensor's bytes in pieces of at most `chunk` bytes, in order; the last piece comes only after the digest was
    /// right.
    public func read(
        _ name: String, chunk: Int = 1 << 20, _ body: (_ offset: Int, _ bytes: [UInt8]) throws -> Void
    ) throws {
        var reader = try reader(name, chunk: chunk)
        try reader.forEach(body)
    }

    /// A floating-point tensor's values as float32 in pieces, in order, row-major.
    /// - Parameter body: is given the index of the piece's first element, and the values.
    /// - Throws: `Fault` (bad data) when the tensor is missing, is of another kind, or its digest differs.
    public func readFloats(
        _ name: String, chunk: Int = 1 << 20, _ body: (_ first: Int, _ values: [Float]) throws -> Void
    ) throws {
        var reader = try reader(name, chunk: chunk)
        let dtype = reader.entry.dtype
        let wrongType = reader.fault("expected dtype F32, BF16, F16 or F64, found \(dtype)")
        try reader.forEach { offset, bytes in
            guard let values = dtype.floats(bytes) else { throw wrongType }
            try body(offset * 8 / dtype.bitWidth, values)
        }
    }

    /// Fills `values` with a floating-point tensor of exactly that many elements.
    /// - Throws: `Fault` (bad data) also when the tensor has another shape than `shape`.
    public func read(_ name: String, shape: [Int], into values: inout MutableSpan<Float>) throws {
        var reader = try reader(name)
        let entry = reader.entry
        guard entry.shape == shape else { throw reader.fault("expected shape \(shape), found \(entry.shape)") }
        precondition(values.count == entry.elementCount, "\(values.count) values for \(name) of shape \(shape)")
        var next = 0
        while let bytes = try reader.next() {
            guard let piece = entry.dtype.floats(bytes) else {
                throw reader.fault("expected dtype F32, BF16, F16 or F64, found \(entry.dtype)")
            }
            for value in piece {
                values[next] = value
                next += 1
            }
        }
    }
}
