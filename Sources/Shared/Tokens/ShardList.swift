// The shards of a dataset as columns: 100,000 of them in 9 MB, where an array of records with a string and a digest each
// would take four times that, and tok-pack promises to run in 64 MB whatever the dataset's size.

internal import Bytes

/// What a manifest says of its shards, in order. Records are made when they are asked for.
public struct ShardList: Sendable, Hashable, RandomAccessCollection, ExpressibleByArrayLiteral {
    /// UTF-8, one after the other.
    private var names: [UInt8] = []
    private var nameEnds: [Int32] = []
    private var tokens: [Int] = []
    private var documents: [Int] = []
    private var frames: [Int] = []
    private var bytes: [Int] = []
    /// 32 bytes a shard.
    private var digests: [UInt8] = []

    public init() {}

    public init(_ records: some Sequence<ShardRecord>) { for record in records { append(record) } }

    public init(arrayLiteral elements: ShardRecord...) { self.init(elements) }

    public var startIndex: Int { 0 }
    public var endIndex: Int { tokens.count }

    public subscript(index: Int) -> ShardRecord {
        guard let digest = Digest(rawBytes: digests[32 * index..<32 * index + 32]) else {
            preconditionFailure("a digest has 32 bytes")
        }
        return ShardRecord(
            name: name(index), tokens: tokens[index], documents: documents[index], frames: frames[index],
            bytes: bytes[index], sha256: digest)
    }

    /// Tokens of a shard, without making its record.
    public func tokens(ofShard index: Int) -> Int { tokens[index] }

    /// Documents of a shard, without making its record.
    public func documents(ofShard index: Int) -> Int { documents[index] }

    /// Bytes of the names; a list takes at most 2 GiB of them.
    var nameBytes: Int { names.count }

    public mutating func append(_ record: ShardRecord) {
        names.append(contentsOf: record.name.utf8)
        nameEnds.append(Int32(names.count))
        tokens.append(record.tokens)
        documents.append(record.documents)
        frames.append(record.frames)
        bytes.append(record.bytes)
        digests.append(contentsOf: record.sha256.bytes)
    }

    /// Appends what a manifest says of a shard, in the order of `ShardList.keys`. False, and nothing is appended, unless
    /// everything about it is right: whoever reads it the slow way knows what is wrong.
    mutating func append(_ members: [PlainValue]) -> Bool {
        guard members.count == 6, case .text(let name) = members[0], case .number(let tokens) = members[1],
            case .number(let documents) = members[2], case .number(let frames) = members[3],
            case .number(let bytes) = members[4], case .text(let sha256) = members[5], sha256.count == 64,
            let first = name.first, first != UInt8(ascii: "."), !name.contains(UInt8(ascii: "/")),
            digests.append(parsingHexadecimal: sha256)
        else { return false }
        names.append(contentsOf: name)
        nameEnds.append(Int32(names.count))
        self.tokens.append(tokens)
        self.documents.append(documents)
        self.frames.append(frames)
        self.bytes.append(bytes)
        return true
    }

    /// Of a shard in a manifest, in the order in which we write them.
    static let keys = ["name", "tokens", "documents", "frames", "bytes", "sha256"].map { Array($0.utf8) }

    /// Appends the lines of all shards that the dataset digest is made of, `limit` bytes or a little more at a time.
    func forEachDigestPiece(after head: String, limit: Int = 1 << 15, _ body: ([UInt8]) -> Void) {
        var text = Array(head.utf8)
        for index in indices {
            text.append(decimal: tokens[index])
            text.append(0x20)
            text.append(decimal: documents[index])
            text.append(0x20)
            text.append(hexadecimal: digests[32 * index..<32 * index + 32])
            text.append(0x0a)
            if text.count > limit {
                body(text)
                text.removeAll(keepingCapacity: true)
            }
        }
        body(text)
    }

    /// Appends the text of a shard in a manifest: the members that `keys` lists, each on a line behind `indent`.
    func appendMembers(of index: Int, indent: String, to text: inout [UInt8]) {
        func begin(_ key: String) {
            text.append(indent)
            text.append("\"\(key)\": ")
        }
        begin("name")
        text.append(JSON.string(name(index)).compact)
        for (key, value) in [
            ("tokens", tokens[index]), ("documents", documents[index]), ("frames", frames[index]),
            ("bytes", bytes[index]),
        ] {
            text.append(",\n")
            begin(key)
            text.append(decimal: value)
        }
        text.append(",\n")
        begin("sha256")
        text.append(0x22)
        text.append(hexadecimal: digests[32 * index..<32 * index + 32])
        text.append("\"\n")
    }

    private func name(_ index: Int) -> String {
        String(decoding: names[(index == 0 ? 0 : Int(nameEnds[index - 1]))..<Int(nameEnds[index])], as: UTF8.self)
    }

    /// Sums; nil when one leaves 63 bits.
    var totals: DatasetTotals? {
        var totals = DatasetTotals()
        totals.shards = count
        guard let tokens = ShardList.sum(tokens), let documents = ShardList.sum(documents),
            let frames = ShardList.sum(frames), let bytes = ShardList.sum(bytes)
        else { return nil }
        (totals.tokens, totals.documents, totals.frames, totals.bytes) = (tokens, documents, frames, bytes)
        return totals
    }

    private static func sum(_ values: [Int]) -> Int? {
        var sum = 0
        for value in values {
            let (next, overflow) = sum.addingReportingOverflow(value)
            if overflow { return nil }
            sum = next
        }
        return sum
    }

    /// Makes room for `count` shards at once: growing by doubling would hold every column twice for a moment.
    mutating func reserveCapacity(_ count: Int) {
        names.reserveCapacity(count * 20)
        nameEnds.reserveCapacity(count)
        tokens.reserveCapacity(count)
        documents.reserveCapacity(count)
        frames.reserveCapacity(count)
        bytes.reserveCapacity(count)
        digests.reserveCapacity(count * 32)
    }

    /// The index of a shard whose name an earlier one has too, or nil. Names usually rise; only else is a set of them made.
    func firstRepeatedName() -> Int? {
        var isRising = true
        for index in 1..<Swift.max(1, count) where isRising {
            let begin = index == 1 ? 0 : Int(nameEnds[index - 2])
            let (middle, end) = (Int(nameEnds[index - 1]), Int(nameEnds[index]))
            isRising = names[begin..<middle].lexicographicallyPrecedes(names[middle..<end])
        }
        if isRising { return nil }
        var seen: Set<String> = []
        return indices.first { !seen.insert(self[$0].name).inserted }
    }
}
