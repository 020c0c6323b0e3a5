// The rank table of a shard being written: which ids come first is seen from the shard's first tokens, so that one pass
// over the input is enough and a resumed run makes the same table (docs/formats/dataset.md).

internal import Bytes

/// How the ids of a dataset are stored.
public enum TokenTransform: String, Sendable, Hashable, CaseIterable {
    /// As LEB128 of frequency ranks, for vocabularies above 65,536.
    case rank
}

/// Shared by the frames of one shard.
final class RankTable: Sendable {
    let coder: RankCoder
    /// By id.
    let ranks: [UInt32]

    /// Frames that are looked at.
    static let sampleFrames = 16

    /// - Parameter frames: the first ones of a shard, ids as u32.
    init(_ frames: [RawFrame], vocabularySize: Int) {
        var counts = [UInt32](repeating: 0, count: vocabularySize)
        for frame in frames {
            for id in [UInt32](littleEndianBytes: frame.content[...]) { counts[Int(id)] += 1 }
        }
        let table = counts.indices.filter { counts[$0] > 0 }
            .sorted { (counts[$1], $0) < (counts[$0], $1) }
            .prefix(ShardFormat.maximumRankTable).map { UInt32($0) }
        guard let coder = RankCoder(table: table, vocabularySize: vocabularySize) else {
            preconditionFailure("ids below the vocabulary size, each once")
        }
        self.coder = coder
        ranks = coder.ranks()
    }
}
