// The manifest and the sidecars as JSON, both ways. Every refusal names the key, what was expected and what was found.

public import Bytes

extension DatasetManifest {
    public var json: JSON {
        [
            "format": .string(DatasetManifest.format),
            "version": .integer(DatasetManifest.version),
            "dtype": .string(type.rawValue),
            "vocabulary_size": .integer(vocabularySize),
            "tokenizer": tokenizer.json,
            "totals": [
                "shards": .integer(totals.shards), "tokens": .integer(totals.tokens),
                "documents": .integer(totals.documents), "frames": .integer(totals.frames),
                "bytes": .integer(totals.bytes),
            ],
            "shards": .array(shards.map(\.json)),
        ]
    }

    /// The sidecar of one shard of this dataset.
    public func sidecar(_ shard: ShardRecord) -> JSON {
        [
            "format": .string(DatasetManifest.sidecarFormat),
            "version": .integer(DatasetManifest.version),
            "dtype": .string(type.rawValue),
            "vocabulary_size": .integer(vocabularySize),
            "tokenizer": tokenizer.json,
            "shard": shard.json,
        ]
    }

    /// - Throws: `Fault` (bad data) naming the key that breaks a rule of docs/formats/dataset.md.
    public init(parsing bytes: [UInt8], name: String) throws(Fault) {
        let fields = ManifestFields(try JSON(parsing: bytes, name: name), name: name, path: "")
        let (vocabularySize, tokenizer) = try fields.head(format: DatasetManifest.format)
        let list = try fields.array("shards")
        var shards: [ShardRecord] = []
        var names: Set<String> = []
        for (index, element) in list.enumerated() {
            let shard = try ShardRecord(ManifestFields(element, name: name, path: "shards[\(index)]."))
            if !names.insert(shard.name).inserted {
                throw fields.fault("shards[\(index)].name", "\(quoted(shard.name)) appears twice")
            }
            shards.append(shard)
        }
        guard let sums = DatasetTotals(of: shards) else { throw fields.fault("shards", "their sums leave 63 bits") }
        let totals = ManifestFields(try fields.value("totals"), name: name, path: "totals.")
        for (key, sum) in [
            ("shards", sums.shards), ("tokens", sums.tokens), ("documents", sums.documents), ("frames", sums.frames),
            ("bytes", sums.bytes),
        ] {
            let stated = try totals.count(key)
            if stated != sum { throw totals.fault(key, "expected the sum over the shards, \(sum), found \(stated)") }
        }
        self.init(vocabularySize: vocabularySize, tokenizer: tokenizer, shards: shards)
    }

    /// What a sidecar says: its shard, and the dataset it fits in (a manifest with that one shard).
    /// - Throws: `Fault` (bad data), as for the manifest.
    public init(parsingSidecar bytes: [UInt8], name: String) throws(Fault) {
        let fields = ManifestFields(try JSON(parsing: bytes, name: name), name: name, path: "")
        let (vocabularySize, tokenizer) = try fields.head(format: DatasetManifest.sidecarFormat)
        let shard = try ShardRecord(ManifestFields(try fields.value("shard"), name: name, path: "shard."))
        self.init(vocabularySize: vocabularySize, tokenizer: tokenizer, shards: [shard])
    }
}

extension TokenizerRecord {
    public var json: JSON {
        [
            "name": .string(name), "file": file.map(JSON.string) ?? .null,
            "sha256": sha256.map { .string($0.description) } ?? .null,
            "special": ["end_of_document": endOfDocument.map(JSON.integer) ?? .null],
        ]
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

    init(_ json: JSON, name: String, path: String) {
        self.json = json
        self.name = name
        self.path = path
    }

    func fault(_ key: String, _ reason: String, hint: String? = nil) -> Fault {
        .badData(name, "\(path)\(key): \(reason)", hint: hint)
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

    /// What manifest and sidecar have in common.
    func head(format: String) throws(Fault) -> (vocabularySize: Int, tokenizer: TokenizerRecord) {
        let found = try string("format")
        if found != format { throw fault("format", "expected '\(format)', found \(quoted(found))") }
        let version = try count("version")
        if version != DatasetManifest.version {
            throw fault(
                "version", "expected \(DatasetManifest.version), found \(version)",
                hint: "the file was made by another release of millrace")
        }
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
        return (vocabularySize, try TokenizerRecord(tokenizer, vocabularySize: vocabularySize))
    }
}
