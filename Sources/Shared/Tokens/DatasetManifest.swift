// `dataset.json` and the sidecars (docs/formats/dataset.md): what a dataset says of itself. Parsing believes nothing:
// names stay inside the directory, sums are checked, sizes agree with each other before anyone allocates by them.

public import Bytes

/// What the manifest says of one shard file.
public struct ShardRecord: Sendable, Hashable {
    /// One path component.
    public var name: String
    public var tokens: Int
    public var documents: Int
    public var frames: Int
    /// Size of the file.
    public var bytes: Int
    /// Digest of the file.
    public var sha256: Digest

    public init(name: String, tokens: Int, documents: Int, frames: Int, bytes: Int, sha256: Digest) {
        self.name = name
        self.tokens = tokens
        self.documents = documents
        self.frames = frames
        self.bytes = bytes
        self.sha256 = sha256
    }
}

/// Which tokenizer made the ids.
public struct TokenizerRecord: Sendable, Hashable {
    public var name: String
    /// The copy in the dataset directory, one path component; nil for a built-in tokenizer or imported ids.
    public var file: String?
    public var sha256: Digest?
    /// The id that ends every document, or nil when documents end without one.
    public var endOfDocument: Int?
    /// How text is cut, when the file does not say it and is not one of the published ones; else nil.
    public var pattern: PretokenPattern?

    public init(
        name: String, file: String? = nil, sha256: Digest? = nil, endOfDocument: Int? = nil,
        pattern: PretokenPattern? = nil
    ) {
        self.pattern = pattern
        self.name = name
        self.file = file
        self.sha256 = sha256
        self.endOfDocument = endOfDocument
    }
}

/// Which part of a corpus a dataset is, when a corpus is made by several runs (`tok-shard --shard`).
public struct DatasetPart: Sendable, Hashable {
    /// From 0.
    public let index: Int
    public let count: Int

    public init(index: Int, count: Int) {
        precondition((0..<count).contains(index), "part \(index) of \(count)")
        self.index = index
        self.count = count
    }

    /// The places that this part has of a list of `total`: a run of neighbours, so that the parts one after the other
    /// are the list. Lengths of parts differ by one at most.
    public func range(of total: Int) -> Range<Int> {
        // index × total leaves 63 bits for no list that fits into memory.
        index * total / count..<(index + 1) * total / count
    }
}

/// Sums over the shards of a dataset.
public struct DatasetTotals: Sendable, Hashable {
    public var shards = 0
    public var tokens = 0
    public var documents = 0
    public var frames = 0
    public var bytes = 0

    public init() {}
}

/// The content of `dataset.json`, valid by construction: totals are sums, the type follows from the vocabulary.
public struct DatasetManifest: Sendable, Hashable {
    public static let fileName = "dataset.json"
    public static let format = "millrace-dataset"
    public static let sidecarFormat = "millrace-shard"
    public static let version = 1

    public let type: TokenType
    public let vocabularySize: Int
    public let tokenizer: TokenizerRecord
    public let shards: ShardList
    public let totals: DatasetTotals
    /// nil for a whole.
    public let part: DatasetPart?
    /// Documents that were read when it was made and are not in it; a sidecar's, those of its shard.
    public let leftOut: LeftOut
    /// How ids are stored; nil: as they are.
    public let transform: TokenTransform?

    public init(
        vocabularySize: Int, tokenizer: TokenizerRecord, shards: ShardList, part: DatasetPart? = nil,
        leftOut: LeftOut = LeftOut(), transform: TokenTransform? = nil
    ) {
        guard let totals = shards.totals else { preconditionFailure("totals leave 63 bits") }
        self.type = TokenType(vocabularySize: vocabularySize)
        self.vocabularySize = vocabularySize
        self.tokenizer = tokenizer
        self.shards = shards
        self.totals = totals
        self.part = part
        self.leftOut = leftOut
        self.transform = transform
    }

    public init(
        vocabularySize: Int, tokenizer: TokenizerRecord, shards: [ShardRecord], part: DatasetPart? = nil,
        leftOut: LeftOut = LeftOut(), transform: TokenTransform? = nil
    ) {
        self.init(
            vocabularySize: vocabularySize, tokenizer: tokenizer, shards: ShardList(shards), part: part,
            leftOut: leftOut, transform: transform)
    }

    /// The dataset digest that streams and cursors carry: it names the content, wherever the directory lies.
    public var digest: Digest {
        var hasher = DigestHasher()
        shards.forEachDigestPiece(
            after: "\(type.rawValue) \(vocabularySize) \(tokenizer.endOfDocument.map(String.init) ?? "-")\n"
        ) { hasher.update($0) }
        return hasher.finish()
    }
}
