// From inputs to datasets: read, cut into documents, encode on worker threads, select, shuffle, cut into frames, compress
// on the same workers, write in order. Memory does not grow with the input: at most two pieces of 256 KiB a worker are on
// their way, and a shard under way costs 36 bytes a frame and 4 bytes a document. (What the search for duplicates and
// the shuffle add is stated in `DigestSet` and `DocumentShuffle`.)
//
// Resume: a shard ends with a document, and after each one the place of the next document is recorded. A later run
// starts reading at the earliest place that any side still needs and passes over the documents that a side already has.

public import Bytes
private import SystemPackage

/// What an ingest did, for the ledger that is printed.
public struct IngestSummary: Sendable, Equatable {
    /// One manifest a dataset: the dataset, or train and validation.
    public var manifests: [DatasetManifest]
    /// What was read and left out, of all datasets together.
    public var leftOut: LeftOut { manifests.reduce(LeftOut()) { $0 + $1.leftOut } }
}

/// Thrown by `Ingest.run` when it was asked to stop: what was finished is on the disk and can be resumed.
public struct IngestInterrupted: Error, Sendable {
    public init() {}
}

/// Makes a dataset (or train and validation) of text or ids.
public struct Ingest {
    public static let trainName = "train"
    public static let validationName = "validation"

    private let recipe: IngestRecipe
    private let tokenizer: (any Tokenizer)?
    private let output: String
    private let directories: [String]
    private let sinks: [DatasetSink]
    /// Two writers in one directory would replace each other's shards.
    private let lock: FileLock
    /// Directories that were not there before.
    private var made: [String]
    private var record: IngestRecord

    private static let maximumShardTokens = 1_000_000_000

    /// Prepares the output directory.
    /// - Parameters:
    ///   - tokenizer: encodes text; with formats of ids it only goes along.
    ///   - resume: go on with what an earlier run of the same recipe left.
    /// - Throws: `Fault`: settings out of range, an input that is not there, an output that exists (without `resume`) or
    ///   was made by another recipe.
    public init(_ recipe: IngestRecipe, tokenizer: (any Tokenizer)?, output: String, resume: Bool) throws(Fault) {
        try Ingest.check(recipe)
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.output = output
        let root = FilePath(output)
        directories =
            recipe.validation == nil
            ? [output] : [Ingest.trainName, Ingest.validationName].map { root.appending($0).string }
        let sizes = try recipe.inputs.map { path throws(Fault) in try Ingest.size(of: path, recipe.format) }
        let identity = recipe.json(sizes: sizes)
        var record = IngestRecord(recipe: identity, sides: directories.map { _ in IngestRecord.Side() })
        if let kind = FileSystem.kind(of: root), kind != .directory {
            throw Fault(.cannotCreate, "cannot create \(quoted(output)): it exists and is no directory")
        }
        made = [output] + directories.filter { $0 != output }
        made.removeAll { FileSystem.kind(of: FilePath($0)) != nil }
        try FileSystem.makeDirectory(root)
        lock = try FileLock(directory: root)
        if try Ingest.isOccupied(root) {
            let hasRecord = FileSystem.kind(of: root.appending(IngestRecord.fileName)) == .file
            if !resume || !hasRecord {
                throw Fault(
                    .cannotCreate, "cannot create \(quoted(output)): it exists and is not empty",
                    hint: hasRecord
                        ? "--resume goes on with what an earlier run left there"
                        : "choose another --output: nothing there was begun by tok-shard")
            }
            record = try IngestRecord(in: output, expecting: identity, sides: directories.count)
        }
        try FileSystem.removeStaleTemporaries(in: root, prefix: IngestRecord.fileName)
        try FileSystem.removeStaleTemporaries(in: root, prefix: SpillFile.prefix)
        var sinks: [DatasetSink] = []
        for (directory, side) in zip(directories, record.sides) {
            let (shards, leftOut) = try DatasetSink.finishedShards(
                side.shards, in: directory, vocabularySize: recipe.vocabularySize, tokenizer: recipe.tokenizer,
                part: recipe.part, transform: recipe.transform)
            sinks.append(
                try DatasetSink(
                    directory: directory, vocabularySize: recipe.vocabularySize, tokenizer: recipe.tokenizer,
                    shards: shards, leftOut: leftOut, part: recipe.part, transform: recipe.transform))
        }
        self.sinks = sinks
        self.record = record
        try record.write(in: output)
        // After the record: a run that was killed in between can be resumed.
        for directory in directories { try Ingest.keepTokenizer(tokenizer, in: directory) }
    }

