// A safetensors file open for reading: the header is checked whole before anything else is believed, and tensors are
// read in pieces, so that memory does not grow with the file.

public import Bytes
public import SystemPackage

/// An open safetensors file (docs/formats/checkpoint.md).
public final class SafetensorsFile: Sendable {
    public let file: InputFile
    /// In the order of their bytes.
    public let tensors: [TensorEntry]
    /// The `__metadata__` of the header, strings to strings.
    public let metadata: [String: String]
    /// SHA-256 of the eight length bytes and the header.
    public let headerDigest: Digest
    private let positions: [String: Int]

    /// Opens a file and checks its header against every rule of the format.
    /// - Throws: `Fault`: no input, or bad data as `'FILE' at byte N: reason`.
    public init(_ path: FilePath) throws(Fault) {
        file = try InputFile(path)
        let prefix = try file.read(at: 0, count: min(8, file.size))
        let length = try SafetensorsHeader.length(prefix: prefix, fileSize: file.size, name: file.name)
        let bytes = try file.read(at: 8, count: length)
        let header = try SafetensorsHeader(parsing: bytes, fileSize: file.size, name: file.name)
        var hasher = DigestHasher()
        hasher.update(prefix)
        hasher.update(bytes)
        headerDigest = hasher.finish()
        tensors = header.tensors
        metadata = header.metadata
        var positions: [String: Int] = [:]
        for (position, tensor) in header.tensors.enumerated() { positions[tensor.name] = position }
        self.positions = positions
    }

    public subscript(name: String) -> TensorEntry? { positions[name].map { tensors[$0] } }

    /// Bytes before the first tensor: the length and the header.
    public var headerByteCount: Int { tensors.first?.byteRange.lowerBound ?? file.size }

    /// Reads a tensor in pieces of at most `chunk` bytes, in order.
    /// - Parameter body: is given the piece's offset in the tensor, in bytes, and the piece.
    public func read(
        _ entry: TensorEntry, chunk: Int = 1 << 20, _ body: (_ offset: Int, _ bytes: [UInt8]) throws -> Void
    ) throws {
        var reader = TensorReader(file, entry, expected: nil, chunk: chunk)
        try reader.forEach(body)
    }
}
