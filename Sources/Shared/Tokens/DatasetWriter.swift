// Makes a dataset from ids that are already there, in one thread: what embedders and tests want. `tok-shard` goes
// through `Ingest`, which reads streams, uses threads and survives a kill; both share everything below them.

public import Bytes
private import SystemPackage

/// Writes documents of token ids into a new dataset directory. Not for concurrent use.
public final class DatasetWriter {
    public static let defaultShardTokens = 100_000_000
    public static let defaultLevel = 3

    private let sink: DatasetSink
    private let vocabularySize: Int
    private var cutter: FrameCutter
    private let compressor: ZstdCompressor

    /// - Parameters:
    ///   - directory: made when missing; must not hold a dataset.
    ///   - shardTokens: a shard ends with the first document end at or after this many tokens.
    ///   - level: zstd's, 1 … 19.
    /// - Throws: `Fault`: there is a dataset already, or the directory cannot be made.
    public init(
        _ directory: String, vocabularySize: Int, tokenizer: TokenizerRecord,
        shardTokens: Int = DatasetWriter.defaultShardTokens, level: Int = DatasetWriter.defaultLevel
    ) throws(Fault) {
        if FileSystem.kind(of: FilePath(directory).appending(DatasetManifest.fileName)) != nil {
            throw Fault(.cannotCreate, "cannot create \(quoted(directory)): there is a dataset already")
        }
        sink = try DatasetSink(directory: directory, vocabularySize: vocabularySize, tokenizer: tokenizer)
        self.vocabularySize = vocabularySize
        cutter = FrameCutter(type: TokenType(vocabularySize: vocabularySize), shardTokens: shardTokens)
        compressor = ZstdCompressor(level: level)
    }

    /// Appends a document: its ids with the end-of-document id, if there is one, as the last.
    /// - Throws: `Fault`: no ids, an id ≥ the vocabulary size (bad data), or a write failed.
    public func append(_ document: [UInt32]) throws(Fault) {
        if document.isEmpty { throw Fault(.badData, "a document without tokens") }
        if let id = document.first(where: { Int($0) >= vocabularySize }) {
            throw Fault(.badData, "id \(id) is not below the vocabulary size \(vocabularySize)")
        }
        cutter.append(storedIds(document, vocabularySize: vocabularySize)[...])
        cutter.endDocument(ResumePoint())
        try drain()
    }

    /// Ends the last shard and publishes the manifest; the directory is a dataset from here on.
    public func finish() throws -> DatasetManifest {
        cutter.finish(ResumePoint())
        try drain()
        return try sink.finish()
    }

    private func drain() throws(Fault) {
        let frames = cutter.finished
        cutter.finished.removeAll()
        for frame in frames {
            _ = try sink.append(
                CompressedFrame(frame, type: TokenType(vocabularySize: vocabularySize), using: compressor))
        }
    }
}
