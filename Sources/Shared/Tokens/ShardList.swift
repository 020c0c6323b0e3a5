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
        let begin = index == 0 ? 0 : Int(nameEnds[index - 1])
        guard let digest = Digest(rawBytes: digests[32 * index..<32 * index + 32]) else {
            preconditionFailure("a digest has 32 bytes")
        }
        return ShardRecord(
            name: String(decoding: names[begin..<Int(nameEnds[index])], as: UTF8.self), tokens: tokens[index],
            documents: documents[index], frames: frames[index], bytes: bytes[index], sha256: digest)
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
