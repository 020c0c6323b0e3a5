// From what a person typed to a checkpoint: its directory, a link to it, or the run whose latest it is.

public import Bytes
public import SystemPackage

extension Checkpoint {
    /// Opens the checkpoint at `path`; of a run directory, or of its `latest` before there is that link, the
    /// newest valid one (not `deep`).
    /// - Throws: `Fault`: no input when there is neither.
    public static func find(_ path: FilePath) throws(Fault) -> Checkpoint {
        // A run that was killed between its first checkpoint and the link to it has no `latest` yet; `--resume` goes on
        // all the same, and so must the command that asks for the cursor.
        if path.lastComponent?.string == RunDirectory.Link.latest.rawValue,
            FileSystem.kind(of: path, followingLinks: false) == nil, RunDirectory.isRun(path.parent)
        {
            return try find(path.parent)
        }
        guard RunDirectory.isRun(path) else { return try Checkpoint(path) }
        guard let valid = try RunDirectory(path, access: .read).latestValid(deep: false) else {
            throw Fault(.noInput, "\(quoted(path.string)) has no checkpoint yet")
        }
        return valid.checkpoint
    }
}

extension RunDirectory {
    /// Whether `path` is a directory with checkpoints in it rather than a checkpoint itself.
    public static func isRun(_ path: FilePath) -> Bool {
        guard FileSystem.kind(of: path) == .directory,
            FileSystem.kind(of: path.appending(Manifest.fileName)) == nil,
            FileSystem.kind(of: path.appending(Checkpoint.modelName)) == nil,
            let names = try? FileSystem.list(path)
        else { return false }
        return names.contains { step(of: $0) != nil || Link(rawValue: $0) != nil || $0 == ".lock" }
    }
}
