// The manifest and the sidecars as JSON, both ways. Every refusal names the key, what was expected and what was found.

public import Bytes

extension DatasetManifest {
    public var json: JSON { json(shards: .array(shards.map(\.json))) }

    private func json(shards: JSON) -> JSON {
        head(DatasetManifest.format, leftOut: leftOut).merging([
            "totals": [
                "shards": .integer(totals.shards), "tokens": .integer(totals.tokens),
                "documents": .integer(totals.documents), "frames": .integer(totals.frames),
                "bytes": .integer(totals.bytes),
            ],
            "shards": shards,
        ])
    }

    /// What manifest and sidecar begin with.
    private func head(_ format: String, leftOut: LeftOut) -> JSONObject {
        var head: JSONObject = [
            "format": .string(format),
            "version": .integer(DatasetManifest.version),
            "dtype": .string(type.rawValue),
            "vocabulary_size": .integer(vocabularySize),
        ]
        head["transform"] = transform.map { .string($0.rawValue) }
        head["tokenizer"] = tokenizer.json
        head["part"] = part?.json
        if !leftOut.isEmpty { head["left_out"] = leftOut.json }
        return head
    }

    /// Writes `json.pretty`, a shard at a time: the whole text of 100,000 shards is 30 MB and its tree ten times that.
    public func write(to sink: any ByteSink) throws {
        let (whole, empty) = (json(shards: []).pretty, "[]\n}\n")
        precondition(whole.hasSuffix(empty), "the list of shards comes last")
        let buffer = BufferedSink(sink)
        try buffer.write(String(whole.dropLast(empty.count)) + "[")
        var text: [UInt8] = []
        for index in shards.indices {
            text.append(index > 0 ? ",\n    {\n" : "\n    {\n")
            shards.appendMembers(of: index, indent: "      ", to: &text)
            text.append("    }")
            try buffer.write(text)
            text.removeAll(keepingCapacity: true)
        }
        try buffer.write(shards.isEmpty ? "]\n}\n" : "\n  ]\n}\n")
        try buffer.flush()
    }

    /// The sidecar of one shard of this dataset.
    /// - Parameter leftOut: what is counted with that shard.
    public func sidecar(_ shard: ShardRecord, leftOut: LeftOut = LeftOut()) -> JSON {
        head(DatasetManifest.sidecarFormat, leftOut: leftOut).merging(["shard": shard.json])
    }

    /// The texts of all sidecars, in order, as `sidecar` would have them.
    /// - Parameter leftOut: what is counted with a shard, where that is something.
    func forEachSidecarText(leftOut: [Int: LeftOut], _ body: (Int, [UInt8]) throws -> Void) rethrows {
        func beginning(_ leftOut: LeftOut) -> String {
            let whole = head(DatasetManifest.sidecarFormat, leftOut: leftOut).merging(["shard": [:]]).pretty
            let empty = "{}\n}\n"
            precondition(whole.hasSuffix(empty), "the shard comes last")
            return String(whole.dropLast(empty.count)) + "{\n"
        }
        let usual = beginning(LeftOut())
        var text: [UInt8] = []
        for index in shards.indices {
            text.removeAll(keepingCapacity: true)
            text.append(leftOut[index].map(beginning) ?? usual)
            shards.appendMembers(of: index, indent: "    ", to: &text)
            text.append("  }\n}\n")
            try body(index, text)
        }
    }

    /// - Throws: `Fault` (bad data) naming the key that breaks a rule of docs/formats/dataset.md.
    public init(parsing bytes: [UInt8], name: String) throws(Fault) {
        try self.init(reading: MemorySource(bytes, name: name), size: bytes.count)
    }

    /// Reads a manifest without having its text or its tree in memory.
    /// - Parameter size: bytes that the source has, by which room is made for the shards.
    /// - Throws: `Fault`, as above.
    public init(reading source: any ByteSource, size: Int) throws(Fault) {
        let name = source.name
        var reader = JSONReader(source)
        var members = JSONObject()
        var list: ShardList?
        try reader.beginObject()
        while let key = try reader.nextKey() {
            if members[key] != nil || key == "shards" && list != nil {
                throw .badData(name, byte: reader.keyOffset, "duplicate key \(quoted(key))")
            }
            if key == "shards", try reader.nextToken() == UInt8(ascii: "[") {
                // What is no manifest of ours is said to be none before its shards are looked at.
                if members["format"] != nil {
                    try ManifestFields(.object(members), name: name, path: "").identity(DatasetManifest.format)
                }
                list = try DatasetManifest.shards(&reader, name: name, size: size)
            } else {
                members[key] = try reader.value()
            }
        }
        try reader.end()
        let fields = ManifestFields(.object(members), name: name, path: "")
        let head = try fields.head(format: DatasetManifest.format)
        guard let list else {
            _ = try fields.array("shards")
            preconditionFailure("an array is read as one")
        }
        if let index = list.firstRepeatedName() {
            throw fields.fault("shards[\(index)].name", "\(quoted(list[index].name)) appears twice")
        }
        guard let sums = list.totals else { throw fields.fault("shards", "their sums leave 63 bits") }
        let totals = ManifestFields(try fields.value("totals"), name: name, path: "totals.")
        for (key, sum) in [
            ("shards", sums.shards), ("tokens", sums.tokens), ("documents", sums.documents), ("frames", sums.frames),
            ("bytes", sums.bytes),
        ] {
            let stated = try totals.count(key)
            if stated != sum { throw totals.fault(key, "expected the sum over the shards, \(sum), found \(stated)") }
        }
        self.init(
            vocabularySize: head.vocabularySize, tokenizer: head.tokenizer, shards: list, part: head.part,
            leftOut: head.leftOut, transform: head.transform)
    }

