// The first frame of a batch stream: what every batch after it has in common (docs/formats/batch-stream.md, HEAD).
// Parsed into checked values once, so that nothing behind it has to ask whether a row length makes sense.

public import Bytes
public import Tokens

/// HEAD: shape, vocabulary and provenance of the batches.
public struct StreamHead: Sendable, Equatable {
    /// A source of a mixed run.
    public struct MixedSource: Sendable, Equatable {
        /// The dataset digest.
        public var dataset: Digest
        /// Its share of the rows, as a whole number beside those of the others.
        public var share: Int
    }

    /// B, rows a batch.
    public var rows: Int
    /// T, targets a row.
    public var length: Int
    public var type: TokenType
    /// Every id is below it.
    public var vocabularySize: Int
    public var endOfDocument: UInt32?
    /// The dataset manifest's tokenizer object, as it stands there.
    public var tokenizer: JSON
    /// The dataset digest (docs/formats/dataset.md).
    public var dataset: Digest
    /// 16 hexadecimal digits: everything that fixes the order of rows.
    public var recipe: String
    public var order: String
    public var packing: String
    public var seed: UInt64
    /// nil: without end.
    public var epochs: Int?
    /// Tokens of a pass over the data, all sources of a mix together; nil: the stream does not say.
    public var epochTokens: Int?
    public var crossDocument: Bool
    public var rank: Int
    public var world: Int
    /// Lanes that the rows of a batch of all ranks belong to; 1: as they come.
    public var lanes = 1
    /// The sources of a mixed run; empty for others.
    public var mix: [MixedSource] = []
    /// What decides whether a target counts, or null: nothing but the end of documents.
    public var mask = JSON.null
    /// The cursor this stream begins at.
    public var start: String
    /// What the run had counted there: what a reader adds its own counts to, because cursors are opaque to it.
    public var before: StreamCounts

    public init(
        rows: Int, length: Int, type: TokenType, vocabularySize: Int, endOfDocument: UInt32?, tokenizer: JSON,
        dataset: Digest, recipe: String, order: String, packing: String, seed: UInt64, epochs: Int?,
        crossDocument: Bool, rank: Int = 0, world: Int = 1, start: String, before: StreamCounts = StreamCounts()
    ) {
        self.rows = rows
        self.length = length
        self.type = type
        self.vocabularySize = vocabularySize
        self.endOfDocument = endOfDocument
        self.tokenizer = tokenizer
        self.dataset = dataset
        self.recipe = recipe
        self.order = order
        self.packing = packing
        self.seed = seed
        self.epochs = epochs
        self.crossDocument = crossDocument
        self.rank = rank
        self.world = world
        self.start = start
        self.before = before
    }

    /// The head of a source of one's own, without datasets.
    /// - Parameters:
    ///   - description: of everything that decides which batches come: a run that is resumed refuses a source that describes
    ///     itself otherwise.
    ///   - start: where this one begins: "start", or the cursor of the batch before (`TokenBatch.cursor`).
    ///   - batches: index of its first batch.
    public init(
        rows: Int, length: Int, vocabularySize: Int, describing description: String, start: String, batches: Int
    ) {
        let digest = Digest.of(description)
        self.init(
            rows: rows, length: length, type: TokenType(vocabularySize: vocabularySize), vocabularySize: vocabularySize,
            endOfDocument: nil, tokenizer: .null, dataset: digest, recipe: String(digest.description.prefix(16)),
            order: "own", packing: "own", seed: 0, epochs: nil, crossDocument: false, start: start)
        before.batches = batches
    }

    /// Payloads are at most this long, in bytes.
    public static let maximumPayload = 1 << 30

    /// Whether `rows` × `length` ids of `type` fit a frame with room for the most segments a row can have.
    public static func fits(rows: Int, length: Int, type: TokenType) -> Bool {
        guard rows >= 1, length >= 1 else { return false }
        let (positions, overflow) = rows.multipliedReportingOverflow(by: length)
        if overflow || positions > maximumPayload { return false }
        // index, cursor, B, T, mask flag; two arrays of ids; S and the ends of each row; the mask.
        return 19 + Cursor.maximumCount + positions * 2 * type.byteCount + rows * 4 + positions * 4 + positions / 8 + 1
            <= maximumPayload
    }

    /// Rows of a batch in the order of their numbers: lanes lie one after the other, and take rows in turn.
    var rowOrder: [Int] {
        let lanes = max(1, lanes / world)
        let inLane = rows / lanes
        return (0..<rows).map { $0 % lanes * inLane + $0 / lanes }
    }

    public var json: JSON {
        var object: JSONObject = [
            "format": "millrace-batches", "version": 1, "rows": .integer(rows), "length": .integer(length),
            "dtype": .string(type.rawValue), "vocabulary_size": .integer(vocabularySize),
            "end_of_document": endOfDocument.map { .integer(Int($0)) } ?? .null, "tokenizer": tokenizer,
            "dataset": .string(dataset.description), "recipe": .string(recipe), "order": .string(order),
            "packing": .string(packing), "seed": JSON(seed), "epochs": epochs.map(JSON.integer) ?? .null,
            "cross_document": .bool(crossDocument), "rank": .integer(rank), "world": .integer(world),
        ]
        // What a plain run has not stands in no plain run's HEAD.
        if lanes > 1 { object["lanes"] = .integer(lanes) }
        if let epochTokens { object["epoch_tokens"] = .integer(epochTokens) }
        if !mask.isNull { object["mask"] = mask }
        if !mix.isEmpty {
            object["mix"] = .array(
                mix.map { ["dataset": .string($0.dataset.description), "share": .integer($0.share)] })
        }
        object["start"] = .string(start)
        object["before"] = before.json
        return .object(object)
    }

