// What the commands that look at a model open: a checkpoint with all that is in it, or a file of another program.

import Bytes
import Checkpoints
import SystemPackage

/// A checkpoint directory, or one file of a readable format.
enum OpenedModel {
    case checkpoint(Checkpoint)
    case file(ForeignModel)

    /// - Parameter deep: of a run, the checkpoint that a resume goes on from.
    /// - Throws: `Fault`: no input, or bad data as `'FILE' at byte N: reason`.
    init(_ name: String, deep: Bool = false) throws(Fault) {
        self =
            FileSystem.kind(of: try typedPath(name)) == .file
            ? .file(try ForeignModel.named(name)) : .checkpoint(try Checkpoint.named(name, deep: deep))
    }

    var path: FilePath {
        switch self {
        case .checkpoint(let checkpoint): checkpoint.path
        case .file(let model): model.path
        }
    }

    var format: ForeignFormat {
        if case .file(let model) = self { model.format } else { .huggingFace }
    }

    var checkpoint: Checkpoint? {
        if case .checkpoint(let checkpoint) = self { checkpoint } else { nil }
    }

    /// Whether nobody vouches for it by a manifest.
    var isForeign: Bool { checkpoint?.isForeign ?? true }

    /// A checkpoint's in the order of its files, under their names in them; others' under Hugging Face's, in natural order.
    var tensors: [ModelTensor] {
        switch self {
        case .checkpoint(let checkpoint): checkpoint.model.tensors
        case .file(let model): model.tensors
        }
    }

    /// config.json, or what stands for it; nil for a file that has none.
    func configuration() throws(Fault) -> JSON? {
        switch self {
        case .checkpoint(let checkpoint): try checkpoint.configuration()
        case .file(let model): model.configuration
        }
    }

    /// state.json; nil where there is none.
    func state() throws(Fault) -> JSON? {
        guard let checkpoint, checkpoint.manifest?[Checkpoint.stateName] != nil else { return nil }
        return try checkpoint.state()
    }
}
