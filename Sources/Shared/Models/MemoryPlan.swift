// What a run will hold, said before it starts.

/// Named amounts of memory in bytes. Sizes that a file declares may be absurd: amounts stop at `limit` instead of
/// overflowing, so that a plan can always be printed and compared with the memory there is.
public struct MemoryPlan: Sendable, Equatable {
    /// 2^50: more than any machine has, and far from overflow.
    public static let limit = 1 << 50

    public private(set) var entries: [(name: String, bytes: Int)] = []
    public var total: Int { min(entries.reduce(0) { $0 + $1.bytes }, MemoryPlan.limit) }

    public init() {}

    public mutating func add(_ name: String, bytes: Int) { entries.append((name, min(bytes, MemoryPlan.limit))) }

    public static func == (left: MemoryPlan, right: MemoryPlan) -> Bool {
        left.entries.elementsEqual(right.entries) { $0 == $1 }
    }
}
