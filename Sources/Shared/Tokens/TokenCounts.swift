// How often each id occurs in a dataset: one pass over all tokens, 8 bytes an id of the vocabulary.

private import Bytes

/// Counts of ids.
public struct TokenCounts: Sendable {
    /// Above this a table of counts would be larger than what it is asked for is worth: 128 MiB.
    public static let largestVocabulary = 1 << 24

    /// By id.
    public private(set) var counts: [Int]

    /// - Parameter progress: called with the tokens counted.
    /// - Throws: `Fault`: a vocabulary above `largestVocabulary` (usage), damage (bad data).
    public init(_ dataset: Dataset, progress: (Int) -> Void = { _ in }) throws {
        if dataset.vocabularySize > TokenCounts.largestVocabulary {
            throw Fault(
                .usage,
                "\(quoted(dataset.path)) has a vocabulary of \(dataset.vocabularySize), counts are for up to "
                    + "\(TokenCounts.largestVocabulary)")
        }
        var counts = [Int](repeating: 0, count: dataset.vocabularySize)
        var done = 0
        let decompressor = ZstdDecompressor()
        for index in 0..<dataset.shardCount {
            let shard = try dataset.shard(index)
            for frame in 0..<shard.frameCount {
                let ids = try shard.tokens(inFrame: frame, using: decompressor)
                for id in ids { counts[Int(id)] += 1 }
                done += ids.count
                progress(done)
            }
        }
        self.counts = counts
    }

    /// Ids that occur.
    public var distinct: Int { counts.count { $0 > 0 } }

    /// The `count` most frequent ids that occur, most frequent first, the lower id first of equals.
    public func top(_ count: Int) -> [(id: Int, count: Int)] {
        counts.indices.filter { counts[$0] > 0 }
            .sorted { (counts[$1], $0) < (counts[$0], $1) }
            .prefix(count).map { ($0, counts[$0]) }
    }
}
