// What a run will hold, said before it starts.

public import Bytes

/// Named amounts of memory in bytes. Sizes that a file declares may be absurd: amounts stop at `limit` instead of
/// overflowing, so that a plan can always be printed and compared with the memory there is.
public struct MemoryPlan: Sendable, Equatable {
    /// 2^50: more than any machine has, and far from overflow.
    public static let limit = 1 << 50

    public private(set) var entries: [(name: String, bytes: Int)] = []
    public var total: Int { min(entries.reduce(0) { $0 + $1.bytes }, MemoryPlan.limit) }

    public init() {}

    public mutating func add(_ name: String, bytes: Int) { entries.append((name, min(bytes, MemoryPlan.limit))) }

    /// Refuses what this process cannot get, before it is asked for: memory that is not there ends a process.
    /// - Throws: `Fault` (bad data).
    public func require(name: String) throws(Fault) {
        let limit = Host.memoryLimit
        guard total > limit else { return }
        let largest = entries.max { $0.bytes < $1.bytes }?.name ?? ""
        throw .badData(
            name,
            "the model needs \(total >> 20) MiB of memory, most of it for \(largest); there are \(limit >> 20) MiB",
            hint: "smaller parts of a batch (--micro-batches), --recompute and shorter rows need less")
    }

    public static func == (left: MemoryPlan, right: MemoryPlan) -> Bool {
        left.entries.elementsEqual(right.entries) { $0 == $1 }
    }
}
