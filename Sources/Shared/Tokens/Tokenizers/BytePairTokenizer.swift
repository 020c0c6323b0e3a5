// Byte-level BPE, whatever file it was read from: a vocabulary of byte strings with merges, a pattern that cuts text into
// pre-tokens, a normal form, special tokens. The same text gives the same ids as in `tiktoken` and `tokenizers`
// (`make tokenizers` compares).

public import Bytes

/// A byte-level BPE tokenizer. Immutable.
public struct BytePairTokenizer: Tokenizer {
    /// The parts of a tokenizer, before the tables are made of them.
    struct Parts {
        var name: String
        /// Token i is `bytes[offsets[i]..<offsets[i + 1]]`.
        var bytes: [UInt8] = []
        var offsets: [UInt32] = [0]
        var ids: [UInt32] = []
        /// nil: ranks decide (docs/formats/tokenizer.md).
        var merges: [BytePairVocabulary.Merge]?
        var isWhole = true
        var pattern: PretokenPattern?
        /// Whether the pattern is known from elsewhere than the file, so that a record has to say it.
        var recordsPattern = false
        var form: NormalForm?
        var special: [SpecialToken] = []
        /// Tokens that no bytes lead to: their ids and what they read like.
        var unreachable: [(id: UInt32, content: [UInt8])] = []
        /// The size when the file or its kind says it; otherwise the highest id and one.
        var vocabularySize = 0

        mutating func append(_ token: some Collection<UInt8>, id: UInt32) {
            bytes.append(contentsOf: token)
            offsets.append(UInt32(bytes.count))
            ids.append(id)
        }
    }

    public let name: String
    public let fileContent: [UInt8]?
    public let fileDigest: Digest
    public let pattern: PretokenPattern?
    public let special: [SpecialToken]
    public let vocabularySize: Int
    /// The id that ends every document; nil when documents end without one.
    public var endOfDocument: Int?
    private let form: NormalForm?
    private let recordsPattern: Bool
    private let vocabulary: BytePairVocabulary
    /// Id i decodes to `decoded[decodedOffsets[i]..<decodedOffsets[i + 1]]`.
    private let decoded: [UInt8]
    private let decodedOffsets: [UInt32]

    /// What ends documents, in order of preference, when nobody chooses.
    static let customaryEnds = [
        "<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<|end▁of▁sentence|>", "</s>", "<EOT>", "<eos>",
    ]

    /// - Parameter content: of the file that goes with a dataset.
    /// - Throws: `Fault` (bad data) when a rule of docs/formats/tokenizer.md is broken.
    init(_ parts: Parts, file: String, content: [UInt8]) throws(Fault) {
        name = parts.name
        fileContent = content
        fileDigest = Digest.of(content)
        pattern = parts.pattern
        special = parts.special
        form = parts.form
        recordsPattern = parts.recordsPattern
        var texts: [(id: UInt32, range: Range<Int>)] = []
        var pool = parts.bytes
        texts.reserveCapacity(parts.ids.count + parts.special.count)
        for (index, id) in parts.ids.enumerated() {
            texts.append((id, Int(parts.offsets[index])..<Int(parts.offsets[index + 1])))
        }
        for (id, text) in parts.unreachable + parts.special.map({ (UInt32($0.id), $0.content) }) {
            texts.append((id, pool.count..<pool.count + text.count))
            pool += text
        }
        let highest = texts.map(\.id).max() ?? 0
        vocabularySize = max(parts.vocabularySize, Int(highest) + 1)
        try BytePairTokenizer.check(parts, file: file)
        var ranges = [Range<Int>](repeating: 0..<0, count: vocabularySize)
        for (id, range) in texts { ranges[Int(id)] = range }
        var decoded: [UInt8] = []
        var offsets: [UInt32] = [0]
        decoded.reserveCapacity(pool.count)
        offsets.reserveCapacity(vocabularySize + 1)
        for range in ranges {
            decoded.append(contentsOf: pool[range])
            offsets.append(UInt32(decoded.count))
        }
        self.decoded = decoded
        decodedOffsets = offsets
        vocabulary = BytePairVocabulary(
            bytes: parts.bytes, offsets: parts.offsets, ids: parts.ids, merges: parts.merges, isWhole: parts.isWhole)
        let special = parts.special
        endOfDocument =
            BytePairTokenizer.customaryEnds.lazy.compactMap { name in special.first { $0.name == name }?.id }.first
    }

