// Saving beside training. A thread of its own does what a run asks of its directory, one thing after the other in the order
// asked, so what is true of the directory after each is what would be true had the loop done it. Tensors are not copied:
// the thread reads the trainer's own while the next step computes its gradient, and only the update, which would change
// them, waits until they are read. What takes long after that, flushing, renaming and removing, the loop never waits for.

internal import Bytes

/// A queue of jobs and the thread that does them.
final class SavingThread: Sendable {
    /// What is to be done; it calls its argument when it has read the tensors that the loop owns.
    typealias Job = @Sendable (_ didRead: () -> Void) throws -> Void

    private struct State {
        var jobs: [Job] = []
        var isWorking = false
        /// Whether tensors are being read, or will be.
        var isReading = false
        var failure: (any Error)?
        var isStopped = false
        var isIdle: Bool { jobs.isEmpty && !isWorking }
    }

    private let state: Monitor<State>
    private let thread: WorkerThread

    init() throws(Fault) {
        let state = Monitor(State())
        self.state = state
        thread = try WorkerThread {
            while true {
                let job = state.wait { state -> Job?? in
                    if let job = state.jobs.first {
                        state.jobs.removeFirst()
                        state.isWorking = true
                        return .some(job)
                    }
                    return state.isStopped ? .some(nil) : nil
                }
                guard let job else { return }
                do {
                    try job { state.update { $0.isReading = false } }
                    state.update { $0.isWorking = false }
                } catch {
                    // What was to follow would build on what did not happen.
                    state.update {
                        $0.failure = $0.failure ?? error
                        $0.jobs = []
                        $0.isWorking = false
                        $0.isReading = false
                    }
                }
            }
        }
    }

    /// Ends when all is done.
    deinit {
        state.update { $0.isStopped = true }
        thread.join()
    }

    /// - Parameter reads: whether the job reads tensors that the loop owns.
    func enqueue(reads: Bool = false, _ job: @escaping Job) {
        state.update {
            $0.jobs.append(job)
            if reads { $0.isReading = true }
        }
    }

    /// Waits until tensors may be changed.
    func waitUntilRead() { state.wait { $0.isReading ? nil : () } }

    /// Waits until all is done.
    /// - Throws: what the first job that failed threw; those after it were not done.
    func drain() throws {
        state.wait { $0.isIdle ? () : nil }
        try check()
    }

    /// Throws what a job threw since the last time, without waiting.
    func check() throws {
        let failure = state.update { state in
            defer { state.failure = nil }
            return state.failure
        }
        if let failure { throw failure }
    }
}
