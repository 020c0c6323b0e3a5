// Making a vocabulary from text: documents are cut into pre-tokens and counted as they stream by, then merged. The merges
// are those of Hugging Face's BpeTrainer on the same texts (`make tokenizers` compares), and what comes out is a
// tokenizer.json that `tokenizers` reads.

public import Bytes

/// Counts text and makes a vocabulary of it. Not for concurrent use.
public struct TokenizerTraining {
    private let pattern: PretokenPattern
    private let trainer: BytePairTrainer
    /// Texts without a byte.
    public private(set) var emptyTexts = 0
    public private(set) var texts = 0

    /// - Parameters:
    ///   - pattern: how text is cut.
    ///   - memoryLimit: bytes for the unique pre-tokens.
    /// - Throws: `Fault` (usage) for a pattern that tokenizer.json cannot say.
    public init(pattern: PretokenPattern, memoryLimit: Int) throws(Fault) {
        if let expressions = pattern.expressionsToWrite, expressions.isEmpty {
            throw Fault(
                .usage, "a tokenizer.json cannot say the pattern \(pattern.rawValue)",
                hint: "cl100k differs at the end of a text only")
        }
        self.pattern = pattern
        trainer = BytePairTrainer(pattern: pattern, memoryLimit: memoryLimit)
    }

    public var uniquePretokens: Int { trainer.uniquePretokens }

    /// Counts an input.
    /// - Parameters:
    ///   - path: a file; `-` is standard input.
    ///   - format: text or jsonl.
    ///   - separator: of text, the line between documents; nil when a file is a document.
    ///   - isPerLine: whether each line with its newline is a text of its own, as in `train(files)` of `tokenizers`.
    ///   - progress: called with the bytes counted since the last call; true stops.
    /// - Throws: `Fault`, also when it was stopped (interrupted).
    public mutating func count(
        _ path: String, format: DocumentFormat, separator: String?, field: String, isPerLine: Bool,
        progress: (Int) -> Bool
    ) throws(Fault) {
        precondition(!format.holdsIds, "ids have no text")
        let source = try openInput(path, at: 0)
        let reader: any DocumentReader
        switch (format, separator) {
        case (.jsonLines, _): reader = JSONLineDocuments(source, field: field, offset: 0, line: 0)
        case (_, let separator?):
            reader = SeparatedDocuments(source, separator: Array(separator.utf8), offset: 0, line: 0)
        default: reader = WholeFileDocument(source)
        }
        var hasContent = false
        while let piece = try reader.next() {
            if progress(piece.content.count) { throw Fault(.interrupted, "interrupted") }
            do throws(Fault) {
                if isPerLine {
                    var start = 0
                    while let newline = piece.content.firstIndex(of: 0x0a, from: start) {
                        try trainer.count(Array(piece.content[start...newline]), isLast: true)
                        start = newline + 1
                    }
                    try trainer.count(Array(piece.content[start...]), isLast: piece.endsDocument)
                } else {
                    try trainer.count(piece.content, isLast: piece.endsDocument)
                }
            } catch {
                throw error.kind == .badData ? .badData(path, error.message) : error
            }
            hasContent = hasContent || !piece.content.isEmpty
            if piece.endsDocument {
                if hasContent { texts += 1 } else { emptyTexts += 1 }
                hasContent = false
            }
        }
    }

    /// The tokenizer.json of a vocabulary of (at most) `vocabularySize` ids, and how many ids it has.
    /// - Parameters:
    ///   - special: names of special tokens, which have the ids from 0 on.
    ///   - leastCount: pairs that come up more rarely are not merged.
    /// - Throws: `Fault` (usage) when special tokens and bytes alone are more.
    public func tokenizerJSON(
        vocabularySize: Int, special: [String], leastCount: Int
    ) throws(Fault) -> (content: [UInt8], size: Int) {
        let first = special.count
        if vocabularySize < first + 256 || vocabularySize > BytePairVocabulary.idLimit {
            throw Fault(
                .usage,
                "a vocabulary of \(vocabularySize): expected \(first + 256) (bytes and special tokens) to \(BytePairVocabulary.idLimit)"
            )
        }
        if Set(special.map { Array($0.utf8) }).count != special.count || special.contains("") {
            throw Fault(.usage, "special tokens are not empty and differ from each other")
        }
        // Bytes are numbered in the order of the characters that stand for them, as `tokenizers` does.
        let order = (0..<256).sorted { ByteLevel.scalars[$0] < ByteLevel.scalars[$1] }
        var byteIds = [UInt32](repeating: 0, count: 256)
        for (index, byte) in order.enumerated() { byteIds[byte] = UInt32(first + index) }
        let merges = try trainer.merges(byteIds: byteIds, vocabularySize: vocabularySize, leastCount: leastCount)
        var tokens = special
        tokens += order.map { ByteLevel.encode([UInt8($0)]) }
        var pairs: [JSON] = []
        for merge in merges {
            let (left, right) = (tokens[Int(merge.left)], tokens[Int(merge.right)])
            pairs.append(.string(left + " " + right))
            // Two merges may lead to one token.
            if Int(merge.merged) == tokens.count { tokens.append(left + right) }
        }
        var vocabulary = JSONObject()
        for (id, token) in tokens.enumerated() { vocabulary[token] = .integer(id) }
        let content = JSONTokenizerFile.write(
            vocabulary: .object(vocabulary), merges: pairs,
            special: special.enumerated().map { (name: $1, id: $0) }, expressions: pattern.expressionsToWrite)
        return (content, tokens.count)
    }
}
