// Cuts a stream of documents into token frames and shards. Where it cuts depends on token counts alone, never on how
// the stream arrived or on who compresses the frames: that is why the output is the same for any number of threads.

internal import Bytes

/// Where to go on after a shard: the first document that belongs to the next one.
struct ResumePoint: Sendable, Equatable {
    /// Documents (not counting empty ones) before it, over all inputs.
    var document = 0
    /// Empty documents before it.
    var emptyDocuments = 0
    var position = InputPosition()
    /// What was left out before it, of each dataset; empty documents, which belong to none, are counted above.
    var leftOut: [LeftOut] = []

    /// What was left out of a dataset, empty documents counted with the first.
    func leftOut(ofSide side: Int) -> LeftOut {
        var counts = side < leftOut.count ? leftOut[side] : LeftOut()
        if side == 0 { counts.empty = emptyDocuments }
        return counts
    }
}

/// A frame's content and what the index will say of it.
struct RawFrame: Sendable {
    var content: [UInt8]
    var ends: [UInt32]
    var documentsBefore: Int
    var documentStart: Int
    var previousToken: UInt32
    /// Set on the last frame of a shard.
    var endsShard: ResumePoint?
    /// How its ids are stored; nil: as they are.
    var ranks: RankTable?
}

/// One dataset's documents on their way into frames.
struct FrameCutter {
    private let type: TokenType
    private let shardTokens: Int
    /// Vocabulary size of a dataset of ranks.
    private let rankedVocabulary: Int?
    /// The current shard's, when its first frames have been seen; until then they wait.
    private var ranks: RankTable?
    private var waiting: [RawFrame] = []
    private var content: [UInt8] = []
    private var ends: [UInt32] = []
    /// Of the current shard: tokens and documents before the current frame, and where the current document began.
    private var tokensBefore = 0
    private var documentsBefore = 0
    private var documentStart = 0
    private var firstDocumentStart = 0
    private var previousToken: UInt32 = 0
    /// Frames that are full, for the caller to take.
    var finished: [RawFrame] = []

    /// - Parameter shardTokens: a shard ends with the first document end at or after this many tokens.
    /// - Parameter rankedVocabulary: the vocabulary size when ids are stored as ranks.
    init(type: TokenType, shardTokens: Int, rankedVocabulary: Int? = nil) {
        precondition(rankedVocabulary == nil || type == .u32, "ranks are for u32")
        self.rankedVocabulary = rankedVocabulary
        self.type = type
        self.shardTokens = shardTokens
        content.reserveCapacity(ShardFormat.frameBytes)
    }

    /// Adds ids in stored form to the current document.
    mutating func append(_ stored: ArraySlice<UInt8>) {
        var offset = stored.startIndex
        while offset < stored.endIndex {
            // Only when the next token is here is it known that the shard goes on after a full frame.
            if content.count == ShardFormat.frameBytes { cut(endsShard: nil) }
            let count = min(stored.endIndex - offset, ShardFormat.frameBytes - content.count)
            content.append(contentsOf: stored[offset..<offset + count])
            offset += count
        }
    }

    /// Ends the current document, which must have a token.
    mutating func endDocument(_ next: ResumePoint) {
        let end = content.count / type.byteCount
        precondition(end > 0 && ends.last != UInt32(end), "a document has at least one token")
        ends.append(UInt32(end))
        documentStart = tokensBefore + end
        if documentStart >= shardTokens { cut(endsShard: next) }
    }

    /// Ends the last shard. All documents must have ended.
    mutating func finish(_ end: ResumePoint) { if !content.isEmpty { cut(endsShard: end) } }

    private mutating func cut(endsShard: ResumePoint?) {
        let tokens = content.count / type.byteCount
        let last = content.count - type.byteCount
        let lastToken: UInt32 =
            type == .u16
            ? UInt32(content.littleEndian(at: last, as: UInt16.self) ?? 0) : content.littleEndian(at: last) ?? 0
        let frame = RawFrame(
            content: content, ends: ends, documentsBefore: documentsBefore, documentStart: firstDocumentStart,
            previousToken: previousToken, endsShard: endsShard, ranks: ranks)
        if let rankedVocabulary, ranks == nil {
            waiting.append(frame)
            if endsShard != nil || waiting.count == RankTable.sampleFrames { finishSample(rankedVocabulary) }
        } else {
            finished.append(frame)
        }
        content = []
        content.reserveCapacity(ShardFormat.frameBytes)
        documentsBefore += ends.count
        ends = []
        tokensBefore += tokens
        firstDocumentStart = documentStart
        previousToken = lastToken
        if endsShard != nil {
            (tokensBefore, documentsBefore, documentStart, firstDocumentStart) = (0, 0, 0, 0)
            previousToken = 0
            ranks = nil
        }
    }

    /// Lets the frames go that waited for the table.
    private mutating func finishSample(_ vocabularySize: Int) {
        let table = RankTable(waiting, vocabularySize: vocabularySize)
        ranks = table
        for var frame in waiting {
            frame.ranks = table
            finished.append(frame)
        }
        waiting = []
    }
}
