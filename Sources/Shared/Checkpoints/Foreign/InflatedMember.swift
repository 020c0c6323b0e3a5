// A compressed member of an archive, read at any place as if it were a file of its own. Its beginning, where the head of an
// array is, is decoded at once; the whole when more is asked for, into a file without a name, because views of tensors read
// in other orders than the stream's.

internal import Bytes
private import Synchronization

/// The content of a compressed member.
final class InflatedMember: RangedSource {
    let size: Int
    private let member: String
    private let file: InputFile
    private let range: Range<Int>
    private let store: InflatedStore
    private let head: [UInt8]

    /// Longer than the longest head of an array.
    private static let headCount = 16 << 10

    /// - Parameters:
    ///   - size: bytes that the archive says it decodes to.
    ///   - range: of the compressed bytes in `file`.
    /// - Throws: `Fault` (bad data) when its beginning does not decode.
    init(_ member: String, size: Int, of file: InputFile, at range: Range<Int>, in store: InflatedStore) throws(Fault) {
        self.member = member
        self.size = size
        self.file = file
        self.range = range
        self.store = store
        let source = DeflateSource(file, range)
        var head: [UInt8] = []
        let wanted = min(size, InflatedMember.headCount)
        while head.count < wanted, case let bytes = try source.read(upTo: wanted - head.count), !bytes.isEmpty {
            head += bytes
        }
        self.head = head
        if head.count < wanted { throw wrongSize }
    }

    var name: String { "\(file.name)/\(member)" }

    private var wrongSize: Fault {
        .badData(
            file.name, byte: range.lowerBound, "member \(quoted(member)) does not have the \(size) bytes it should")
    }

    func read(at offset: Int, count: Int) throws(Fault) -> [UInt8] {
        guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
            throw .badData(name, byte: size, "expected \(count) bytes at byte \(offset), found the end of the member")
        }
        if offset + count <= head.count { return Array(head[offset..<offset + count]) }
        return try store.read(range.lowerBound, at: offset, count: count) { spill throws(Fault) in
            let source = DeflateSource(file, range)
            var rest = size
            while case let bytes = try source.read(upTo: 1 << 18), !bytes.isEmpty {
                if bytes.count > rest { throw wrongSize }
                rest -= bytes.count
                try spill.append(bytes)
            }
            if rest > 0 { throw wrongSize }
        }
    }
}

/// Where the members of one archive are decoded to, one behind the other.
final class InflatedStore: Sendable {
    private struct State {
        var spill: SpillFile?
        /// By where they lie in the archive.
        var places: [Int: Int] = [:]
    }

    private let state = Mutex(State())

    /// - Parameter decode: is asked once, to append the whole member.
    func read(
        _ member: Int, at offset: Int, count: Int, decode: (SpillFile) throws(Fault) -> Void
    ) throws(Fault) -> [UInt8] {
        try state.withLock { state throws(Fault) in
            let spill: SpillFile
            if let open = state.spill { spill = open } else { spill = try SpillFile() }
            state.spill = spill
            if state.places[member] == nil {
                let place = spill.size
                try decode(spill)
                state.places[member] = place
            }
            return try spill.read(at: state.places[member]! + offset, count: count)
        }
    }
}
