// What to go on from after anything may have happened: `latest` when it is valid, else `last-good`, else the newest step
// that is, with the reason for every one that was passed over.

public import Bytes
internal import SystemPackage

extension RunDirectory {
    /// A checkpoint that was passed over and why.
    public struct Skipped: Sendable, Hashable {
        /// `latest` or `step-00001000`
        public let name: String
        public let reason: String
        /// How often its model was made larger, as far as its manifest can be read.
        public let expansions: Int

        init(name: String, reason: String, at path: FilePath? = nil) {
            self.name = name
            self.reason = reason
            let manifest = path.flatMap { try? Checkpoint.readManifest($0) }
            expansions = manifest?.expansions?.arrayValue?.count ?? 0
        }
    }

    /// The checkpoint to go on from.
    public struct Valid: Sendable {
        public let checkpoint: Checkpoint
        public let step: Int
        public let skipped: [Skipped]
        /// Whether `last-good` points at it.
        public let isLastGood: Bool
    }

    /// The checkpoint that `latest` points at, or, when that one is broken or the link is, the one that `last-good` points
    /// at, or else the newest valid step.
    ///
    /// A newer step than `latest` is used only then: a run that was killed between publishing a checkpoint and moving
    /// the link goes on from the link, as the cursor does that a shell read through it, and makes the same step again.
    /// - Parameter deep: recomputes every digest (reads everything once); otherwise manifest, sizes and headers.
    /// - Returns: nil when the run has no checkpoint at all.
    /// - Throws: `Fault` (bad data) when there are checkpoints and none is valid.
    public func latestValid(deep: Bool = true) throws(Fault) -> Valid? {
        var skipped: [Skipped] = []
        var candidates = try steps().map(\.step).reversed() as [Int]
        let link = path.appending(Link.latest.rawValue)
        // Before the newest one, which nobody has computed with, the one known to be healthy.
        if let step = step(of: .lastGood), let index = candidates.firstIndex(of: step) {
            candidates.insert(candidates.remove(at: index), at: 0)
        }
        if let step = step(of: .latest), let index = candidates.firstIndex(of: step) {
            candidates.insert(candidates.remove(at: index), at: 0)
        } else if FileSystem.kind(of: link, followingLinks: false) != nil {
            let target = FileSystem.linkTarget(link)
            skipped.append(
                Skipped(
                    name: Link.latest.rawValue,
                    reason: target.map {
                        let trouble = RunDirectory.step(of: $0) == nil ? "no checkpoint of the run" : "not there"
                        return "points at \(quoted($0)), which is \(trouble)"
                    } ?? "is no symbolic link"))
        }
        for step in candidates {
            let path = path(of: step)
            do throws(Fault) {
                if FileSystem.kind(of: path.appending(Manifest.fileName)) == nil {
                    throw Checkpoint.missingManifest(path)
                }
                if deep, let finding = Checkpoint.verify(path).first {
                    throw Fault(.badData, finding.message)
                }
                return Valid(
                    checkpoint: try Checkpoint(path), step: step, skipped: skipped,
                    isLastGood: self.step(of: .lastGood) == step)
            } catch {
                skipped.append(Skipped(name: RunDirectory.name(of: step), reason: error.message, at: path))
            }
        }
        if skipped.isEmpty { return nil }
        throw Fault(
            .badData,
            "\(quoted(path.string)) has no valid checkpoint: "
                + skipped.map { "\($0.name): \($0.reason)" }.joined(separator: "; "))
    }

    /// Files of the run beside its checkpoints that are replaced in one rename.
    private static let records = ["run.json", "metrics.jsonl"]

    /// Finishes or undoes what a killed writer of ours began; leaves every other name alone.
    func cleanUp() throws(Fault) {
        let names = try FileSystem.list(path)
        for name in names {
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count > 1 else { continue }
            let stem = String(parts[0])
            let isStep = RunDirectory.step(of: stem) != nil
            let isLink = Link(rawValue: stem) != nil
            let isTemporary = parts.count >= 3 && parts.last == "tmp"
            let isRecord = RunDirectory.records.contains { name.hasPrefix($0 + ".") }
            if (isStep || isLink || isRecord) && isTemporary {
                try FileSystem.remove(path.appending(name))
            } else if isStep && parts.count == 2 && parts[1] == RunDirectory.previousSuffix {
                // Set aside while its successor took its place. Without the successor it is the step.
                if FileSystem.kind(of: path.appending(stem)) == nil {
                    try FileSystem.rename(path.appending(name), to: path.appending(stem))
                    try FileSystem.synchronizeDirectory(path)
                } else {
                    try FileSystem.remove(path.appending(name))
                }
            } else if isStep && parts.count == 2 && parts[1] == RunDirectory.nextSuffix {
                // Either a successor that did not take its place yet (its step is saved again by the resumed run) or
                // the one that it replaced.
                try FileSystem.remove(path.appending(name))
            }
        }
    }
}
