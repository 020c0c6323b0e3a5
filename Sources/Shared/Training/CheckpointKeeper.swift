// What becomes of the checkpoints of one process: which are good, which are there only for having been the best, which have
// to go. `SavingThread` calls it, one call after the other.

internal import Bytes
internal import Checkpoints
private import Synchronization
internal import SystemPackage

final class CheckpointKeeper: Sendable {
    /// A checkpoint that is on the disk, links and all.
    struct Saved: Sendable {
        let step: Int
        let path: FilePath
        /// A tensor with a value that is infinite or not a number, if there is one.
        let nonFinite: String?
    }

    private struct State {
        /// Checkpoints that are there only because they were the best.
        var bestSteps: Set<Int> = []
        /// The last step known to hold a value that is not finite.
        var badStep: Int?
        var saved: [Saved] = []
    }

    private let directory: RunDirectory
    private let keepLast: Int
    private let keepEvery: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - keepLast: newest checkpoints that stay; 0 = all, or with `keepEvery` one.
    ///   - keepEvery: those whose step is a multiple of it stay too; 0 = none.
    init(_ directory: RunDirectory, keepLast: Int, keepEvery: Int) {
        self.directory = directory
        self.keepLast = keepLast == 0 && keepEvery > 0 ? 1 : keepLast
        self.keepEvery = keepEvery
    }

    /// What has become durable since the last call, oldest first.
    func takeSaved() -> [Saved] {
        state.withLock { state in
            defer { state.saved = [] }
            return state.saved
        }
    }

    /// Writes a checkpoint and moves its links; `last-good` only if every value is finite.
    /// - Parameters:
    ///   - isProven: a finite loss was computed with its parameters.
    ///   - isOnlyBest: it goes when it is the best no more.
    ///   - didRead: called when the tensors have been read.
    func save(
        _ content: CheckpointContent, step: Int, isBest: Bool, isProven: Bool, isOnlyBest: Bool,
        didRead: () -> Void
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
        try removeOld()
        state.withLock { $0.saved.append(Saved(step: step, path: path, nonFinite: nonFinite)) }
    }

    /// A finite loss was computed with the parameters of a step that is saved: it is good, if all of it is finite.
    func promote(_ step: Int) throws {
        if state.withLock({ $0.badStep == step }) { return }
        try directory.point(.lastGood, at: step)
        try removeOld()
    }

    private func removeOld() throws {
        for step in state.withLock({ $0.bestSteps }) where !directory.isLinked(step) {
            state.withLock { _ = $0.bestSteps.remove(step) }
            if keepEvery == 0 || step % keepEvery != 0 { try directory.remove(step) }
        }
        if keepLast > 0 { try directory.retain(last: keepLast, every: keepEvery) }
    }
}
