// What a checkpoint of a trainer holds, gathered in one value that another thread may write: the small files as bytes, the
// tensors as views of the trainer's own memory. Nothing is copied, so until the tensors have been read nobody may change
// them (`TrainingRun` sees to that before every update).

public import Bytes
public import Checkpoints
public import Kernels

/// The files of a checkpoint but its manifest.
public struct CheckpointContent: Sendable {
    /// A float32 tensor under the name that it has in its file.
    public struct NamedTensor: Sendable {
        public let name: String
        /// Outermost dimension first.
        public let shape: [Int]
        public let values: Tensor

        public init(name: String, shape: [Int], values: Tensor) {
            self.name = name
            self.shape = shape
            self.values = values
        }
    }

    private enum File: Sendable {
        case bytes([UInt8])
        case tensors([NamedTensor])
    }

    /// In the order in which they are written.
    private var files: [(name: String, content: File)] = []
    /// What the model has been through on its way to this shape, for the manifest; nil: nothing.
    public var expansions: JSON?

    public init() {}

    public mutating func add(_ bytes: [UInt8], as name: String) { files.append((name, .bytes(bytes))) }

    /// `config.json`, `state.json` and their like.
    public mutating func add(_ json: JSON, as name: String) { add(Array(json.pretty.utf8), as: name) }

    public mutating func add(_ tensors: [NamedTensor], as name: String) { files.append((name, .tensors(tensors))) }

    /// Elements that are scanned, hashed twice and written while they are in the cache: 256 KiB.
    private static let pieceCount = 1 << 16

    /// Writes every file. The same content gives the same bytes.
    /// - Returns: the name of the first tensor with a value that is infinite or not a number; nil when all are finite.
    @discardableResult
    public func write(_ writer: CheckpointWriter) throws -> String? {
        writer.expansions = expansions
        var nonFinite: String?
        for file in files {
            switch file.content {
            case .bytes(let bytes): try writer.write(bytes, to: file.name)
            case .tensors(let tensors):
                let sources = tensors.map { tensor in
                    TensorSource(name: tensor.name, dtype: .f32, shape: tensor.shape) { emit in
                        for piece in Self.pieces(of: tensor.values) {
                            if nonFinite == nil && !piece.isFinite { nonFinite = tensor.name }
                            try piece.withBytes(emit)
                        }
                    }
                }
                try writer.write(sources, to: file.name)
            }
        }
        return nonFinite
    }

    /// The name of the first tensor with a value that is infinite or not a number.
    public var firstNonFinite: String? { tensors.first { !$0.values.isFinite }?.name }

    /// Bytes on the disk, counted up: what headers and the manifest say of a tensor, and blocks that are not full.
    public var byteCount: Int {
        let block = 4096
        var manifest = 1024
        var sum = 0
        for file in files {
            var count = 0
            manifest += 512
            switch file.content {
            case .bytes(let bytes): count = bytes.count
            case .tensors(let tensors):
                for tensor in tensors {
                    let name = 6 * tensor.name.utf8.count
                    count += 4 * tensor.values.count + name + 128
                    manifest += name + 96
                }
            }
            sum += (count + 2 * block - 1) / block * block
        }
        // Two more: the directory, and a link's.
        return sum + (manifest + block - 1) / block * block + 2 * block
    }

    private var tensors: [NamedTensor] {
        var all: [NamedTensor] = []
        for file in files { if case .tensors(let tensors) = file.content { all += tensors } }
        return all
    }

    private static func pieces(of values: Tensor) -> [Tensor] {
        stride(from: 0, to: values.count, by: pieceCount).map {
            values.slice($0, min(pieceCount, values.count - $0))
        }
    }
}
