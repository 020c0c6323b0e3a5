// One run's checkpoint in another run: a run that is begun with a model made of an older run's has that run's best checkpoint
// until it has a better one.

public import Bytes
public import SystemPackage

extension Checkpoint {
    /// The run that this checkpoint is a step of, and which; nil when it lies elsewhere.
    public var place: (run: FilePath, step: Int)? {
        let path = FileSystem.absolute(path)
        guard let step = path.lastComponent.flatMap({ RunDirectory.step(of: $0.string) }) else { return nil }
        return (path.removingLastComponent(), step)
    }
}

extension RunDirectory {
    /// Builds a step that is another run's checkpoint, byte for byte, beside its place; `commit` publishes it. Its files get
    /// a second name (they are replaced, never changed), or are copied where the file system has no links.
    /// - Throws: `Fault`: it is damaged (bad data, naming what), or cannot be written.
    public func adopting(_ checkpoint: Checkpoint, step: Int) throws(Fault) -> CheckpointWriter {
        guard let manifest = checkpoint.manifest else { throw Checkpoint.missingManifest(checkpoint.path) }
        if let finding = checkpoint.verify().first { throw Fault(.badData, finding.message) }
        let writer = try CheckpointWriter(path(of: step))
        for file in manifest.files { try writer.adopt(file, from: checkpoint.path) }
        writer.expansions = manifest.expansions
        return writer
    }
}
