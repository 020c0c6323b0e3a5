// One shard file, opened for reading at any frame (docs/formats/dataset.md). Opening reads the seek table and the
// frame table (36 bytes a frame) and checks each against the other and against the size of the file; document ends and
// tokens stay on the disk until they are asked for. Everything a file declares is checked before it is allocated.

public import Bytes
private import SystemPackage

/// A shard of tokens. Reading is by offset, so any number of threads may share one.
public struct Shard: Sendable {
    /// The path, for messages.
    public var name: String { file.name }
    public let type: TokenType
    public let vocabularySize: Int
    public let tokenCount: Int
    public let documentCount: Int

    /// Size of the file in bytes.
    public var byteCount: Int { file.size }
    public var frameCount: Int { frames.count }

    let file: any RangedSource
    /// Where each token frame lies; document ends and tokens follow from sums.
    let frames: [FrameEntry]
    /// Byte offset of each token frame, then the end of the last one (where the index begins).
    let offsets: [Int]
    /// Content checksum of each token frame from the seek table.
    let checksums: [UInt32]
    /// Tokens in the last frame.
    let lastFrameTokens: Int
    /// What the ranks in the frames stand for, and what each frame decodes to; nil and none where frames hold ids.
    let ranks: RankCoder?
    let rankBytes: [UInt32]
    /// Byte offset of the first document end in the file.
    let endsOffset: Int

    /// Opens a shard.
    /// - Parameter expected: what the manifest says of it; nil to take the file's own word.
    /// - Throws: `Fault`: no such file (no input), or a rule of the format broken (bad data, naming the byte).
    public init(_ path: String, vocabularySize: Int, expected: ShardRecord? = nil) throws(Fault) {
        try self.init(try InputFile(FilePath(path)), vocabularySize: vocabularySize, expected: expected)
    }

    /// The same of anything that can be read by ranges.
    public init(
        _ file: any RangedSource, vocabularySize: Int, expected: ShardRecord? = nil
    ) throws(Fault) {
        let path = file.name
        if let expected, file.size != expected.bytes {
            throw .badData(
                path, byte: min(file.size, expected.bytes), "expected \(expected.bytes) bytes, found \(file.size)",
                hint: file.size < expected.bytes ? "the file was cut short: copy or make it again" : nil)
        }
        let type = TokenType(vocabularySize: vocabularySize)
        let seek = try SeekTable(file)
        let index = try ShardIndex(
            file, at: seek.entries.dropLast().reduce(0) { $0 + Int($1.compressed) }, end: seek.offset,
            vocabularySize: vocabularySize)
        let layout = try TokenLayout(
            seek, type: type, rankedTokens: index.ranks == nil ? nil : index.tokenCount, name: path)
        try index.check(layout, type: type, vocabularySize: vocabularySize, name: path)
        if let expected {
            for (what, stated, found) in [
                ("tokens", expected.tokens, index.tokenCount), ("documents", expected.documents, index.documentCount),
                ("frames", expected.frames, index.frames.count),
            ] where stated != found {
                throw .badData(path, "expected \(stated) \(what) (from the manifest), found \(found)")
            }
        }
        self.file = file
        self.type = type
        self.vocabularySize = vocabularySize
        tokenCount = index.tokenCount
        documentCount = index.documentCount
        frames = index.frames
        offsets = layout.offsets
        checksums = layout.checksums
        lastFrameTokens = layout.lastFrameTokens
        ranks = index.ranks
        rankBytes = layout.rankBytes
        endsOffset = index.endsOffset
    }

    /// What the index says of frame `k`.
    public func frameEntry(_ k: Int) -> FrameEntry { frames[k] }

    /// Tokens in frame `k`.
    public func tokenCount(inFrame k: Int) -> Int {
        k == frameCount - 1 ? lastFrameTokens : type.tokensPerFrame
    }

    /// Offset in the shard of frame `k`'s first token; `k` = `frameCount` gives the number of tokens.
    public func tokenOffset(ofFrame k: Int) -> Int { k == frameCount ? tokenCount : k * type.tokensPerFrame }

    /// Byte offset of frame `k` in the file.
    public func byteOffset(ofFrame k: Int) -> Int { offsets[k] }

    /// Documents that end inside frame `k`.
    public func documentCount(inFrame k: Int) -> Int {
        (k + 1 < frameCount ? frames[k + 1].documentsBefore : documentCount) - frames[k].documentsBefore
    }

    func fault(frame k: Int, _ reason: String) -> Fault {
        Fault(.badData, "\(quoted(name)), frame \(k) at byte \(offsets[k]): \(reason)")
    }
}

/// Where the token frames lie, from the seek table.
struct TokenLayout {
    let offsets: [Int]
    let checksums: [UInt32]
    let lastFrameTokens: Int
    let tokenCount: Int
    /// Content of each frame of ranks.
    let rankBytes: [UInt32]

    /// - Parameter rankedTokens: tokens of a shard of ranks, by its index; nil for one of ids.
    init(_ seek: SeekTable, type: TokenType, rankedTokens: Int?, name: String) throws(Fault) {
        var offsets = [0]
        var checksums: [UInt32] = []
        var last = 0
        let count = seek.entries.count - 1
        for (k, entry) in seek.entries.prefix(count).enumerated() {
            let content = Int(entry.decompressed)
            var isValid =
                k < count - 1
                ? content == ShardFormat.frameBytes
                : (1...ShardFormat.frameBytes).contains(content) && content % type.byteCount == 0
            if let rankedTokens {
                // All frames but the last are full; how many tokens the last one has follows from the sum.
                let tokens = k < count - 1 ? type.tokensPerFrame : rankedTokens - k * type.tokensPerFrame
                isValid = (1...type.tokensPerFrame).contains(tokens)
                if isValid { isValid = (tokens...tokens * RankCoder.maximumBytes).contains(content) }
                if !isValid {
                    throw .badData(
                        name, byte: seek.byteOffset(ofEntry: k),
                        "\(content) bytes of ranks in frame \(k) do not fit \(rankedTokens) tokens in \(count) frames")
                }
                last = tokens
            } else {
                last = content / type.byteCount
            }
            if !isValid {
                throw .badData(
                    name, byte: seek.byteOffset(ofEntry: k),
                    "expected \(k < count - 1 ? "" : "at most ")\(ShardFormat.frameBytes) bytes of \(type.rawValue) ids "
                        + "in frame \(k), found \(content)")
            }
            if entry.compressed > ShardFormat.maximumCompressedFrame {
                throw .badData(
                    name, byte: seek.byteOffset(ofEntry: k),
                    "frame \(k) takes \(entry.compressed) bytes, more than the \(ShardFormat.maximumCompressedFrame) allowed"
                )
            }
            offsets.append(offsets[k] + Int(entry.compressed))
            checksums.append(entry.checksum)
        }
        rankBytes = rankedTokens == nil ? [] : seek.entries.prefix(count).map(\.decompressed)
        self.offsets = offsets
        self.checksums = checksums
        lastFrameTokens = last
        tokenCount = count == 0 ? 0 : (count - 1) * type.tokensPerFrame + last
    }
}
