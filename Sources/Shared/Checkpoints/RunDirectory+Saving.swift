// Saving: build beside, publish in one rename, move the links; then let old checkpoints go, but never the last healthy
// one.

public import Bytes
public import SystemPackage

extension RunDirectory {
    static let nextSuffix = "next"
    static let previousSuffix = "previous"

    /// Builds a checkpoint, publishes it as `step-NNNNNNNN` and points the links at it.
    ///
    /// A step that is there already (a resumed run makes the same one again) is kept when it is valid and the new one
    /// has the same manifest, byte for byte; otherwise the new one takes its place, at no moment without one of them.
    /// - Returns: where it stands.
    /// - Throws: `Fault`, and what `build` throws; nothing has been published then.
    @discardableResult
    public func save(
        step: Int, links: Set<Link> = [.latest], build: (CheckpointWriter) throws -> Void
    ) throws -> FilePath {
        let place = path(of: step)
        if FileSystem.kind(of: place, followingLinks: false) == nil {
            let writer = try CheckpointWriter(place)
            try build(writer)
            try writer.commit()
        } else {
            try replace(place, build: build)
        }
        for link in Link.allCases where links.contains(link) { try point(link, at: step) }
        return place
    }

    private func replace(_ place: FilePath, build: (CheckpointWriter) throws -> Void) throws {
        let next = FilePath(place.string + "." + RunDirectory.nextSuffix)
        try FileSystem.remove(next)
        let writer = try CheckpointWriter(next)
        try build(writer)
        let manifest = try writer.finish()
        if let old = try? Checkpoint.readManifest(place), old == manifest, Checkpoint.verify(place).isEmpty { return }
        try writer.publish()
        if try FileSystem.exchange(next, place) {
            try FileSystem.synchronizeDirectory(path)
            try FileSystem.remove(next)
            return
        }
        // No exchange here: set the old one aside under a name that the next opening of the run puts back.
        let previous = FilePath(place.string + "." + RunDirectory.previousSuffix)
        try FileSystem.remove(previous)
        try FileSystem.rename(place, to: previous)
        try FileSystem.synchronizeDirectory(path)
        try FileSystem.rename(next, to: place)
        try FileSystem.synchronizeDirectory(path)
        try FileSystem.remove(previous)
    }

    /// Removes all but the `keep` newest checkpoints. Those that a link points at stay, and so does the newest valid
    /// one when none of the others is valid.
    /// - Parameter keep: at least 1.
    /// - Returns: the steps that were removed, oldest first.
    @discardableResult
    public func retain(_ keep: Int) throws(Fault) -> [Int] {
        precondition(keep >= 1, "at least one checkpoint is kept, not \(keep)")
        let steps = try steps().map(\.step)
        let linked = Set(Link.allCases.compactMap { step(of: $0) })
        var removed = steps.dropLast(keep).filter { !linked.contains($0) }
        func isValid(_ step: Int) -> Bool { (try? Checkpoint(path(of: step))) != nil }
        if !steps.contains(where: { !removed.contains($0) && isValid($0) }) {
            if let spared = removed.last(where: isValid) { removed.removeAll { $0 == spared } }
        }
        for step in removed { try remove(step) }
        return removed
    }

    /// Whether a link points at a step's checkpoint.
    public func isLinked(_ step: Int) -> Bool { Link.allCases.contains { self.step(of: $0) == step } }

    /// Removes a step's checkpoint, which no link may point at.
    public func remove(_ step: Int) throws(Fault) {
        precondition(!isLinked(step), "step \(step) is linked")
        // First out of sight in one rename: a kill while its files go leaves no half checkpoint under the name.
        let place = path(of: step)
        let trash = FilePath(place.string + FileSystem.temporarySuffix())
        try FileSystem.rename(place, to: trash)
        try FileSystem.remove(trash)
    }
}