    private static func shards(_ reader: inout JSONReader, name: String, size: Int) throws(Fault) -> ShardList {
        var list = ShardList()
        // As we write it a shard takes 220 bytes of text and more.
        list.reserveCapacity(size / 200)
        try reader.beginArray()
        while try reader.nextElement() {
            if try reader.plainObject(ShardList.keys, accept: { list.append($0) }) { continue }
            list.append(
                try ShardRecord(ManifestFields(try reader.value(), name: name, path: "shards", index: list.count)))
        }
        return list
    }

    /// What a sidecar says: its shard, and the dataset it fits in (a manifest with that one shard).
    /// - Throws: `Fault` (bad data), as for the manifest.
    public init(parsingSidecar bytes: [UInt8], name: String) throws(Fault) {
        let fields = ManifestFields(try JSON(parsing: bytes, name: name), name: name, path: "")
        let head = try fields.head(format: DatasetManifest.sidecarFormat)
        let shard = try ShardRecord(ManifestFields(try fields.value("shard"), name: name, path: "shard."))
        self.init(
            vocabularySize: head.vocabularySize, tokenizer: head.tokenizer, shards: [shard], part: head.part,
            leftOut: head.leftOut, transform: head.transform)
    }
}

extension JSONObject {
    /// As a value, with more members behind its own.
    fileprivate func merging(_ others: JSONObject) -> JSON {
        var object = self
        for (key, value) in others.members { object[key] = value }
        return .object(object)
    }
}

extension DatasetPart {
    var json: JSON { ["index": .integer(index), "count": .integer(count)] }

    fileprivate init(_ fields: ManifestFields) throws(Fault) {
        let (index, count) = (try fields.count("index"), try fields.count("count"))
        if index >= count { throw fields.fault("index", "expected less than the count, \(count), found \(index)") }
        self.init(index: index, count: count)
    }
}

extension TokenizerRecord {
    public var json: JSON {
        var object: JSONObject = [
            "name": .string(name), "file": file.map(JSON.string) ?? .null,
            "sha256": sha256.map { .string($0.description) } ?? .null,
            "special": ["end_of_document": endOfDocument.map(JSON.integer) ?? .null],
        ]
        if let pattern { object["pattern"] = .string(pattern.rawValue) }
        return .object(object)
    }

    /// From the tokenizer object of a stream's head or a checkpoint's state, which is the manifest's.
    /// - Throws: `Fault` (bad data) naming the key.
    public init(_ json: JSON, vocabularySize: Int, name: String) throws(Fault) {
        try self.init(ManifestFields(json, name: name, path: "tokenizer."), vocabularySize: vocabularySize)
    }

    fileprivate init(_ fields: ManifestFields, vocabularySize: Int) throws(Fault) {
        name = try fields.string("name")
        let file = try fields.value("file")
        self.file = file.isNull ? nil : try fields.component("file")
        let digest = try fields.value("sha256")
        sha256 = digest.isNull ? nil : try fields.digest("sha256")
        if (self.file == nil) != (sha256 == nil) {
            throw fields.fault("sha256", "expected a digest exactly when there is a file")
        }
        let special = ManifestFields(try fields.value("special"), name: fields.name, path: fields.path + "special.")
        let end = try special.value("end_of_document")
        endOfDocument = end.isNull ? nil : try special.count("end_of_document")
        if let stated = fields.json["pattern"], !stated.isNull {
            guard let known = stated.stringValue.flatMap(PretokenPattern.init(rawValue:)) else {
                throw fields.fault("pattern", "expected one of the patterns that docs/formats/tokenizer.md lists")
            }
            pattern = known
        } else {
            pattern = nil
        }
        if let id = endOfDocument, id >= vocabularySize {
            throw special.fault("end_of_document", "id \(id) is not below the vocabulary size \(vocabularySize)")
        }
    }
}

