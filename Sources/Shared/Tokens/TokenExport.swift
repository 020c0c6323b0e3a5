// From a dataset to the token files of other programs: which documents go into which file is planned from the index, so
// that every head can say its counts before the first id; then the ids are read once and streamed. An id that a format
// cannot hold is refused before anything is written, and every file is whole or absent.

public import Bytes
private import SystemPackage

/// Writes a dataset in a foreign format.
public struct TokenExport {
    public struct Options: Sendable {
        public var format: ForeignFormat
        /// An id to put behind every document.
        public var appendedId: Int?
        /// Whether documents may run together in formats that do not say where they end.
        public var dropsBoundaries = false
        /// A file ends with the document that reaches this many ids; nil: one file.
        public var fileTokens: Int?
        /// Column of `mds`, field of `jsonl`.
        public var field = "tokens"
        /// zstd level of `mds`; nil: not compressed.
        public var level: Int?
        /// Bytes of an `mds` shard.
        public var sizeLimit = 1 << 26
        /// A line between documents of `text`.
        public var separator: String?

        public init(format: ForeignFormat) { self.format = format }
    }

    private let dataset: Dataset
    private let options: Options
    /// What `text` is decoded with.
    private let tokenizer: (any Tokenizer)?

    /// - Throws: `Fault` (usage): options that do not fit together, or a dataset that the format cannot hold.
    public init(_ dataset: Dataset, _ options: Options) throws(Fault) {
        self.dataset = dataset
        self.options = options
        tokenizer = options.format == .text ? try dataset.manifest.tokenizer.tokenizer(in: dataset.path) : nil
        func require(_ holds: Bool, _ message: String, hint: String? = nil) throws(Fault) {
            if !holds { throw Fault(.usage, message, hint: hint) }
        }
        let format = options.format
        try require(options.fileTokens ?? 1 >= 1, "--file-tokens \(options.fileTokens ?? 0): expected at least 1")
        try require(
            options.fileTokens == nil || format != .mds, "--file-tokens is not for mds, which has --size-limit")
        try require(options.level == nil || format == .mds, "--compress is for mds")
        if let level = options.level { try require((1...19).contains(level), "a compression level is 1 to 19") }
        try require(
            (1 << 10...1 << 31).contains(options.sizeLimit),
            "--size-limit \(options.sizeLimit): expected 1024 to \(1 << 31)")
        try require(options.separator == nil || format == .text, "--separator is for text")
        try require(
            !options.dropsBoundaries || !format.keepsDocuments, "\(format.rawValue) keeps the ends of documents")
        if let id = options.appendedId {
            try require(format != .text, "--end-of-document is for ids, not for text")
            try require(
                (0..<dataset.vocabularySize).contains(id),
                "end-of-document id \(id) is not below the vocabulary size \(dataset.vocabularySize)")
        }
        try require(
            format != .nanogpt || dataset.type == .u16,
            "nanogpt holds ids below 65536, \(quoted(dataset.path)) has a vocabulary of \(dataset.vocabularySize)",
            hint: "npy, llmc and megatron hold larger ids; 'zstd -dc' of the shards gives raw u32")
        let marks = options.appendedId ?? dataset.manifest.tokenizer.endOfDocument
        try require(
            format.keepsDocuments || marks != nil || options.dropsBoundaries,
            "\(format.rawValue) does not say where documents end, and \(quoted(dataset.path)) has no end-of-document id",
            hint: "--end-of-document appends one to every document, --drop-boundaries lets them run together")
        if format == .text && tokenizer == nil {
            throw Fault(
                .usage,
                "\(quoted(dataset.path)) was made with tokenizer \(quoted(dataset.manifest.tokenizer.name)), "
                    + "which this release cannot decode")
        }
    }

    /// Documents of one file.
    struct Part {
        var documents: Range<Int>
        /// Ids, appended ones included.
        var tokens: Int
    }

