// What can be saved of a damaged dataset: every document all of whose frames decode and check, into a new dataset, and a
// line for what was lost. Each shard is read twice, once to find the frames that are good and once to copy documents, so
// that a document of any size passes through in pieces.
//
// Where a shard's tables are damaged (its index says where documents end), the frames are walked from the start by their
// own headers; documents are then cut at the end-of-document id, which a tokenizer guarantees to stand at the end of every
// document; inside one it stands where special tokens were allowed in text, and cuts there.

public import Bytes
private import SystemPackage

/// Salvages a dataset into a new one.
public struct DatasetRepair {
    /// What was kept and what was not.
    public struct Summary: Sendable, Equatable {
        public var documents = 0
        public var tokens = 0
        public var lostDocuments = 0
        public var lostTokens = 0
        /// Whether nothing was found wrong.
        public var isWhole: Bool { lostDocuments == 0 && lostTokens == 0 }
    }

    private let dataset: Dataset
    private let cutter: DocumentCutter

    /// - Throws: `Fault`: the output exists.
    public init(_ dataset: Dataset, output: String, level: Int = DatasetWriter.defaultLevel) throws(Fault) {
        self.dataset = dataset
        if FileSystem.kind(of: FilePath(output), followingLinks: false) != nil {
            throw Fault(.cannotCreate, "cannot create \(quoted(output)): it exists already")
        }
        cutter = try DocumentCutter(dataset, output: output, level: level)
    }

    /// Does the work.
    /// - Parameters:
    ///   - report: called with a line for each finding and each loss, in order.
    ///   - progress: called with the tokens looked at.
    public func run(report: (String) -> Void, progress: (Int) -> Void = { _ in }) throws -> Summary {
        var summary = Summary()
        var looked = 0
        for index in 0..<dataset.shardCount {
            let record = dataset.manifest.shards[index]
            let before = (cutter.documents, cutter.tokens)
            if let shard = try open(index, report: report) {
                try salvage(shard, report: report)
            } else {
                try salvageWithoutIndex(index, report: report)
            }
            let (kept, tokens) = (cutter.documents - before.0, cutter.tokens - before.1)
            let lost = (max(0, record.documents - kept), max(0, record.tokens - tokens))
            if lost != (0, 0) {
                report(
                    "\(quoted(record.name)): lost \(lost.0) of \(record.documents) documents, \(lost.1) of \(record.tokens) tokens"
                )
            }
            summary.lostDocuments += lost.0
            summary.lostTokens += lost.1
            looked += record.tokens
            progress(looked)
        }
        try cutter.finish()
        summary.documents = cutter.documents
        summary.tokens = cutter.tokens
        return summary
    }

    /// A shard whose tables are sound; nil, and a line, for another. The manifest's sizes are not asked for.
    private func open(_ index: Int, report: (String) -> Void) throws(Fault) -> Shard? {
        do {
            return try Shard(dataset.shardPath(index), vocabularySize: dataset.vocabularySize)
        } catch {
            if error.kind == .inputOutput { throw error }
            report(error.message)
            return nil
        }
    }

    /// With the index: documents that touch no bad frame.
    private func salvage(_ shard: Shard, report: (String) -> Void) throws(Fault) {
        let decompressor = ZstdDecompressor()
        var isGood: [Bool] = []
        for k in 0..<shard.frameCount {
            do throws(Fault) {
                _ = try shard.tokens(inFrame: k, using: decompressor)
                _ = try shard.documentEnds(inFrame: k)
                isGood.append(true)
            } catch {
                if error.kind == .inputOutput { throw error }
                report(error.message)
                isGood.append(false)
            }
        }
        for k in 0..<shard.frameCount where isGood[k] {
            let ids = try shard.tokens(inFrame: k, using: decompressor)
            var begin = shard.frameEntry(k).documentStart - shard.tokenOffset(ofFrame: k)
            for end in try shard.documentEnds(inFrame: k) {
                // A document that began earlier is copied when its last frame is met.
                if begin < 0 {
                    let first = (begin + shard.tokenOffset(ofFrame: k)) / shard.type.tokensPerFrame
                    if isGood[first..<k].allSatisfy({ $0 }) {
                        for earlier in first..<k {
                            let part = try shard.tokens(inFrame: earlier, using: decompressor)
                            let skip = max(
                                0, begin + shard.tokenOffset(ofFrame: k) - shard.tokenOffset(ofFrame: earlier))
                            try cutter.append(part[skip...], endsDocument: false)
                        }
                        try cutter.append(ids[..<Int(end)], endsDocument: true)
                    }
                } else {
                    try cutter.append(ids[begin..<Int(end)], endsDocument: true)
                }
                begin = Int(end)
            }
        }
    }