    /// - Parameter name: whose bytes these are, for messages.
    /// - Parameter base: offset of the payload in the stream.
    public init(parsing payload: [UInt8], name: String, base: Int) throws(Fault) {
        let json = try JSON(parsing: payload, name: name, base: base)
        let fields = HeadFields(json: json, name: name, base: base)
        guard json["format"]?.stringValue == "millrace-batches" else {
            throw fields.fault("this is no batch stream: \"format\" in HEAD is not \"millrace-batches\"")
        }
        let version = try fields.integer("version", in: 0...Int.max)
        if version != 1 { throw fields.fault("batch stream version \(version), this program reads 1") }
        rows = try fields.integer("rows", in: 1...1 << 30)
        length = try fields.integer("length", in: 1...1 << 30)
        guard let type = TokenType(rawValue: try fields.string("dtype")) else {
            throw fields.fault("\"dtype\" in HEAD is neither \"u16\" nor \"u32\"")
        }
        self.type = type
        guard StreamHead.fits(rows: rows, length: length, type: type) else {
            throw fields.fault("batches of \(rows) × \(length) do not fit a frame of 1 GiB")
        }
        vocabularySize = try fields.integer("vocabulary_size", in: 1...(type == .u16 ? 1 << 16 : 1 << 32))
        if json["end_of_document"]?.isNull == true {
            endOfDocument = nil
        } else {
            endOfDocument = UInt32(try fields.integer("end_of_document", in: 0...vocabularySize - 1))
        }
        guard let tokenizer = json["tokenizer"], tokenizer.objectValue != nil else {
            throw fields.fault("\"tokenizer\" in HEAD is not an object")
        }
        self.tokenizer = tokenizer
        guard let dataset = Digest(try fields.string("dataset")) else {
            throw fields.fault("\"dataset\" in HEAD is not 64 hexadecimal digits")
        }
        self.dataset = dataset
        recipe = try fields.string("recipe")
        guard bytesFromHexadecimal(recipe)?.count == 8 else {
            throw fields.fault("\"recipe\" in HEAD is not 16 hexadecimal digits")
        }
        order = try fields.string("order")
        packing = try fields.string("packing")
        guard let seed = json["seed"]?.uint64Value else {
            throw fields.fault("\"seed\" in HEAD is not a 64-bit number")
        }
        self.seed = seed
        epochs = json["epochs"]?.isNull == true ? nil : try fields.integer("epochs", in: 1...Int.max)
        guard let crossDocument = json["cross_document"]?.boolValue else {
            throw fields.fault("\"cross_document\" in HEAD is neither true nor false")
        }
        self.crossDocument = crossDocument
        world = try fields.integer("world", in: 1...1 << 20)
        rank = try fields.integer("rank", in: 0...world - 1)
        if json["lanes"] != nil {
            lanes = try fields.integer("lanes", in: 1...1 << 20)
            if lanes % world != 0 || rows % max(1, lanes / world) != 0 {
                throw fields.fault("\(lanes) lanes in HEAD do not divide \(rows) rows of one of \(world) ranks")
            }
        }
        if json["epoch_tokens"] != nil {
            epochTokens = try fields.integer("epoch_tokens", in: 1...StreamCounts.maximum)
        }
        mask = json["mask"] ?? .null
        if let mix = json["mix"] {
            guard let sources = mix.arrayValue, !sources.isEmpty else {
                throw fields.fault("\"mix\" in HEAD is not an array of sources")
            }
            for source in sources {
                let fields = HeadFields(json: source, name: name, base: base, frame: "HEAD's \"mix\"")
                guard let dataset = Digest(try fields.string("dataset")) else {
                    throw fields.fault("\"dataset\" in HEAD's \"mix\" is not 64 hexadecimal digits")
                }
                self.mix.append(MixedSource(dataset: dataset, share: try fields.integer("share", in: 0...1 << 56)))
            }
        }
        start = try fields.string("start")
        if !Cursor.isWellSpelled(start) { throw fields.fault("\"start\" in HEAD is no cursor: \(quoted(start))") }
        before = try StreamCounts(fields, length: length)
    }
}

/// Reads members of HEAD and DONE and says which one lies.
struct HeadFields {
    let json: JSON
    let name: String
    let base: Int
    var frame = "HEAD"

    func fault(_ reason: String) -> Fault { .badData(name, byte: base, reason) }

    func integer(_ key: String, in range: ClosedRange<Int>) throws(Fault) -> Int {
        guard let value = json[key]?.intValue else { throw fault("\"\(key)\" in \(frame) is not an integer") }
        guard range.contains(value) else {
            throw fault("\"\(key)\" in \(frame) is \(value), expected \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func string(_ key: String) throws(Fault) -> String {
        guard let value = json[key]?.stringValue else { throw fault("\"\(key)\" in \(frame) is not a string") }
        return value
    }
}
