// What a run will hold, said before it starts.

/// Named amounts of memory in bytes.
public struct MemoryPlan: Sendable, Equatable {
    public private(set) var entries: [(name: String, bytes: Int)] = []
    public var total: Int { entries.reduce(0) { $0 + $1.bytes } }

    public init() {}

    public mutating func add(_ name: String, bytes: Int) { entries.append((name, bytes)) }

    public static func == (left: MemoryPlan, right: MemoryPlan) -> Bool {
        left.entries.elementsEqual(right.entries) { $0 == $1 }
    }
}
