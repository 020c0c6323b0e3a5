// The batch for the next step is made, or received and checked, on a thread of its own while this one computes. Waiting is done
// in short turns, so that a signal is noticed although the pipe is silent.

internal import Batches
internal import Bytes
private import Tokens

/// Runs a source ahead of its consumer, at most `depth` batches.
final class BatchPrefetcher: Sendable {
    /// What came out of the source, in this order: a head, batches, then the end; or a failure at any point.
    enum Item: Sendable {
        case head(StreamHead)
        case batch(TokenBatch)
        /// The source has ended as it should.
        case end
        case failure(Fault)
    }

    private struct State {
        var items: [Item] = []
        var isStopped = false
    }

    private let state: Monitor<State>

    /// Bytes that a stream's batches take, about: those that wait, the one in use, and the one under way with its frame,
    /// which is gathered in an array of up to twice its size.
    static func bytes(_ head: StreamHead, depth: Int = BatchPrefetcher.depth) -> Int {
        head.rows * head.length * ((depth + 2) * 8 + 2 * 2 * head.type.byteCount)
    }

    /// Batches that are read ahead.
    static let depth = 2

    /// Takes the source over. The thread ends with the source or, once this object is gone, after the batch that it is at.
    init(_ source: any BatchSource, depth: Int = BatchPrefetcher.depth) throws(Fault) {
        let state = Monitor(State())
        self.state = state
        _ = try WorkerThread {
            /// Hands an item over when there is room; false when nobody wants more.
            func put(_ item: Item) -> Bool {
                state.wait { state -> Bool? in
                    if state.isStopped { return false }
                    if state.items.count >= depth { return nil }
                    state.items.append(item)
                    return true
                }
            }
            do {
                try source.run { item in
                    switch item {
                    case .head(let head): put(.head(head))
                    case .batch(let batch): put(.batch(batch))
                    }
                }
                _ = put(.end)
            } catch {
                _ = put(.failure(error as? Fault ?? Fault(.badData, "\(quoted(source.name)): \(error)")))
            }
        }
    }

    deinit { state.update { $0.isStopped = true } }

    /// The next item; nil when none arrived within `milliseconds`.
    func next(milliseconds: Int) -> Item? {
        state.wait(milliseconds: milliseconds) { $0.items.isEmpty ? nil : $0.items.removeFirst() }
    }
}