extension ShardRecord {
    public var json: JSON {
        [
            "name": .string(name), "tokens": .integer(tokens), "documents": .integer(documents),
            "frames": .integer(frames), "bytes": .integer(bytes), "sha256": .string(sha256.description),
        ]
    }

    fileprivate init(_ fields: ManifestFields) throws(Fault) {
        name = try fields.component("name")
        tokens = try fields.count("tokens")
        documents = try fields.count("documents")
        frames = try fields.count("frames")
        bytes = try fields.count("bytes")
        sha256 = try fields.digest("sha256")
    }
}

/// The members of one object, fetched by key with a complaint that names the key's whole path.
private struct ManifestFields {
    let json: JSON
    let name: String
    let path: String
    /// The number of an element of the array `path`. Its text is made only when there is something to complain of.
    let index: Int?

    init(_ json: JSON, name: String, path: String, index: Int? = nil) {
        self.json = json
        self.name = name
        self.path = path
        self.index = index
    }

    func fault(_ key: String, _ reason: String, hint: String? = nil) -> Fault {
        .badData(name, "\(path)\(index.map { "[\($0)]." } ?? "")\(key): \(reason)", hint: hint)
    }

    func value(_ key: String) throws(Fault) -> JSON {
        guard let value = json[key] else { throw fault(key, "expected, but missing") }
        return value
    }

    func string(_ key: String) throws(Fault) -> String {
        guard let text = try value(key).stringValue else { throw fault(key, "expected a string") }
        return text
    }

    func array(_ key: String) throws(Fault) -> [JSON] {
        guard let array = try value(key).arrayValue else { throw fault(key, "expected an array") }
        return array
    }

    func count(_ key: String) throws(Fault) -> Int {
        guard let count = try value(key).intValue, count >= 0 else {
            throw fault(key, "expected an integer from 0 to \(Int.max)")
        }
        return count
    }

    func digest(_ key: String) throws(Fault) -> Digest {
        guard let digest = Digest(try string(key)) else {
            throw fault(key, "expected 64 lower-case hexadecimal digits")
        }
        return digest
    }

    /// A file name that cannot lead out of the directory.
    func component(_ key: String) throws(Fault) -> String {
        let text = try string(key)
        if text.isEmpty || text == "." || text == ".." || text.utf8.contains(where: { $0 == 0x2f || $0 == 0 }) {
            throw fault(key, "expected a file name without '/' or NUL, found \(quoted(text))")
        }
        return text
    }

    /// Format and version.
    func identity(_ format: String) throws(Fault) {
        let found = try string("format")
        if found != format { throw fault("format", "expected '\(format)', found \(quoted(found))") }
        let version = try count("version")
        if version != DatasetManifest.version {
            throw fault(
                "version", "expected \(DatasetManifest.version), found \(version)",
                hint: "the file was made by another release of millrace")
        }
    }

    /// What manifest and sidecar have in common.
    func head(
        format: String
    ) throws(Fault) -> (
        vocabularySize: Int, tokenizer: TokenizerRecord, part: DatasetPart?, leftOut: LeftOut,
        transform: TokenTransform?
    ) {
        try identity(format)
        let vocabularySize = try count("vocabulary_size")
        if vocabularySize < 1 || vocabularySize > 1 << 32 {
            throw fault("vocabulary_size", "expected 1 to \(1 << 32), found \(vocabularySize)")
        }
        let type = TokenType(vocabularySize: vocabularySize)
        let stated = try string("dtype")
        if stated != type.rawValue {
            throw fault(
                "dtype", "expected '\(type.rawValue)' for a vocabulary of \(vocabularySize), found \(quoted(stated))")
        }
        let tokenizer = ManifestFields(try value("tokenizer"), name: name, path: path + "tokenizer.")
        let part = json["part"].flatMap { $0.isNull ? nil : $0 }
        var transform: TokenTransform?
        if let stated = json["transform"], !stated.isNull {
            guard let known = stated.stringValue.flatMap(TokenTransform.init(rawValue:)), type == .u32 else {
                throw fault(
                    "transform", "expected 'rank' with dtype u32, found \(stated.compact) with \(type.rawValue)")
            }
            transform = known
        }
        guard let leftOut = LeftOut(json["left_out"] ?? [:]) else {
            throw fault("left_out", "expected counts of documents and tokens, by reason")
        }
        return (
            vocabularySize, try TokenizerRecord(tokenizer, vocabularySize: vocabularySize),
            try part.map { (part: JSON) throws(Fault) in
                try DatasetPart(ManifestFields(part, name: name, path: path + "part."))
            }, leftOut, transform
        )
    }
}