    private static func check(_ recipe: IngestRecipe) throws(Fault) {
        func require(_ holds: Bool, _ message: String) throws(Fault) { if !holds { throw Fault(.usage, message) } }
        try require((1...1 << 32).contains(recipe.vocabularySize), "a vocabulary size is 1 to \(1 << 32)")
        try require(
            (1...maximumShardTokens).contains(recipe.shardTokens), "shard tokens are 1 to \(maximumShardTokens)")
        try require((1...19).contains(recipe.level), "a compression level is 1 to 19")
        if let part = recipe.validation { try require(part > 0 && part < 1, "a validation part lies between 0 and 1") }
        if let least = recipe.minimumTokens { try require(least >= 1, "--min-tokens \(least): expected at least 1") }
        if let most = recipe.maximumTokens {
            try require(
                most >= recipe.minimumTokens ?? 1,
                "--max-tokens \(most): expected at least \(recipe.minimumTokens ?? 1)"
                    + (recipe.minimumTokens == nil ? "" : ", which is --min-tokens"))
        }
        if let transform = recipe.transform {
            try require(
                (65537...1 << 24).contains(recipe.vocabularySize),
                "--transform \(transform.rawValue) is for vocabularies of 65537 to \(1 << 24) ids, not \(recipe.vocabularySize)"
            )
        }
        try require(
            recipe.shuffleMemory >= DocumentShuffle.leastMemory,
            "the memory of a shuffle is at least \(DocumentShuffle.leastMemory >> 20) MiB")
        if let id = recipe.endOfDocument {
            try require(
                (0..<recipe.vocabularySize).contains(id),
                "end-of-document id \(id) is not below the vocabulary size \(recipe.vocabularySize)")
        }
        if let separator = recipe.separator {
            try require(!separator.utf8.contains(0x0a), "a separator is one line, without a newline")
        }
        try require(recipe.inputs.count { $0 == "-" } <= 1, "standard input can be read once")
    }

    /// Bytes of a regular file; nil for a pipe. An input that is not there is found before any work is done.
    private static func size(of path: String, _ format: DocumentFormat) throws(Fault) -> Int? {
        if path == "-" && (!format.isForeign || format == .idsJSONLines) { return nil }
        if format.isForeign && format != .idsJSONLines { return try ForeignDocuments.size(of: path, format) }
        switch FileSystem.kind(of: FilePath(path)) {
        case .file: return try InputFile(FilePath(path)).size
        case .other: return nil
        default:
            _ = try FileSource.open(path)  // says what is wrong with it
            return nil
        }
    }

    /// Puts the copy of the tokenizer file, which the manifest names, into a dataset's directory.
    private static func keepTokenizer(_ tokenizer: (any Tokenizer)?, in directory: String) throws(Fault) {
        guard let file = tokenizer?.record.file, let content = tokenizer?.fileContent else { return }
        if [DatasetManifest.fileName, IngestRecord.fileName].contains(file) || file.hasPrefix("shard-") {
            throw Fault(.usage, "a tokenizer file named \(quoted(file)): a dataset has another file of that name")
        }
        try FileSystem.makeDirectory(FilePath(directory))
        try AtomicFile.write(content, to: FilePath(directory).appending(file))
    }

    private static func isOccupied(_ root: FilePath) throws(Fault) -> Bool {
        // What a killed run was about to publish is nothing yet.
        try FileSystem.list(root).contains { !$0.hasSuffix(".tmp") }
    }

