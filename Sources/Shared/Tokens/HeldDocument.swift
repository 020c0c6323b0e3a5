// A document that waits for its verdict: whether it is long enough, short enough, seen before. Up to 16 MiB wait in
// memory; what is longer waits in a nameless file beside the output.

internal import Bytes
internal import SystemPackage

struct HeldDocument {
    private let directory: FilePath
    private var memory: [UInt8] = []
    private var file: SpillFile?

    static let memoryBytes = 1 << 24

    init(directory: FilePath) { self.directory = directory }

    mutating func append(_ stored: ArraySlice<UInt8>) throws(Fault) {
        memory.append(contentsOf: stored)
        if memory.count < HeldDocument.memoryBytes { return }
        if file == nil { file = try SpillFile(in: directory) }
        try file?.append(memory)
        memory.removeAll(keepingCapacity: true)
    }

    /// The first bytes, at most `count`.
    func prefix(_ count: Int) throws(Fault) -> [UInt8] {
        if let file, file.size > 0 { return try file.read(at: 0, count: min(count, file.size)) }
        return Array(memory.prefix(count))
    }

    /// Hands everything to `body`, in pieces, and is empty afterwards.
    mutating func release(_ body: (ArraySlice<UInt8>) throws(Fault) -> Void) throws(Fault) {
        if let file, file.size > 0 {
            var offset = 0
            while offset < file.size {
                let count = min(1 << 18, file.size - offset)
                try body(try file.read(at: offset, count: count)[...])
                offset += count
            }
        }
        if !memory.isEmpty { try body(memory[...]) }
        try removeAll()
    }

    mutating func removeAll() throws(Fault) {
        memory.removeAll(keepingCapacity: memory.capacity <= 1 << 20)
        try file?.removeAll()
    }
}