    private static func check(_ parts: Parts, file: String) throws(Fault) {
        var seen = Set<UInt32>(minimumCapacity: parts.ids.count)
        var singles = [Bool](repeating: false, count: 256)
        for (index, id) in parts.ids.enumerated() {
            if id >= BytePairVocabulary.idLimit {
                throw .badData(file, "id \(id) is not below \(BytePairVocabulary.idLimit)")
            }
            if !seen.insert(id).inserted { throw .badData(file, "two tokens have the id \(id)") }
            let range = Int(parts.offsets[index])..<Int(parts.offsets[index + 1])
            if range.isEmpty { throw .badData(file, "the token with id \(id) is empty") }
            if range.count == 1 { singles[Int(parts.bytes[range.lowerBound])] = true }
        }
        if let missing = singles.firstIndex(of: false) {
            throw .badData(
                file, "expected a token for every byte, found none for byte 0x\(String(missing, radix: 16))",
                hint: "not a byte-level vocabulary, or a damaged one")
        }
        for token in parts.special where token.id < 0 || token.id >= BytePairVocabulary.idLimit {
            throw .badData(
                file, "special token \(quoted(token.name)): id \(token.id) is not below \(BytePairVocabulary.idLimit)")
        }
    }

    public var record: TokenizerRecord {
        TokenizerRecord(
            name: name, file: name, sha256: fileDigest, endOfDocument: endOfDocument,
            pattern: recordsPattern ? pattern : nil)
    }

    public func makeEncoder(allowSpecial: Bool) throws(Fault) -> any TextEncoder {
        let wanted = special.filter { allowSpecial || !$0.isSpecial }
        if let token = wanted.first(where: { $0.obstacle != nil }), let obstacle = token.obstacle {
            throw .badData(name, "added token \(quoted(token.name)): \(obstacle), which this release does not do")
        }
        return Encoder(
            BytePairEncoder(vocabulary, pattern: pattern, form: form, isWide: type == .u32),
            matcher: SpecialTokenMatcher(wanted), vocabularySize: vocabularySize)
    }

    public func safeCut(in text: [UInt8], from start: Int, allowSpecial: Bool) -> Int? {
        guard pattern != nil else { return nil }
        // An added token is found before text is cut into pre-tokens, and might reach over the place.
        let wanted = special.filter { allowSpecial || !$0.isSpecial }
        if wanted.contains(where: { SafeCut.last(in: $0.content, from: 0) != nil }) { return nil }
        return SafeCut.last(in: text, from: start)
    }

    public func decode(_ ids: [UInt32]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(ids.count * 4)
        for id in ids where Int(id) < vocabularySize {
            text.append(contentsOf: decoded[Int(decodedOffsets[Int(id)])..<Int(decodedOffsets[Int(id) + 1])])
        }
        return text
    }

    /// Whether `id` is one of the vocabulary's or a special token.
    public func isKnown(_ id: UInt32) -> Bool {
        Int(id) < vocabularySize && decodedOffsets[Int(id)] < decodedOffsets[Int(id) + 1]
    }

    /// Text between special tokens goes to the inner loop; each stretch of it is a text of its own.
    private final class Encoder: TextEncoder {
        private let encoder: BytePairEncoder
        private let matcher: SpecialTokenMatcher?
        private let vocabularySize: Int
        /// The end of what came, while it may be the beginning of a special token.
        private var held: [UInt8] = []

        init(_ encoder: BytePairEncoder, matcher: SpecialTokenMatcher?, vocabularySize: Int) {
            self.encoder = encoder
            self.matcher = matcher
            self.vocabularySize = vocabularySize
        }

        func encode(_ piece: [UInt8], endsDocument: Bool) throws(Fault) -> [UInt8] {
            guard let matcher else { return try encoder.encode(piece, isLast: endsDocument) }
            let text = held.isEmpty ? piece : held + piece
            held = []
            var stored: [UInt8] = []
            var start = 0
            while true {
                switch matcher.find(in: text, from: start, isLast: endsDocument) {
                case .token(let token, let range):
                    stored += try encoder.encode(Array(text[start..<range.lowerBound]), isLast: true)
                    stored += storedIds([UInt32(token.id)], vocabularySize: vocabularySize)
                    start = range.upperBound
                case .none(let end):
                    stored += try encoder.encode(
                        start == 0 && end == text.count ? text : Array(text[start..<end]), isLast: endsDocument)
                    held = Array(text[end...])
                    return stored
                }
            }
        }
    }
}
