// Writes a safetensors file in one pass, tensor by tensor, with every digest the manifest needs. The layout is the
// reference writer's (dtype descending, then name; header padded to 8), so that the same tensors give the same bytes.

public import Bytes
public import SystemPackage

/// What was written, as the manifest records it.
public struct WrittenTensors: Sendable, Equatable {
    /// Bytes of the whole file.
    public let byteCount: Int
    /// SHA-256 of the whole file.
    public let digest: Digest
    /// SHA-256 of the length bytes and the header.
    public let headerDigest: Digest
    /// SHA-256 of each tensor's bytes, in file order.
    public let tensors: [TensorDigest]
}

/// A tensor's name and the SHA-256 of its bytes.
public struct TensorDigest: Sendable, Hashable {
    public let name: String
    public let digest: Digest
}

public enum SafetensorsWriter {
    /// Writes `tensors` to `path`, whole or not at all.
    ///
    /// Names must differ, and each source must give exactly the bytes of its shape: anything else is a programmer's
    /// slip and traps.
    /// - Parameters:
    ///   - metadata: strings for `__metadata__`, written in order of their keys.
    ///   - durable: false when the caller publishes a whole directory afterwards.
    /// - Throws: `Fault` when the file cannot be created or written, and what a source throws.
    public static func write(
        to path: FilePath, tensors: [TensorSource], metadata: [String: String] = [:], durable: Bool = true
    ) throws -> WrittenTensors {
        let file = try AtomicFile(path, permissions: .ownerReadWrite)
        let written = try fill(file, tensors: tensors, metadata: metadata)
        try file.commit(durable: durable)
        return written
    }

    /// As `write`, into a file that the caller commits.
    static func fill(
        _ file: AtomicFile, tensors: [TensorSource], metadata: [String: String]
    ) throws -> WrittenTensors {
        let sorted = tensors.sorted {
            $0.dtype != $1.dtype
                ? $0.dtype > $1.dtype : $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
        }
        let (header, sizes) = header(sorted, metadata)
        var whole = DigestHasher()
        try file.write(header)
        whole.update(header)
        var digests: [TensorDigest] = []
        for (tensor, size) in zip(sorted, sizes) {
            var hasher = DigestHasher()
            var written = 0
            try tensor.forEachChunk { chunk in
                written += chunk.byteCount
                precondition(written <= size, "tensor \(tensor.name) has \(size) bytes, its source gives \(written)")
                try file.write(chunk)
                hasher.update(chunk)
                whole.update(chunk)
            }
            precondition(written == size, "tensor \(tensor.name) has \(size) bytes, its source gives \(written)")
            digests.append(TensorDigest(name: tensor.name, digest: hasher.finish()))
        }
        return WrittenTensors(
            byteCount: file.bytesWritten, digest: whole.finish(), headerDigest: Digest.of(header), tensors: digests)
    }

    /// The length, the header and its padding; and each tensor's size in bytes.
    private static func header(
        _ tensors: [TensorSource], _ metadata: [String: String]
    ) -> (bytes: [UInt8], sizes: [Int]) {
        var header = JSONObject()
        if !metadata.isEmpty {
            var object = JSONObject()
            for key in metadata.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
                object[key] = metadata[key].map { JSON.string($0) }
            }
            header["__metadata__"] = .object(object)
        }
        var sizes: [Int] = []
        var offset = 0
        for tensor in tensors {
            guard let size = TensorEntry.checkedByteCount(tensor.dtype, tensor.shape) else {
                preconditionFailure("tensor \(tensor.name) of shape \(tensor.shape) has no size in bytes")
            }
            precondition(header[tensor.name] == nil, "tensor \(tensor.name) is written twice")
            header[tensor.name] = [
                "dtype": .string(tensor.dtype.rawValue),
                "shape": .array(tensor.shape.map { .integer($0) }),
                "data_offsets": [.integer(offset), .integer(offset + size)],
            ]
            sizes.append(size)
            offset += size
        }
        var text = Array(JSON.object(header).compact.utf8)
        while text.count % 8 != 0 { text.append(0x20) }
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt64(text.count))
        return (bytes + text, sizes)
    }
}