    /// Does the work.
    /// - Parameters:
    ///   - output: the file, or `-` for standard output.
    ///   - progress: called with the dataset's ids that are written.
    public func run(output: String, progress: (Int) -> Void = { _ in }) throws {
        if output == "-" && (!options.format.isOneFile || options.fileTokens != nil) {
            throw Fault(.usage, "\(options.format.rawValue) needs more than one file, which standard output is not")
        }
        let parts = try plan()
        var done = 0
        for (number, part) in parts.enumerated() {
            let path = options.fileTokens == nil ? output : TokenExport.numbered(output, number, options.format)
            let writer = try writer(path, part)
            let appended = options.appendedId.map { [UInt32($0)] }
            try dataset.readDocuments(part.documents) { ids, endsDocument in
                try writer.write(ids, endsDocument: endsDocument && appended == nil)
                if endsDocument, let appended { try writer.write(appended[...], endsDocument: true) }
                done += ids.count
                progress(done)
            }
            try writer.finish()
        }
    }

    /// `name-00000.bin` of `name.bin`.
    static func numbered(_ output: String, _ number: Int, _ format: ForeignFormat) -> String {
        let digits = String(number)
        let tail = "-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        let suffix = format.suffix
        return output.hasSuffix(suffix) ? output.dropLast(suffix.utf8.count) + tail + suffix : output + tail
    }

    private func plan() throws -> [Part] {
        let totals = dataset.manifest.totals
        let extra = options.appendedId == nil ? 0 : 1
        guard let limit = options.fileTokens else {
            return [Part(documents: 0..<totals.documents, tokens: totals.tokens + extra * totals.documents)]
        }
        var parts: [Part] = []
        var part = Part(documents: 0..<0, tokens: 0)
        try dataset.readLengths(0..<totals.documents) { length in
            part.documents = part.documents.lowerBound..<part.documents.upperBound + 1
            part.tokens += length + extra
            if part.tokens >= limit {
                parts.append(part)
                part = Part(documents: part.documents.upperBound..<part.documents.upperBound, tokens: 0)
            }
        }
        if !part.documents.isEmpty || parts.isEmpty { parts.append(part) }
        return parts
    }

    private func writer(_ path: String, _ part: Part) throws -> any TokenFileWriter {
        let lengths = DocumentLengthsReader(dataset, part.documents, extra: options.appendedId == nil ? 0 : 1)
        let vocabulary = dataset.vocabularySize
        switch options.format {
        case .nanogpt: return try RawTokenWriter(path, type: .u16)
        case .llmc:
            let kind = ForeignDocuments.llmcKinds[dataset.type == .u16 ? 0 : 1]
            guard let count = Int32(exactly: part.tokens) else {
                throw Fault(
                    .usage, "an llm.c file holds up to \(Int32.max) ids, \(quoted(path)) would have \(part.tokens)",
                    hint: "--file-tokens makes several files")
            }
            var head = [Int32](repeating: 0, count: ForeignDocuments.llmcHeadBytes / 4)
            head[0...2] = [kind.magic, kind.version, count]
            return try RawTokenWriter(path, head: head.littleEndianBytes, type: dataset.type)
        case .npy:
            let head = NumPyHead.text(type: dataset.type, count: part.tokens)
            return try RawTokenWriter(path, head: head, type: dataset.type)
        case .megatron: return try MegatronWriter(path, vocabularySize: vocabulary, lengths: lengths)
        case .datatrove:
            return try DatatroveWriter(
                path, type: dataset.type, tokenizer: dataset.manifest.tokenizer.name, tokens: part.tokens,
                lengths: lengths)
        case .mds:
            return try MDSWriter(
                path, type: dataset.type, column: options.field, level: options.level, sizeLimit: options.sizeLimit,
                lengths: lengths)
        case .jsonl: return try JSONIdWriter(path, field: options.field)
        case .text:
            guard let tokenizer else { preconditionFailure("checked in init") }
            return try DecodedTextWriter(path, tokenizer: tokenizer, separator: options.separator)
        }
    }
}

/// The lengths of the documents of one file, as often as they are asked for; they are never in memory.
struct DocumentLengthsReader {
    private let dataset: Dataset
    let documents: Range<Int>
    private let extra: Int

    /// - Parameter extra: ids that are appended to each document.
    init(_ dataset: Dataset, _ documents: Range<Int>, extra: Int) {
        self.dataset = dataset
        self.documents = documents
        self.extra = extra
    }

    /// - Parameter range: of the file's documents; nil: all.
    func read(_ range: Range<Int>? = nil, _ body: (Int) throws -> Void) throws {
        let wanted = range.map { $0.lowerBound + documents.lowerBound..<$0.upperBound + documents.lowerBound }
        try dataset.readLengths(wanted ?? documents) { try body($0 + extra) }
    }
}
