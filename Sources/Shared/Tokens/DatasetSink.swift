// A dataset directory being filled with compressed frames, shard by shard. The manifest comes last, so that a
// directory is a dataset only once all of it is on the disk.

internal import Bytes
private import SystemPackage

final class DatasetSink {
    let directory: String
    private let vocabularySize: Int
    private let tokenizer: TokenizerRecord
    private let part: DatasetPart?
    private(set) var shards: ShardList
    private var writer: ShardWriter?

    /// - Parameter shards: what an earlier run has finished.
    init(
        directory: String, vocabularySize: Int, tokenizer: TokenizerRecord, shards: ShardList = [],
        part: DatasetPart? = nil
    ) throws(Fault) {
        self.directory = directory
        self.vocabularySize = vocabularySize
        self.tokenizer = tokenizer
        self.shards = shards
        self.part = part
        let path = FilePath(directory)
        try FileSystem.makeDirectory(path)
        try FileSystem.removeStaleTemporaries(in: path, prefix: "shard-")
        try FileSystem.removeStaleTemporaries(in: path, prefix: DatasetManifest.fileName)
    }

    private var manifest: DatasetManifest {
        DatasetManifest(vocabularySize: vocabularySize, tokenizer: tokenizer, shards: shards, part: part)
    }

    /// Appends a frame. True when it was the last one of its shard, which is published with its sidecar by then.
    func append(_ frame: CompressedFrame) throws(Fault) -> Bool {
        let writer = try openWriter()
        try writer.append(frame)
        if frame.raw.endsShard == nil { return false }
        let record = try writer.finish()
        self.writer = nil
        let one = DatasetManifest(vocabularySize: vocabularySize, tokenizer: tokenizer, shards: [record], part: part)
        let sidecar = one.sidecar(record).pretty
        try AtomicFile.write(
            Array(sidecar.utf8), to: FilePath(directory).appending(ShardFormat.sidecarName(shards.count)))
        shards.append(record)
        return true
    }

    private func openWriter() throws(Fault) -> ShardWriter {
        if let writer { return writer }
        let opened = try ShardWriter(
            directory: directory, name: ShardFormat.shardName(shards.count),
            type: TokenType(vocabularySize: vocabularySize))
        writer = opened
        return opened
    }

    /// Removes the shard under way.
    func abandon() { writer = nil }

    /// Publishes the manifest.
    func finish() throws -> DatasetManifest {
        precondition(writer == nil, "the last frame ends its shard")
        let manifest = manifest
        let file = try AtomicFile(FilePath(directory).appending(DatasetManifest.fileName))
        try manifest.write(to: file)
        try file.commit()
        return manifest
    }

    /// The first `count` shards as an earlier run left them, from their sidecars.
    /// - Throws: `Fault` when one is missing, cut short or of another dataset.
    static func finishedShards(
        _ count: Int, in directory: String, vocabularySize: Int, tokenizer: TokenizerRecord, part: DatasetPart?
    ) throws(Fault) -> ShardList {
        var shards = ShardList()
        for index in 0..<count {
            let path = FilePath(directory).appending(ShardFormat.sidecarName(index))
            let sidecar = try DatasetManifest(
                parsingSidecar: try InputFile(path).readAll(limit: 1 << 20), name: path.string)
            let record = sidecar.shards[0]
            if sidecar.vocabularySize != vocabularySize || sidecar.tokenizer != tokenizer
                || sidecar.part != part || record.name != ShardFormat.shardName(index)
            {
                throw .badData(path.string, "the sidecar of another shard or dataset")
            }
            let size = try InputFile(FilePath(directory).appending(record.name)).size
            if size != record.bytes {
                throw .badData(
                    FilePath(directory).appending(record.name).string, "expected \(record.bytes) bytes, found \(size)")
            }
            shards.append(record)
        }
        return shards
    }
}
