// A run of a dataset's documents: their ids in pieces, and their lengths from the index alone, which is what formats with
// an index or a count at their head need to know before the first id.

internal import Bytes

extension Dataset {
    /// Calls `body` with the ids of documents `range` in order, in pieces; the flag says that the piece ends its document.
    public func readDocuments(
        _ range: Range<Int>, _ body: (ArraySlice<UInt32>, _ endsDocument: Bool) throws -> Void
    ) throws {
        let decompressor = ZstdDecompressor()
        try visitFrames(range) { shard, frame, local in
            let ids = try shard.tokens(inFrame: frame, using: decompressor)
            let before = shard.frameEntry(frame).documentsBefore
            var begin = 0
            var document = before
            for end in try shard.documentEnds(inFrame: frame) {
                if local.contains(document) { try body(ids[begin..<Int(end)], true) }
                document += 1
                begin = Int(end)
            }
            if begin < ids.count, local.contains(document) { try body(ids[begin...], false) }
        }
    }

    /// Calls `body` with the number of ids of each document of `range`, in order. Reads no ids.
    public func readLengths(_ range: Range<Int>, _ body: (Int) throws -> Void) throws {
        try visitFrames(range) { shard, frame, local in
            let entry = shard.frameEntry(frame)
            var begin = entry.documentStart
            var document = entry.documentsBefore
            for end in try shard.documentEnds(inFrame: frame) {
                let next = shard.tokenOffset(ofFrame: frame) + Int(end)
                if local.contains(document) { try body(next - begin) }
                document += 1
                begin = next
            }
        }
    }

    /// The frames that hold ids of documents `range`, each with its shard and the documents wanted of that, counted in it.
    private func visitFrames(
        _ range: Range<Int>, _ body: (_ shard: Shard, _ frame: Int, _ documents: Range<Int>) throws -> Void
    ) throws {
        precondition(range.lowerBound >= 0 && range.upperBound <= manifest.totals.documents, "documents \(range)")
        var before = 0
        for index in 0..<shardCount where before < range.upperBound {
            let count = manifest.shards.documents(ofShard: index)
            let local = range.clamped(to: before..<before + count)
            let wanted = local.lowerBound - before..<local.upperBound - before
            before += count
            if wanted.isEmpty { continue }
            let shard = try shard(index)
            let first = try shard.tokenRange(ofDocument: wanted.lowerBound).lowerBound / shard.type.tokensPerFrame
            for frame in first..<shard.frameCount {
                // A document that is open at a frame's start is number `documentsBefore`.
                if shard.frameEntry(frame).documentsBefore >= wanted.upperBound { break }
                try body(shard, frame, wanted)
            }
        }
    }
}
