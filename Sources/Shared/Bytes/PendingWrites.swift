// Is what is being written still wanted? A tool that makes one large file has nothing to save when it is asked to stop: what it
// wrote so far is of no use to anybody, and it is removed. A run's checkpoint is finished instead, so nobody is asked there.

public import Synchronization

/// What is written and not published yet, of this process.
public enum PendingWrites {
    /// Asked before each piece is written and before anything is published: true ends the writing with an `interrupted` fault,
    /// and what was written is removed. nil: everything is finished.
    public static let interruptionProbe = Mutex<InterruptionProbe?>(nil)

    /// - Throws: `Fault` (interrupted) when what is being written is wanted no longer.
    public static func check() throws(Fault) {
        guard let probe = interruptionProbe.withLock({ $0 }), probe.isInterrupted() else { return }
        throw Fault(.interrupted, "interrupted before the output was whole: nothing of it is kept")
    }
}
