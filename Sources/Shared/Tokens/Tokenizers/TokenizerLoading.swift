// From a path, or from what a dataset or checkpoint says of its tokenizer, to the tokenizer. The kind of a file is told
// by its content, not by its name: an object is tokenizer.json, lines of base64 are ranks, `#version` or pairs of words
// are GPT-2's merges.

public import Bytes
private import SystemPackage

extension BytePairTokenizer {
    private static let maximumFileBytes = 1 << 28

    /// Reads a tokenizer file.
    /// - Parameters:
    ///   - path: tokenizer.json, a rank file, vocab.bpe with encoder.json (or merges.txt with vocab.json) beside it, or a
    ///     directory that holds one of these.
    ///   - pattern: for rank files that are not known; nil takes what is known of the file.
    /// - Throws: `Fault`: not there, damaged, or with a part that this release does not do.
    public init(path: String, pattern: PretokenPattern? = nil) throws(Fault) {
        let path = try BytePairTokenizer.file(at: path)
        let content = try InputFile(path).readAll(limit: BytePairTokenizer.maximumFileBytes)
        let name = path.lastComponent?.string ?? path.string
        if let pair = BytePairTokenizer.vocabularyFile(besides: path, content) {
            let json = try MergeFiles.tokenizerJSON(
                merges: content, mergesFile: path.string,
                vocabulary: try InputFile(pair).readAll(limit: BytePairTokenizer.maximumFileBytes),
                vocabularyFile: pair.string)
            try self.init(content: json, name: "tokenizer.json", file: path.string, pattern: pattern)
        } else {
            try self.init(content: content, name: name, file: path.string, pattern: pattern)
        }
    }

    /// - Parameters:
    ///   - name: what the copy in a dataset is called.
    ///   - file: for messages.
    package init(content: [UInt8], name: String, file: String, pattern: PretokenPattern?) throws(Fault) {
        let first = content.first { $0 != 0x20 && $0 != 0x0a && $0 != 0x0d && $0 != 0x09 }
        if first == UInt8(ascii: "{") {
            if let pattern {
                throw Fault(
                    .usage, "\(quoted(file)) says how text is cut; a pattern (\(pattern.rawValue)) is for rank files")
            }
            try self.init(try TokenizerJSON(content, file: file).parts(name: name), file: file, content: content)
            return
        }
        let (tokens, size) = try RankFile.parse(content, file: file)
        let known = KnownVocabulary.find(Digest.of(content))
        guard let chosen = pattern ?? known?.pattern else {
            throw Fault(
                .usage, "\(quoted(file)) is a rank file that is not known, and does not say how text is cut",
                hint: "--pattern names it: "
                    + PretokenPattern.allCases.map(\.rawValue).joined(separator: ", "))
        }
        var parts = Parts(name: name)
        for token in tokens { parts.append(token.bytes, id: token.id) }
        parts.pattern = chosen
        parts.recordsPattern = chosen != known?.pattern
        parts.form = known?.form
        parts.special = known?.special.map { SpecialToken(id: $0.id, content: Array($0.name.utf8)) } ?? []
        parts.vocabularySize = known?.vocabularySize ?? size
        try self.init(parts, file: file, content: content)
    }

    /// The file meant by a path that may be a directory.
    private static func file(at path: String) throws(Fault) -> FilePath {
        let path = FilePath(path)
        if FileSystem.kind(of: path) != .directory { return path }
        for name in ["tokenizer.json", "vocab.bpe", "merges.txt"] {
            if FileSystem.kind(of: path.appending(name)) == .file { return path.appending(name) }
        }
        let ranks = try FileSystem.list(path).filter { $0.hasSuffix(".tiktoken") }
        if ranks.count == 1 { return path.appending(ranks[0]) }
        throw Fault(
            .noInput, "no tokenizer in \(quoted(path.string)): expected tokenizer.json, vocab.bpe or one .tiktoken file"
        )
    }

    /// The ids that go with a file of merges; nil when the file is something else.
    private static func vocabularyFile(besides path: FilePath, _ content: [UInt8]) -> FilePath? {
        let line = content.prefix { $0 != 0x0a }
        let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        let isMerges =
            line.starts(with: "#version".utf8)
            || (words.count == 2 && line.first != UInt8(ascii: "{")
                && !words[1].allSatisfy { (0x30...0x39).contains($0) || $0 == 0x0d })
        if !isMerges { return nil }
        let folder = path.removingLastComponent()
        for name in ["encoder.json", "vocab.json"] {
            let candidate = folder.isEmpty ? FilePath(name) : folder.appending(name)
            if FileSystem.kind(of: candidate) == .file { return candidate }
        }
        return folder.isEmpty ? FilePath("encoder.json") : folder.appending("encoder.json")
    }

    /// The special token that ends documents, by its name or its id.
    /// - Throws: `Fault` (usage) when there is no such token.
    public mutating func chooseEndOfDocument(_ text: String) throws(Fault) {
        if let token = special.first(where: { $0.name == text }) {
            endOfDocument = token.id
        } else if let id = Int(text), id >= 0, id < vocabularySize {
            endOfDocument = id
        } else {
            let names = special.prefix(8).map { quoted($0.name) }.joined(separator: ", ")
            throw Fault(
                .usage, "no token \(quoted(text)) to end documents with in \(quoted(name))",
                hint: names.isEmpty
                    ? "it has no special tokens; an id below \(vocabularySize) may be given"
                    : "its special tokens: \(names)\(special.count > 8 ? " …" : "")")
        }
    }
}

extension TokenizerRecord {
    /// Whether text can be made of the ids.
    public var canDecode: Bool { file != nil || name == "bytes" }

    /// The tokenizer that ids were made with, from the copy of its file; nil when the ids came from elsewhere.
    /// - Parameter directory: the dataset or checkpoint that holds the copy.
    /// - Throws: `Fault`: the copy is missing, or is not the file that the record names.
    public func tokenizer(in directory: String) throws(Fault) -> (any Tokenizer)? {
        guard let file, let sha256 else { return name == "bytes" ? BytesTokenizer() : nil }
        let path = FilePath(directory).appending(file)
        let content = try InputFile(path).readAll(limit: 1 << 28)
        let found = Digest.of(content)
        if found != sha256 {
            throw Fault(.badData, "bad sha256 of \(quoted(path.string)): expected \(sha256), found \(found)")
        }
        var tokenizer = try BytePairTokenizer(content: content, name: file, file: path.string, pattern: pattern)
        tokenizer.endOfDocument = endOfDocument
        return tokenizer
    }
}
