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
    /// - Parameters:
    ///   - bytes: what the checkpoint will take, if that is known: without room for it nothing is begun.
    ///   - whenBuilt: called when `build` has returned, before anything is flushed or published.
    /// - Returns: where it stands.
    /// - Throws: `Fault`, and what `build` throws; nothing has been published then.
    @discardableResult
    public func save(
        step: Int, links: Set<Link> = [.latest], needing bytes: Int = 0,
        build: (CheckpointWriter) throws -> Void, whenBuilt: () -> Void = {}
    ) throws -> FilePath {
        let place = path(of: step)
        try requireSpace(bytes, for: step)
        if FileSystem.kind(of: place, followingLinks: false) == nil {
            let writer = try CheckpointWriter(place)
            try build(writer)
            whenBuilt()
            try writer.commit()
        } else {
            try RunDirectory.replace(place, build: build, whenBuilt: whenBuilt)
        }
        // `latest` last: a run that is killed before it moved makes this step again, and the other links with it.
        for link in [Link.best, .lastGood, .latest] where links.contains(link) { try point(link, at: step) }
        return place
    }

    /// Refuses to begin a checkpoint that there is no room for.
    /// - Parameters:
    ///   - bytes: what it will take.
    ///   - step: its step.
    /// - Throws: `Fault` (cannot create) with both numbers, and what would make room.
    public func requireSpace(_ bytes: Int, for step: Int) throws(Fault) {
        // Retention begins after a save, and this is before one: what is there already must be removed by hand.
        func remedy() -> String {
            guard let old = try? superfluous(last: 1), !old.isEmpty else { return "make room" }
            return
                "ckpt-tool prune \(printable(self.path.string)) --keep-last 1 removes \(old.count) older checkpoints; "
                + "train-step --keep-last N removes them after each save"
        }
        try FileSystem.requireSpace(bytes, for: path(of: step), remedy: remedy())
    }

    /// Puts a new checkpoint in the place of one that is there.
    static func replace(
        _ place: FilePath, build: (CheckpointWriter) throws -> Void, whenBuilt: () -> Void = {}
    ) throws {
        let path = place.removingLastComponent().isEmpty ? FilePath(".") : place.removingLastComponent()
        let next = FilePath(place.string + "." + RunDirectory.nextSuffix)
        try FileSystem.remove(next)
        let writer = try CheckpointWriter(next)
        try build(writer)
        whenBuilt()
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

    /// Removes what `superfluous` finds.
    /// - Returns: the steps that were removed, oldest first.
    @discardableResult
    public func retain(last: Int, every: Int = 0, sparing spared: Int? = nil) throws(Fault) -> [Int] {
        let removed = try superfluous(last: last, every: every).filter { $0 != spared }
        for step in removed { try remove(step) }
        return removed
    }

    /// All but the `last` newest checkpoints and those whose step is a multiple of `every`. Those that a link points at
    /// stay, and so does the newest valid one when none of the others is valid.
    /// - Parameters:
    ///   - last: at least 1.
    ///   - every: 0 keeps no multiples.
    ///   - isValid: asked of those that stay, newest first, until it says yes of one; then of the others. nil: whether it
    ///     opens (manifest, sizes and headers), which is no proof that its tensors are what was written.
    /// - Returns: steps, oldest first.
    public func superfluous(
        last: Int, every: Int = 0, isValid: ((_ step: Int) -> Bool)? = nil
    ) throws(Fault) -> [Int] {
        precondition(last >= 1, "at least one checkpoint is kept, not \(last)")
        let steps = try steps().map(\.step)
        let linked = Set(Link.allCases.compactMap { step(of: $0) })
        var removed = steps.dropLast(last).filter { !linked.contains($0) && !(every > 0 && $0 % every == 0) }
        if removed.isEmpty { return [] }
        let isValid = isValid ?? { (try? Checkpoint(self.path(of: $0))) != nil }
        if !steps.reversed().contains(where: { !removed.contains($0) && isValid($0) }) {
            if let spared = removed.last(where: isValid) { removed.removeAll { $0 == spared } }
        }
        return removed
    }

    /// Whether a link points at a step's checkpoint.
    public func isLinked(_ step: Int) -> Bool { Link.allCases.contains { self.step(of: $0) == step } }

    /// Removes a step's checkpoint, which no link may point at.
    public func remove(_ step: Int) throws(Fault) {
        precondition(!isLinked(step), "step \(step) is linked")
        // First out of sight in one rename, and that flushed: a kill or a power loss while its files go leaves no half
        // checkpoint under the name.
        let place = path(of: step)
        let trash = FilePath(place.string + FileSystem.temporarySuffix())
        try FileSystem.rename(place, to: trash)
        try FileSystem.synchronizeDirectory(place.parent)
        try FileSystem.remove(trash)
    }
}
