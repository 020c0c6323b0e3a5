// What decides the bytes of a dataset: settings and inputs. It is stored beside the dataset as `ingest.json`, so that
// `--resume` can tell whether it is asked to go on with the same work. Threads are not part of it.

internal import Bytes

/// How copies of documents are found.
public enum Deduplication: String, Sendable, Hashable, CaseIterable {
    /// All ids are equal, by 128 bits of their SHA-256. The first stays.
    case exact
}

/// Settings and inputs of an ingest, validated.
public struct IngestRecipe: Sendable, Equatable {
    /// Paths; `-` is standard input.
    public var inputs: [String]
    public var format: DocumentFormat
    /// Separator line of `text`; nil when a file is a document.
    public var separator: String?
    /// Field of `jsonl`.
    public var field = "text"
    /// The id that ends documents in `ids-u16` and `ids-u32`; nil when a file is a document.
    public var endOfDocument: Int?
    public var vocabularySize: Int
    public var tokenizer: TokenizerRecord
    /// Whether what reads like a special token becomes its id.
    public var allowsSpecial = false
    /// Part of the documents that goes to `validation`, 0 < part < 1; nil for one dataset.
    public var validation: Double?
    public var shardTokens = DatasetWriter.defaultShardTokens
    public var level = DatasetWriter.defaultLevel
    /// How ids are stored; nil: as they are.
    public var transform: TokenTransform?
    /// Documents of fewer tokens are left out.
    public var minimumTokens: Int?
    /// Documents of more tokens are left out.
    public var maximumTokens: Int?
    /// How copies of earlier documents are found and left out; nil: they stay.
    public var deduplication: Deduplication?
    /// Chooses the order of the documents; nil: that of the input.
    public var shuffleSeed: UInt64?
    /// Bytes that the shuffle uses at most. It does not change a byte of the dataset, and is not stored.
    public var shuffleMemory = 1 << 30
    /// Which part of a longer list of inputs these are; nil for all of it.
    public var part: DatasetPart?

    /// Text through a tokenizer.
    public init(inputs: [String], format: DocumentFormat, tokenizer: any Tokenizer) {
        precondition(!format.holdsIds, "\(format.rawValue) holds ids, which need no tokenizer")
        self.inputs = inputs
        self.format = format
        vocabularySize = tokenizer.vocabularySize
        self.tokenizer = tokenizer.record
        endOfDocument = nil
    }

    /// Ids made elsewhere.
    /// - Parameter tokenizer: what made them, so that they can be turned into text again; nil when that is not known.
    public init(
        inputs: [String], format: DocumentFormat, vocabularySize: Int, endOfDocument: Int?,
        tokenizer: (any Tokenizer)? = nil
    ) {
        precondition(format.holdsIds, "\(format.rawValue) holds text, which needs a tokenizer")
        self.inputs = inputs
        self.format = format
        self.vocabularySize = vocabularySize
        self.endOfDocument = endOfDocument
        self.tokenizer = tokenizer?.record ?? TokenizerRecord(name: "ids")
        self.tokenizer.endOfDocument = endOfDocument
    }

    /// One line per setting; equal recipes give equal bytes. Sizes of regular files belong to it, so that a changed
    /// input is noticed.
    /// - Parameter sizes: of the inputs, null for what has none.
    func json(sizes: [Int?]) -> JSON {
        var object: JSONObject = [
            "format": .string(format.rawValue),
            "separator": separator.map(JSON.string) ?? .null,
            "field": .string(field),
            "end_of_document": endOfDocument.map(JSON.integer) ?? .null,
            "vocabulary_size": .integer(vocabularySize),
            "tokenizer": tokenizer.json,
            "validation": validation.map(JSON.number) ?? .null,
            "shard_tokens": .integer(shardTokens),
            "level": .integer(level),
            "inputs": .array(
                zip(inputs, sizes).map { ["name": .string($0), "bytes": $1.map(JSON.integer) ?? .null] }),
        ]
        object["part"] = part?.json
        object["transform"] = transform.map { .string($0.rawValue) }
        object["min_tokens"] = minimumTokens.map(JSON.integer)
        object["max_tokens"] = maximumTokens.map(JSON.integer)
        object["dedup"] = deduplication.map { .string($0.rawValue) }
        object["shuffle"] = shuffleSeed.map { .string(String($0)) }
        if allowsSpecial { object["allow_special"] = true }
        return .object(object)
    }
}