    /// Does the work.
    /// - Parameters:
    ///   - threads: workers that encode and compress; 1 does everything on the calling thread.
    ///   - isInterrupted: asked between pieces; true stops with `IngestInterrupted`.
    ///   - progress: called with the tokens written by this run.
    public mutating func run(
        threads: Int, isInterrupted: () -> Bool = { false }, progress: (Int) -> Void = { _ in }
    ) throws -> IngestSummary {
        do {
            return try work(threads: threads, isInterrupted: isInterrupted, progress: progress)
        } catch {
            cleanUp()
            throw error
        }
    }

    /// A run that failed before its first shard leaves nothing: there is nothing to resume, and the record alone would be
    /// in the way of the corrected command.
    private func cleanUp() {
        let root = FilePath(output)
        guard let record = try? IngestRecord(in: output, expecting: record.recipe, sides: sinks.count),
            record.sides.allSatisfy({ $0.shards == 0 }), !record.isComplete
        else { return }
        for sink in sinks { sink.abandon() }
        if let file = tokenizer?.record.file {
            for directory in directories { try? FileSystem.remove(FilePath(directory).appending(file)) }
        }
        try? FileSystem.remove(root.appending(IngestRecord.fileName))
        // Only what is empty goes: rmdir(2) refuses the rest.
        for directory in made.reversed() { FileSystem.removeEmptyDirectory(FilePath(directory)) }
    }

    private mutating func work(
        threads: Int, isInterrupted: () -> Bool, progress: (Int) -> Void
    ) throws -> IngestSummary {
        let text = recipe.format.holdsIds ? nil : tokenizer
        let stream = try IngestStream(
            recipe, tokenizer: text, sides: record.sides.map(\.next), directory: FilePath(output))
        let type = TokenType(vocabularySize: recipe.vocabularySize)
        let recipe = recipe
        let sinks = sinks
        let output = output
        let strand = EncodingStrand()
        var record = record
        var written = 0
        if !record.isComplete {
            try orderedParallelMap(
                threads: threads,
                next: { () throws -> IngestWork? in try stream.next(isInterrupted: isInterrupted) },
                makeWorker: {
                    let compressor = ZstdCompressor(level: recipe.level)
                    let encoder = text.map { BatchEncoder($0, recipe, strand: strand) }
                    return { (work: IngestWork) throws -> IngestResult in
                        switch work {
                        case .compress(let side, let frame):
                            return .compressed(side: side, CompressedFrame(frame, type: type, using: compressor))
                        case .encode(let batch):
                            guard let encoder else { preconditionFailure("ids are not encoded") }
                            return .encoded(try encoder.encode(batch))
                        }
                    }
                },
                emit: { (result: IngestResult) in
                    switch result {
                    case .encoded(let batch): try stream.take(batch)
                    case .compressed(let side, let frame):
                        written += frame.tokens
                        let next = frame.raw.endsShard
                        let leftOut = next?.leftOut(ofSide: side) ?? LeftOut()
                        if try sinks[side].append(frame, leftOut: leftOut), let next {
                            record.sides[side] = IngestRecord.Side(shards: sinks[side].shards.count, next: next)
                            try record.write(in: output)
                        }
                    }
                    progress(written)
                })
            // Every side's last word is the end of the input, also of one whose last shard ended before it.
            for side in record.sides.indices { record.sides[side].next = stream.end }
        }
        if isInterrupted() { throw IngestInterrupted() }
        // Validation first: where there is a train dataset, the other is there too.
        var manifests: [DatasetManifest] = []
        for (side, sink) in sinks.enumerated().reversed() {
            manifests.insert(try sink.finish(leftOut: record.sides[side].next.leftOut(ofSide: side)), at: 0)
        }
        record.isComplete = true
        try record.write(in: output)
        self.record = record
        return IngestSummary(manifests: manifests)
    }
}
