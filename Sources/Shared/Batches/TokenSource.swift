// The shards behind a stream: those of one dataset, or of several one after the other. Shards are opened when a block
// of theirs is read and a bounded number stays open, so that neither memory nor file descriptors grow with the data.

public import Bytes
public import Tokens

/// The tokens of one or more datasets as one sequence of shards.
public final class TokenSource: Sendable {
    public let datasets: [Dataset]
    public let type: TokenType
    public let vocabularySize: Int
    public let endOfDocument: UInt32?
    /// Of one dataset its digest; of several the digest of their digests.
    public let digest: Digest
    public let tokenCount: Int

    /// Tokens of each shard, and where it comes from.
    let shardTokens: [Int]
    private let origins: [(dataset: Int, shard: Int)]
    private let open: Monitor<RecentValues<Int, Shard>>
    private let openMasks: Monitor<RecentValues<Int, ShardMask>>
    private let masks = Monitor<[LossMaskManifest]?>(nil)

    private static let openShards = 64
    /// A shard of ranks holds about 200 KiB of tables.
    private static let openRankedShards = 16

    /// - Throws: `Fault` (bad data) when there is nothing to read or datasets do not fit together.
    public init(_ datasets: [Dataset]) throws(Fault) {
        guard let first = datasets.first else { throw Fault(.usage, "no dataset was given") }
        try TokenSource.requireFit(datasets)
        self.datasets = datasets
        type = first.type
        vocabularySize = first.vocabularySize
        endOfDocument = first.manifest.tokenizer.endOfDocument.map { UInt32($0) }
        digest =
            datasets.count == 1
            ? first.digest : Digest.of(datasets.map { "\($0.digest)\n" }.joined())
        var shardTokens: [Int] = []
        var origins: [(dataset: Int, shard: Int)] = []
        var total = 0
        for (number, dataset) in datasets.enumerated() {
            let list = dataset.manifest.shards
            for shard in list.indices where list.tokens(ofShard: shard) > 0 {
                let (sum, overflow) = total.addingReportingOverflow(list.tokens(ofShard: shard))
                if overflow || sum > StreamCounts.maximum {
                    throw .badData(dataset.path, "more tokens than a run can count")
                }
                total = sum
                shardTokens.append(list.tokens(ofShard: shard))
                origins.append((number, shard))
            }
        }
        if total == 0 { throw .badData(first.path, "the dataset holds no tokens") }
        tokenCount = total
        self.shardTokens = shardTokens
        self.origins = origins
        let isRanked = datasets.contains { $0.manifest.transform == .rank }
        open = Monitor(
            RecentValues(capacity: isRanked ? TokenSource.openRankedShards : TokenSource.openShards))
        openMasks = Monitor(RecentValues(capacity: TokenSource.openShards))
    }

    /// - Throws: `Fault` (bad data) when datasets have not one vocabulary.
    static func requireFit(_ datasets: [Dataset]) throws(Fault) {
        guard let first = datasets.first else { return }
        for other in datasets.dropFirst() {
            func refuse(_ what: String, _ left: String, _ right: String) -> Fault {
                Fault(
                    .badData,
                    "datasets \(quoted(first.path)) and \(quoted(other.path)) differ in \(what): \(left) and \(right)")
            }
            if first.vocabularySize != other.vocabularySize {
                throw refuse("vocabulary size", "\(first.vocabularySize)", "\(other.vocabularySize)")
            }
            let (left, right) = (first.manifest.tokenizer, other.manifest.tokenizer)
            if left.name != right.name || left.sha256 != right.sha256 || left.endOfDocument != right.endOfDocument {
                throw refuse("tokenizer", left.summary, right.summary)
            }
        }
    }

    func shard(_ index: Int) throws(Fault) -> Shard {
        if let shard = open.update({ $0[index] }) { return shard }
        let origin = origins[index]
        let shard = try datasets[origin.dataset].shard(origin.shard)
        open.update { $0.insert(shard, for: index, cost: 1) }
        return shard
    }
}

extension TokenSource {
    /// What names the loss masks of the datasets; reads their manifests.
    /// - Throws: `Fault` (no input) when a dataset has none, (bad data) when it belongs to another one.
    public func maskDigest() throws(Fault) -> Digest {
        let manifests = try maskManifests()
        return manifests.count == 1
            ? manifests[0].digest : Digest.of(manifests.map { "\($0.digest)\n" }.joined())
    }

    /// The same of several sources.
    public static func maskDigest(_ sources: [TokenSource]) throws(Fault) -> Digest {
        var digests: [Digest] = []
        for source in sources { digests.append(try source.maskDigest()) }
        return digests.count == 1 ? digests[0] : Digest.of(digests.map { "\($0)\n" }.joined())
    }

    private func maskManifests() throws(Fault) -> [LossMaskManifest] {
        if let known = masks.update({ $0 }) { return known }
        var manifests: [LossMaskManifest] = []
        for dataset in datasets { manifests.append(try LossMaskManifest(of: dataset)) }
        let read = manifests
        masks.update { $0 = read }
        return read
    }

    /// The loss mask of a shard.
    func mask(_ index: Int) throws(Fault) -> ShardMask {
        if let mask = openMasks.update({ $0[index] }) { return mask }
        let origin = origins[index]
        let mask = try datasets[origin.dataset].mask(origin.shard, try maskManifests()[origin.dataset])
        openMasks.update { $0.insert(mask, for: index, cost: 1) }
        return mask
    }
}

extension TokenizerRecord {
    fileprivate var summary: String {
        "\(name)\(sha256.map { " " + $0.description.prefix(8) + "…" } ?? "") with end of document "
            + (endOfDocument.map(String.init) ?? "none")
    }
}

/// What was used last, up to a total cost: a small least-recently-used cache.
struct RecentValues<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let capacity: Int
    private var entries: [Key: (value: Value, cost: Int, used: Int)] = [:]
    private var total = 0
    private var clock = 0

    init(capacity: Int) { self.capacity = capacity }

    subscript(key: Key) -> Value? {
        mutating get {
            clock += 1
            guard let value = entries[key]?.value else { return nil }
            entries[key]?.used = clock
            return value
        }
    }

    /// Keeps `value`; drops the longest unused ones when the total is over the capacity, never the newest.
    mutating func insert(_ value: Value, for key: Key, cost: Int) {
        clock += 1
        total += cost - (entries[key]?.cost ?? 0)
        entries[key] = (value, cost, clock)
        while total > capacity, entries.count > 1, let oldest = entries.min(by: { $0.value.used < $1.value.used }) {
            total -= oldest.value.cost
            entries[oldest.key] = nil
        }
    }
}
