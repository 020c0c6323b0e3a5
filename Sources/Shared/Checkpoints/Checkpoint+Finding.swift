// From what a person typed to a checkpoint: its directory, a link to it, or the run whose latest it is.

public import Bytes
public import SystemPackage

extension Checkpoint {
    /// Opens the checkpoint at `path`; of a run directory, or of its `latest` before there is that link, the
    /// newest valid one. A run that is under way may be asked.
    /// - Parameters:
    ///   - deep: of a run, the one that a resume goes on from: every digest is recomputed.
    ///   - fellBack: called when a run stands for another checkpoint than its latest, with what was passed over.
    /// - Throws: `Fault`: no input when there is neither.
    public static func find(
        _ path: FilePath, deep: Bool = false, fellBack: (RunDirectory.Valid) -> Void = { _ in }
    ) throws(Fault) -> Checkpoint {
        let found = try whileStanding(path, isSettled: { $0.valid?.skipped.isEmpty ?? true }) { () throws(Fault) in
            try findOnce(path, deep: deep)
        }
        if let valid = found.valid, !valid.skipped.isEmpty { fellBack(valid) }
        return found.checkpoint
    }

    /// Opens and reads with `body` what stands at `path`, again when it failed and a run that is under way had put another checkpoint
    /// there meanwhile.
    /// - Parameters:
    ///   - path: a checkpoint, a link to one, or a run.
    ///   - isSettled: whether a result is none that such a change explains.
    public static func whileStanding<Result, Failure: Error>(
        _ path: FilePath, isSettled: (Result) -> Bool = { _ in true }, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // Somebody may save as fast as we look.
        for _ in 0..<100 {
            let before = Standing(path)
            do throws(Failure) {
                let result = try body()
                if isSettled(result) || Standing(path) == before { return result }
            } catch {
                if Standing(path) == before { throw error }
            }
        }
        return try body()
    }

    /// What `path` stands for at one moment.
    private struct Standing: Equatable {
        private let target: String?
        private let device: UInt64?
        private let node: UInt64?

        init(_ path: FilePath) {
            let path = RunDirectory.isRun(path) ? path.appending(RunDirectory.Link.latest.rawValue) : path
            target = FileSystem.linkTarget(path)
            let identity = FileSystem.identity(of: path)
            (device, node) = (identity?.device, identity?.node)
        }
    }

    /// - Returns: and, of a run, how it was found.
    private static func findOnce(
        _ path: FilePath, deep: Bool
    ) throws(Fault) -> (checkpoint: Checkpoint, valid: RunDirectory.Valid?) {
        // A run that was killed between its first checkpoint and the link to it has no `latest` yet; `--resume` goes on
        // all the same, and so must the command that asks for the cursor.
        if path.lastComponent?.string == RunDirectory.Link.latest.rawValue,
            FileSystem.kind(of: path, followingLinks: false) == nil, RunDirectory.isRun(path.parent)
        {
            return try findOnce(path.parent, deep: deep)
        }
        guard RunDirectory.isRun(path) else { return (try Checkpoint(path), nil) }
        guard let valid = try RunDirectory(path, access: .read).latestValid(deep: deep) else {
            throw Fault(.noInput, "\(quoted(path.string)) has no checkpoint yet")
        }
        return (valid.checkpoint, valid)
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
