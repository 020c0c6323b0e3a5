// Threads that read ahead. What the stream needs next goes before what it will need later, so that the pipe never
// starves while a window is being read. Results are taken in the order they are asked for, whoever made them.

internal import Bytes
private import DequeModule

/// What a worker owns and lends to each job.
final class WorkerTools {
    let decompressor = ZstdDecompressor()
}

/// The result of a job, once it has been done.
final class Ticket<Value: Sendable>: Sendable {
    fileprivate let result = Monitor<Result<Value, any Error>?>(nil)

    /// Waits for the job.
    func value() throws -> Value { try result.wait { $0 }.get() }
}

/// A fixed number of worker threads over two queues. Close it before it goes away.
final class WorkPool {
    private typealias Job = @Sendable (WorkerTools) -> Void

    private struct Queues: Sendable {
        var urgent = Deque<Job>()
        var background = Deque<Job>()
        var isClosed = false
    }

    private let queues = Monitor(Queues())
    private var workers: [WorkerThread] = []

    init(threads: Int) throws(Fault) {
        for _ in 0..<max(1, threads) {
            workers.append(
                try WorkerThread { [queues] in
                    let tools = WorkerTools()
                    while true {
                        let job: Job? = queues.wait { queues in
                            if queues.isClosed { return .some(nil) }
                            if let job = queues.urgent.popFirst() ?? queues.background.popFirst() { return .some(job) }
                            return nil
                        }
                        guard let job else { return }
                        job(tools)
                    }
                })
        }
    }

    /// Jobs not yet begun are dropped; those under way are waited for.
    func close() {
        queues.update { $0.isClosed = true }
        for worker in workers { worker.join() }
        workers = []
    }

    func submit<Value: Sendable>(
        urgent: Bool, _ work: @escaping @Sendable (WorkerTools) throws -> Value
    ) -> Ticket<Value> {
        let ticket = Ticket<Value>()
        let job: Job = { tools in
            let result = Result { try work(tools) }
            ticket.result.update { $0 = result }
        }
        queues.update { queues in
            if urgent { queues.urgent.append(job) } else { queues.background.append(job) }
        }
        return ticket
    }
}
