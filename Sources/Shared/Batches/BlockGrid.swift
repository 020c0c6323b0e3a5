// The dataset cut into blocks: per shard a grid of P tokens. A block is what is read, packed and shuffled as one, so P
// is a whole number of rows near the size of a frame (or of four, for best-fit: a larger pool packs tighter).

private import Tokens

/// Block ↔ shard and token range, by arithmetic. O(shards) memory.
struct BlockGrid: Sendable {
    /// P, tokens between the starts of blocks.
    let blockTokens: Int
    /// The length of rows that the grid was made for: documents longer than that are cut at multiples of it.
    let length: Int
    let blockCount: Int
    private let shardTokens: [Int]
    /// Blocks before each shard, then all blocks.
    private let firstBlocks: [Int]

    init(_ source: TokenSource, length: Int, packing: Packing) {
        let pool = source.type.tokensPerFrame * (packing == .bestFit ? 4 : 1)
        self.init(shardTokens: source.shardTokens, blockTokens: length * max(1, pool / length), length: length)
    }

    init(shardTokens: [Int], blockTokens: Int, length: Int) {
        self.shardTokens = shardTokens
        self.blockTokens = blockTokens
        self.length = length
        var firstBlocks = [0]
        firstBlocks.reserveCapacity(shardTokens.count + 1)
        for tokens in shardTokens {
            firstBlocks.append(firstBlocks[firstBlocks.count - 1] + (tokens - 1) / blockTokens + 1)
        }
        self.firstBlocks = firstBlocks
        blockCount = firstBlocks[firstBlocks.count - 1]
    }

    /// The tokens of its shard that block `block` is about.
    func location(of block: Int) -> (shard: Int, tokens: Range<Int>) {
        let shard = lastIndex(notAbove: block, in: firstBlocks)
        let start = (block - firstBlocks[shard]) * blockTokens
        return (shard, start..<min(start + blockTokens, shardTokens[shard]))
    }

    /// Rows of a block when it is cut every `length` tokens.
    func concatRows(of block: Int, length: Int) -> Int { (location(of: block).tokens.count - 1) / length + 1 }

    /// Windows of an epoch, and the blocks of a window by their places in the epoch's order.
    var windowBlocks: Int { max(1, Recipe.windowTokens / blockTokens) }
    var windowCount: Int { (blockCount + windowBlocks - 1) / windowBlocks }
    func places(ofWindow window: Int) -> Range<Int> {
        window * windowBlocks..<min((window + 1) * windowBlocks, blockCount)
    }
}

/// The last index whose element is at most `value`, in a rising array that begins at or below it and holds more beyond.
/// Of equal neighbours the last one is found.
func lastIndex(notAbove value: Int, in rising: [Int]) -> Int {
    var (low, high) = (0, rising.count)
    while high - low > 1 {
        let middle = (low + high) / 2
        if rising[middle] <= value { low = middle } else { high = middle }
    }
    return low
}
