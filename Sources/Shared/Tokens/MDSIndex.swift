// `index.json` of an MDS directory (MosaicML streaming, docs/formats/foreign-tokens.md): which shards there are and what a
// sample in them looks like. Read a shard at a time; names that lead out of the directory are refused.

internal import Bytes
internal import SystemPackage

struct MDSIndex {
    static let fileName = "index.json"

    /// One shard file.
    struct Shard {
        let raw: File
        /// The compressed file; nil when the shard is not compressed.
        let zip: File?
        let samples: Int
        let columns: [Column]
    }

    struct File {
        let name: String
        let bytes: Int
    }

    struct Column: Equatable {
        let name: String
        let encoding: String
        /// Bytes in every sample; nil when each sample says it.
        let size: Int?
    }

    let directory: FilePath
    private(set) var shards: [Shard] = []
    /// Samples before each shard, then all of them.
    private(set) var firstSamples = [0]

    /// The shard that holds a sample, by bisection.
    func shard(of sample: Int) -> Int {
        var (low, high) = (0, shards.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if firstSamples[middle] <= sample { low = middle } else { high = middle }
        }
        return low
    }

    /// - Throws: `Fault`: no index there (no input), or one that breaks a rule (bad data).
    init(_ path: String) throws(Fault) {
        directory = FilePath(path)
        let file = try InputFile(directory.appending(MDSIndex.fileName))
        var reader = JSONReader(RangedByteSource(file, offset: 0))
        var version: Int?
        var hasShards = false
        try reader.beginObject()
        while let key = try reader.nextKey() {
            switch key {
            case "version": version = try reader.value().intValue
            case "shards" where !hasShards:
                hasShards = true
                try reader.beginArray()
                while try reader.nextElement() {
                    let shard = try MDSFields(reader.value(), file.name, shards.count).shard(after: shards.last)
                    let (sum, overflow) = firstSamples[shards.count].addingReportingOverflow(shard.samples)
                    if overflow { throw .badData(file.name, "the samples of its shards leave 63 bits") }
                    shards.append(shard)
                    firstSamples.append(sum)
                }
            case "shards": throw .badData(file.name, byte: reader.keyOffset, "duplicate key 'shards'")
            default: try reader.skipValue()
            }
        }
        try reader.end()
        if version != 2 || !hasShards {
            throw .badData(file.name, "expected \"version\": 2 and a list of shards, which is an MDS index")
        }
    }
}

/// The members of one shard's object.
private struct MDSFields {
    let json: JSON
    let name: String
    let index: Int

    init(_ json: JSON, _ name: String, _ index: Int) {
        self.json = json
        self.name = name
        self.index = index
    }

    func fault(_ key: String, _ reason: String) -> Fault { .badData(name, "shards[\(index)].\(key): \(reason)") }

    func shard(after previous: MDSIndex.Shard?) throws(Fault) -> MDSIndex.Shard {
        if json["version"]?.intValue != 2 { throw fault("version", "expected 2") }
        if json["format"]?.stringValue != "mds" {
            throw fault("format", "expected 'mds', found \(quoted(json["format"]?.stringValue ?? "none"))")
        }
        let compression = json["compression"]?.stringValue
        if let compression, compression != "zstd", !compression.hasPrefix("zstd:") {
            throw fault("compression", "\(quoted(compression)) is not read here; zstd or none is")
        }
        guard let samples = json["samples"]?.intValue, samples >= 0 else { throw fault("samples", "expected a count") }
        var columns = try self.columns()
        // Equal columns share storage.
        if let previous, previous.columns == columns { columns = previous.columns }
        let raw = try file("raw_data")
        return MDSIndex.Shard(
            raw: raw, zip: compression == nil ? nil : try file("zip_data"), samples: samples, columns: columns)
    }

    private func file(_ key: String) throws(Fault) -> MDSIndex.File {
        guard let object = json[key], let text = object["basename"]?.stringValue else {
            throw fault(key, "expected an object with a basename")
        }
        if text.isEmpty || text == "." || text == ".." || text.utf8.contains(where: { $0 == 0x2f || $0 == 0 }) {
            throw fault(key + ".basename", "expected a file name without '/' or NUL, found \(quoted(text))")
        }
        guard let bytes = object["bytes"]?.intValue, (0...Int(UInt32.max)).contains(bytes) else {
            throw fault(key + ".bytes", "expected 0 to \(UInt32.max)")
        }
        return MDSIndex.File(name: text, bytes: bytes)
    }

    private func columns() throws(Fault) -> [MDSIndex.Column] {
        guard let names = json["column_names"]?.arrayValue, let encodings = json["column_encodings"]?.arrayValue,
            let sizes = json["column_sizes"]?.arrayValue, names.count == encodings.count, names.count == sizes.count
        else { throw fault("column_names", "expected names, encodings and sizes of as many columns") }
        var columns: [MDSIndex.Column] = []
        for index in names.indices {
            guard let name = names[index].stringValue, let encoding = encodings[index].stringValue else {
                throw fault("column_names[\(index)]", "expected a name and an encoding")
            }
            let size = sizes[index].isNull ? nil : sizes[index].intValue ?? -1
            if let size, !(1...Int(UInt32.max)).contains(size) {
                throw fault("column_sizes[\(index)]", "expected a size or null")
            }
            columns.append(MDSIndex.Column(name: name, encoding: encoding, size: size))
        }
        return columns
    }
}
