// Documents as a reader sees them: in order, or one by its number, in pieces of at most a frame.

public import Bytes

extension Shard {
    /// The tokens of document `number` (counted in this shard), found through the index.
    /// - Complexity: O(log frames) and one ranged read.
    public func tokenRange(ofDocument number: Int) throws(Fault) -> Range<Int> {
        precondition((0..<documentCount).contains(number), "document \(number) of \(documentCount)")
        // The last frame before which at most `number` documents ended, and in which some end, holds its end.
        var (low, high) = (0, frameCount - 1)
        while low < high {
            let middle = (low + high) / 2
            if frameEntry(middle).documentsBefore + documentCount(inFrame: middle) > number {
                high = middle
            } else {
                low = middle + 1
            }
        }
        let ends = try documentEnds(inFrame: low)
        let local = number - frameEntry(low).documentsBefore
        let begin =
            local == 0 ? frameEntry(low).documentStart : tokenOffset(ofFrame: low) + Int(ends[local - 1])
        return begin..<tokenOffset(ofFrame: low) + Int(ends[local])
    }

    /// Calls `body` with the ids of `range` in order, a frame's worth at a time.
    public func readTokens(_ range: Range<Int>, _ body: (ArraySlice<UInt32>) throws -> Void) throws {
        let decompressor = ZstdDecompressor()
        var k = range.lowerBound / type.tokensPerFrame
        while k < frameCount, tokenOffset(ofFrame: k) < range.upperBound {
            let begin = tokenOffset(ofFrame: k)
            let ids = try tokens(inFrame: k, using: decompressor)
            try body(ids[max(0, range.lowerBound - begin)..<min(ids.count, range.upperBound - begin)])
            k += 1
        }
    }
}

extension Dataset {
    /// Calls `body` with all ids in order, in pieces; the flag says that the piece ends its document.
    public func readDocuments(_ body: (ArraySlice<UInt32>, _ endsDocument: Bool) throws -> Void) throws {
        try readDocuments(0..<manifest.totals.documents, body)
    }

    /// The shard that holds document `number` of the dataset, and its number there; nil past the last document.
    public func shard(ofDocument number: Int) -> (shard: Int, document: Int)? {
        var left = number
        for index in manifest.shards.indices {
            let documents = manifest.shards.documents(ofShard: index)
            if left < documents { return (index, left) }
            left -= documents
        }
        return nil
    }
}
