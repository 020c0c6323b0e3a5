// What becomes of the checkpoints of one process: which are good, which are there only for having been the best, which have
// to go.

internal import Bytes
public import Checkpoints
private import Synchronization
public import SystemPackage

/// Saves checkpoints into a run's directory, moves its links and keeps what is to be kept. `TrainingRun` has one; whoever
/// trains in a loop of their own makes one.
///
/// ```swift
/// let store = CheckpointStore(try RunDirectory("run", access: .write), keepLast: 2)
/// try store.save(trainer.content, step: trainer.state.step)
/// // The next step found a finite loss with those parameters: `last-good`.
/// try store.promote(trainer.state.step - 1)
/// ```
///
/// docs/api.md has a whole loop around it.
///
/// One call after the other, though from any thread.
public final class CheckpointStore: Sendable {
    /// A checkpoint that is on the disk, links and all.
    public struct Saved: Sendable {
        public let step: Int
        public let path: FilePath
        /// A tensor with a value that is infinite or not a number, if there is one.
        public let nonFinite: String?
    }

    private struct State {
        /// Checkpoints that are there only because they were the best.
        var bestSteps: Set<Int> = []
        /// The last step known to hold a value that is not finite.
        var badStep: Int?
        var saved: [Saved] = []
    }

    public let directory: RunDirectory
    private let keepLast: Int
    private let keepEvery: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - keepLast: newest checkpoints that stay; 0 = all, or with `keepEvery` one.
    ///   - keepEvery: those whose step is a multiple of it stay too; 0 = none.
    public init(_ directory: RunDirectory, keepLast: Int = 0, keepEvery: Int = 0) {
        self.directory = directory
        self.keepLast = keepLast == 0 && keepEvery > 0 ? 1 : keepLast
        self.keepEvery = keepEvery
    }

    /// What has become durable since the last call, oldest first.
    public func takeSaved() -> [Saved] {
        state.withLock { state in
            defer { state.saved = [] }
            return state.saved
        }
    }

    /// Writes a checkpoint, publishes it in one rename and moves the links; `last-good` only if every value is finite.
    /// - Parameters:
    ///   - isBest: `best` is to point at it.
    ///   - isProven: a finite loss was computed with its parameters.
    ///   - isOnlyBest: it goes when it is the best no more.
    ///   - spared: a step that stays although no link points at it yet.
    ///   - didRead: called when the tensors have been read and may change again.
    /// - Throws: `Fault` naming the file; no link has moved then.
    public func save(
        _ content: CheckpointContent, step: Int, isBest: Bool = false, isProven: Bool = false,
        isOnlyBest: Bool = false, sparing spared: Int? = nil, didRead: () -> Void = {}
    ) throws {
        var nonFinite: String?
        let path = try directory.save(
            step: step, links: [], needing: content.byteCount,
            build: { nonFinite = try content.write($0) }, whenBuilt: didRead)
        state.withLock {
            if isOnlyBest { $0.bestSteps.insert(step) }
            $0.badStep = nonFinite == nil ? nil : step
        }
        // `latest` last: a run that is killed before it moved makes this step again, and the other links with it.
        if isBest { try directory.point(.best, at: step) }
        if isProven && nonFinite == nil { try directory.point(.lastGood, at: step) }
        try directory.point(.latest, at: step)
        try removeOld(sparing: spared)
        state.withLock { $0.saved.append(Saved(step: step, path: path, nonFinite: nonFinite)) }
    }

    /// A finite loss was computed with the parameters of a step that is saved: it is good, if all of it is finite.
    public func promote(_ step: Int) throws {
        // Somebody may have removed it meanwhile.
        if state.withLock({ $0.badStep == step }) || FileSystem.kind(of: directory.path(of: step)) == nil { return }
        try directory.point(.lastGood, at: step)
        try removeOld()
    }

    private func removeOld(sparing spared: Int? = nil) throws {
        for step in state.withLock({ $0.bestSteps }) where !directory.isLinked(step) && step != spared {
            state.withLock { _ = $0.bestSteps.remove(step) }
            if keepEvery == 0 || step % keepEvery != 0 { try directory.remove(step) }
        }
        if keepLast > 0 { try directory.retain(last: keepLast, every: keepEvery, sparing: spared) }
    }
}