    /// Without: frames as they follow each other, cut at the end-of-document id.
    private func salvageWithoutIndex(_ index: Int, report: (String) -> Void) throws(Fault) {
        let path = FilePath(dataset.shardPath(index))
        guard FileSystem.size(of: path) != nil else { return }
        if dataset.manifest.transform == .rank {
            report(
                "\(quoted(path.string)): without its index nothing says which ids its ranks are; the whole shard is lost"
            )
            return
        }
        guard dataset.manifest.tokenizer.canDecode, let end = dataset.manifest.tokenizer.endOfDocument else {
            report(
                "\(quoted(path.string)): without its index nothing says where documents end; the whole shard is lost")
            return
        }
        let frames = LooseFrames(
            try InputFile(path), type: dataset.type == .u16 ? .u16 : .u32, vocabularySize: dataset.vocabularySize)
        var offset = 0
        // Frames of the document that is open, with the ids of its first frame that are not its own; nil behind a bad frame,
        // until an id ends the document that was cut.
        var open: [(frame: LooseFrames.Frame, skip: Int)]? = []
        while let frame = try frames.frame(at: offset) {
            offset = frame.end
            guard let ids = frames.ids(frame, report: report) else {
                open = nil
                continue
            }
            var begin = 0
            for (place, id) in ids.enumerated() where id == UInt32(end) {
                if let open {
                    for earlier in open {
                        guard let part = frames.ids(earlier.frame, report: report) else {
                            throw .badData(path.string, "it changes while it is read")
                        }
                        try cutter.append(part[earlier.skip...], endsDocument: false)
                    }
                    try cutter.append(ids[begin...place], endsDocument: true)
                }
                open = []
                begin = place + 1
            }
            if begin < ids.count { open?.append((frame, begin)) }
        }
    }
}

/// The frames of a shard by their own headers.
private struct LooseFrames {
    struct Frame {
        let offset: Int
        let end: Int
        let content: Int
    }

    private let file: InputFile
    private let type: IntegerType
    private let vocabularySize: Int
    private let decompressor = ZstdDecompressor()

    init(_ file: InputFile, type: IntegerType, vocabularySize: Int) {
        self.file = file
        self.type = type
        self.vocabularySize = vocabularySize
    }

    /// nil where no token frame begins that the file holds whole.
    func frame(at offset: Int) throws(Fault) -> Frame? {
        let bytes = try file.read(at: offset, count: min(ShardFormat.maximumCompressedFrame, file.size - offset))
        guard let size = ZstdDecompressor.frameSize(bytes[...]) else { return nil }
        return Frame(offset: offset, end: offset + size.compressed, content: size.content)
    }

    /// nil, and a line, for a frame that does not decode to ids.
    func ids(_ frame: Frame, report: (String) -> Void) -> [UInt32]? {
        do {
            guard (1...ShardFormat.frameBytes).contains(frame.content), frame.content % type.byteCount == 0 else {
                throw Fault.badData(file.name, byte: frame.offset, "a frame of \(frame.content) bytes")
            }
            let bytes = try file.read(at: frame.offset, count: frame.end - frame.offset)
            let content: [UInt8]
            do throws(ZstdDecompressor.Failure) {
                content = try decompressor.decode(bytes[...], count: frame.content)
            } catch { throw Fault.badData(file.name, byte: frame.offset, error.description) }
            return try type.ids(content[...], below: vocabularySize, name: file.name, byte: frame.offset)
        } catch {
            report((error as? Fault)?.message ?? "\(error)")
            return nil
        }
    }
}

/// Documents in pieces into a new dataset.
private final class DocumentCutter {
    private let sink: DatasetSink
    private var cutter: FrameCutter
    private let compressor: ZstdCompressor
    private let type: TokenType
    /// What was left out when the damaged dataset was made is counted in the new one too.
    private let leftOut: LeftOut
    private(set) var documents = 0
    private(set) var tokens = 0

    init(_ dataset: Dataset, output: String, level: Int) throws(Fault) {
        let tokenizer = dataset.manifest.tokenizer
        sink = try DatasetSink(
            directory: output, vocabularySize: dataset.vocabularySize, tokenizer: tokenizer,
            transform: dataset.manifest.transform)
        type = dataset.type
        leftOut = dataset.manifest.leftOut
        // Shards about as large as those of the original.
        let tokens = dataset.manifest.shards.indices.map { dataset.manifest.shards.tokens(ofShard: $0) }.max() ?? 1
        cutter = FrameCutter(
            type: type, shardTokens: max(1, tokens),
            rankedVocabulary: dataset.manifest.transform == .rank ? dataset.vocabularySize : nil)
        compressor = ZstdCompressor(level: level)
        if let file = tokenizer.file, let digest = tokenizer.sha256 {
            let source = try InputFile(FilePath(dataset.path).appending(file))
            let bytes = try source.readAll(limit: 1 << 28)
            let found = Digest.of(bytes)
            if found != digest {
                throw Fault(.badData, "bad sha256 of \(quoted(source.name)): expected \(digest), found \(found)")
            }
            try AtomicFile.write(bytes, to: FilePath(output).appending(file))
        }
    }

    func append(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws(Fault) {
        cutter.append(type.stored(ids)[...])
        tokens += ids.count
        if endsDocument {
            cutter.endDocument(ResumePoint())
            documents += 1
        }
        try drain()
    }

    func finish() throws {
        cutter.finish(ResumePoint())
        try drain()
        _ = try sink.finish(leftOut: leftOut)
    }

    private func drain() throws(Fault) {
        let frames = cutter.finished
        cutter.finished.removeAll()
        for frame in frames {
            _ = try sink.append(CompressedFrame(frame, type: type, using: compressor), leftOut: leftOut)
        }
    }
}
