// Work spread over threads, results in the order of the input: what makes output byte-identical for any number of
// workers. The calling thread reads and writes; workers only compute. Memory is bounded: at most two items a worker
// are in flight.

private struct MapState<Input: Sendable, Output: Sendable> {
    var waiting: [(index: Int, item: Input)] = []
    var finished: [Int: Result<Output, any Error>] = [:]
    var isClosed = false
}

/// Calls `work` on each item that `next` gives, on `threads` worker threads (1 or fewer: on the calling thread), and
/// hands the results to `emit` in the order of the items. `next` and `emit` run on the calling thread. When `next` gives
/// nil there is nothing to do for now: it is asked again after each result, because a result may bring more work, and
/// the map ends when it gives nil and nothing is under way.
/// - Parameter makeWorker: called once on each worker thread; returns the function that does the work there, so that it
///   can own what is not shareable (a compressor).
/// - Throws: the first error in the order of the items.
public func orderedParallelMap<Input: Sendable, Output: Sendable>(
    threads: Int, next: () throws -> Input?,
    makeWorker: @escaping @Sendable () -> ((Input) throws -> Output), emit: (Output) throws -> Void
) throws {
    if threads <= 1 {
        let work = makeWorker()
        while let item = try next() { try emit(try work(item)) }
        return
    }
    let monitor = Monitor(MapState<Input, Output>())
    var workers: [WorkerThread] = []
    defer {
        monitor.update {
            $0.isClosed = true
            $0.waiting.removeAll()
        }
        for worker in workers { worker.join() }
    }
    for _ in 0..<threads {
        workers.append(
            try WorkerThread {
                let work = makeWorker()
                while true {
                    let job: (index: Int, item: Input)? = monitor.wait { state in
                        if !state.waiting.isEmpty { return .some(state.waiting.removeFirst()) }
                        return state.isClosed ? .some(nil) : nil
                    }
                    guard let job else { return }
                    let result = Result { try work(job.item) }
                    monitor.update { $0.finished[job.index] = result }
                }
            })
    }
    var submitted = 0
    var emitted = 0
    var inputError: (any Error)?
    while true {
        while inputError == nil && submitted - emitted < threads * 2 {
            let item: Input?
            do {
                item = try next()
            } catch {
                // What was read before it comes out first, as it does on one thread.
                inputError = error
                item = nil
            }
            guard let item else { break }
            let index = submitted
            monitor.update { $0.waiting.append((index, item)) }
            submitted += 1
        }
        if emitted == submitted {
            if let inputError { throw inputError }
            return
        }
        let index = emitted
        let result = monitor.wait { $0.finished.removeValue(forKey: index) }
        try emit(try result.get())
        emitted += 1
    }
}
