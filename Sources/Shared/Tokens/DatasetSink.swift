// A dataset directory being filled with compressed frames, shard by shard. The manifest comes last, so that a
// directory is a dataset only once all of it is on the disk.

internal import Bytes
private import SystemPackage

final class DatasetSink {
    let directory: String
    private let vocabularySize: Int
    private let tokenizer: TokenizerRecord
    private let part: DatasetPart?
    private let transform: TokenTransform?
    private(set) var shards: ShardList
    /// What the sidecars say was left out: the last one's, and those before it together.
    private var leftOut: (last: LeftOut, before: LeftOut)
    private var writer: ShardWriter?

    /// - Parameters:
    ///   - shards: what an earlier run has finished.
    ///   - leftOut: what their sidecars say, of the last one and of those before it together.
    init(
        directory: String, vocabularySize: Int, tokenizer: TokenizerRecord, shards: ShardList = [],
        leftOut: (last: LeftOut, before: LeftOut) = (LeftOut(), LeftOut()), part: DatasetPart? = nil,
        transform: TokenTransform? = nil
    ) throws(Fault) {
        self.transform = transform
        self.leftOut = leftOut
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

    /// Appends a frame. True when it was the last one of its shard, which is published with its sidecar by then.
    /// - Parameter leftOut: what was left out of this dataset up to the end of the shard that the frame ends.
    func append(_ frame: CompressedFrame, leftOut total: LeftOut = LeftOut()) throws(Fault) -> Bool {
        let writer = try openWriter()
        try writer.append(frame)
        if frame.raw.endsShard == nil { return false }
        let record = try writer.finish()
        self.writer = nil
        let before = leftOut.before + leftOut.last
        leftOut = (total - before, before)
        try writeSidecar(record, number: shards.count)
        shards.append(record)
        return true
    }

    private func writeSidecar(_ record: ShardRecord, number: Int) throws(Fault) {
        let one = DatasetManifest(
            vocabularySize: vocabularySize, tokenizer: tokenizer, shards: [record], part: part,
            transform: transform)
        let sidecar = one.sidecar(record, leftOut: leftOut.last).pretty
        try AtomicFile.write(
            Array(sidecar.utf8), to: FilePath(directory).appending(ShardFormat.sidecarName(number)))
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
    /// - Parameter total: all that was left out of this dataset. What came after the last shard had ended is counted with
    ///   that shard, so that sidecars alone know everything.
    func finish(leftOut total: LeftOut = LeftOut()) throws -> DatasetManifest {
        precondition(writer == nil, "the last frame ends its shard")
        if let last = shards.last, total != leftOut.before + leftOut.last {
            leftOut.last = total - leftOut.before
            try writeSidecar(last, number: shards.count - 1)
        }
        let manifest = DatasetManifest(
            vocabularySize: vocabularySize, tokenizer: tokenizer, shards: shards, part: part, leftOut: total,
            transform: transform)
        let file = try AtomicFile(FilePath(directory).appending(DatasetManifest.fileName))
        try manifest.write(to: file)
        try file.commit()
        return manifest
    }

    /// The first `count` shards as an earlier run left them, from their sidecars.
    /// - Throws: `Fault` when one is missing, cut short or of another dataset.
    static func finishedShards(
        _ count: Int, in directory: String, vocabularySize: Int, tokenizer: TokenizerRecord, part: DatasetPart?,
        transform: TokenTransform? = nil
    ) throws(Fault) -> (shards: ShardList, leftOut: (last: LeftOut, before: LeftOut)) {
        var shards = ShardList()
        var leftOut = (last: LeftOut(), before: LeftOut())
        for index in 0..<count {
            let path = FilePath(directory).appending(ShardFormat.sidecarName(index))
            let sidecar = try DatasetManifest(
                parsingSidecar: try InputFile(path).readAll(limit: 1 << 20), name: path.string)
            let record = sidecar.shards[0]
            if sidecar.vocabularySize != vocabularySize || sidecar.tokenizer != tokenizer
                || sidecar.part != part || sidecar.transform != transform || record.name != ShardFormat.shardName(index)
            {
                throw .badData(path.string, "the sidecar of another shard or dataset")
            }
            let size = try InputFile(FilePath(directory).appending(record.name)).size
            if size != record.bytes {
                throw .badData(
                    FilePath(directory).appending(record.name).string, "expected \(record.bytes) bytes, found \(size)")
            }
            shards.append(record)
            leftOut = (sidecar.leftOut, leftOut.before + leftOut.last)
        }
        return (shards, leftOut)
    }
}
