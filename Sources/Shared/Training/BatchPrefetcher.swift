// The batch for the next step is received and checked on a thread of its own while this one computes. Waiting is done
// in short turns, so that a signal is noticed although the pipe is silent.

public import Batches
public import Bytes

/// Reads a batch stream ahead of its consumer, at most `depth` batches.
public final class BatchPrefetcher: Sendable {
    /// What came out of the stream.
    public enum Item: Sendable {
        case batch(TokenBatch)
        /// DONE: the stream has ended as it should.
        case end
        case failure(Fault)
    }

    private struct State {
        var items: [Item] = []
        var isStopped = false
    }

    private let state: Monitor<State>

    /// Takes the reader over; nobody else may use it afterwards.
    public init(_ reader: sending BatchStreamReader, depth: Int = 2) throws(Fault) {
        let state = Monitor(State())
        self.state = state
        let box = Monitor<BatchStreamReader?>(reader)
        _ = try WorkerThread {
            guard var reader = box.update({ box in box.take() }) else { return }
            while true {
                let item: Item
                do throws(Fault) {
                    item = try reader.next().map(Item.batch) ?? .end
                } catch { item = .failure(error) }
                let goesOn = state.wait { state -> Bool? in
                    if state.isStopped { return false }
                    if state.items.count >= depth { return nil }
                    state.items.append(item)
                    if case .batch = item { return true }
                    return false
                }
                if !goesOn { return }
            }
        }
    }

    deinit { state.update { $0.isStopped = true } }

    /// The next item; nil when none arrived within `milliseconds`.
    public func next(milliseconds: Int) -> Item? {
        state.wait(milliseconds: milliseconds) { $0.items.isEmpty ? nil : $0.items.removeFirst() }
    }
}
