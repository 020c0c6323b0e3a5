// The batch for the next step is received and checked on a thread of its own while this one computes. Waiting is done
// in short turns, so that a signal is noticed although the pipe is silent.

public import Batches
public import Bytes
private import Tokens

/// Reads a batch stream ahead of its consumer, at most `depth` batches.
public final class BatchPrefetcher: Sendable {
    /// What came out of the stream, in this order: a head, batches, then the end; or a failure at any point.
    public enum Item: Sendable {
        case head(StreamHead)
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

    /// Bytes that a stream's batches take, about: those that wait, the one in use, and the one under way with its frame,
    /// which is gathered in an array of up to twice its size.
    static func bytes(_ head: StreamHead, depth: Int = BatchPrefetcher.depth) -> Int {
        head.rows * head.length * ((depth + 2) * 8 + 2 * 2 * head.type.byteCount)
    }

    /// Batches that are read ahead.
    public static let depth = 2

    /// Takes the source over; nobody else may read from it afterwards. The thread ends with the stream or, once this
    /// object is gone, after the read that it is in.
    public init(_ source: any ByteSource & Sendable, depth: Int = BatchPrefetcher.depth) throws(Fault) {
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
            do throws(Fault) {
                var reader = try BatchStreamReader(source)
                if !put(.head(reader.head)) { return }
                while let batch = try reader.next() {
                    if !put(.batch(batch)) { return }
                }
                _ = put(.end)
            } catch { _ = put(.failure(error)) }
        }
    }

    deinit { state.update { $0.isStopped = true } }

    /// The next item; nil when none arrived within `milliseconds`.
    public func next(milliseconds: Int) -> Item? {
        state.wait(milliseconds: milliseconds) { $0.items.isEmpty ? nil : $0.items.removeFirst() }
    }
}
