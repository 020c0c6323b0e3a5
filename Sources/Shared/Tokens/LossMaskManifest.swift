// `loss-mask.json`: the digests of a dataset's loss masks, and of the dataset that they were made for. Written last, so
// that masks without it are those of a run that did not finish.

public import Bytes
internal import SystemPackage

/// What a dataset's directory says of its loss masks (docs/formats/dataset.md).
public struct LossMaskManifest: Sendable, Equatable {
    public struct Record: Sendable, Equatable {
        public var name: String
        public var bytes: Int
        public var sha256: Digest
    }

    public static let fileName = "loss-mask.json"

    /// The dataset digest.
    public var dataset: Digest
    /// One for each shard of the dataset, in order.
    public var shards: [Record]

    /// SHA-256 of a line `sha256` a mask.
    public var digest: Digest { Digest.of(shards.map { "\($0.sha256)\n" }.joined()) }

    init(dataset: Digest, shards: [Record]) {
        self.dataset = dataset
        self.shards = shards
    }

    /// - Throws: `Fault`: none there (no input); one of another dataset, or one that breaks a rule (bad data).
    public init(of dataset: Dataset) throws(Fault) {
        let name = dataset.store.name(of: Self.fileName)
        let file: any RangedSource
        do { file = try dataset.store.open(Self.fileName) } catch {
            if error.kind != .noInput { throw error }
            throw Fault(
                .noInput, "dataset \(quoted(dataset.path)) has no loss mask", hint: "tok-pack mask makes one")
        }
        let json = try JSON(parsing: try file.readAll(limit: 1 << 28), name: name)
        guard json["format"]?.stringValue == "millrace-loss-mask", json["version"]?.intValue == 1 else {
            throw .badData(name, "expected a loss mask's manifest of version 1")
        }
        guard let text = json["dataset"]?.stringValue, let digest = Digest(text),
            let entries = json["shards"]?.arrayValue
        else { throw .badData(name, "\"dataset\" is not 64 hexadecimal digits, or \"shards\" is no array") }
        if digest != dataset.digest || entries.count != dataset.shardCount {
            throw .badData(
                name, "expected the mask of dataset \(dataset.digest), found that of \(digest)",
                hint: "the dataset has been made anew: tok-pack mask makes its mask anew")
        }
        shards = []
        for (index, entry) in entries.enumerated() {
            let expected = LossMaskFormat.maskName(dataset.manifest.shards[index].name)
            guard entry["name"]?.stringValue == expected, let bytes = entry["bytes"]?.intValue,
                let sha256 = entry["sha256"]?.stringValue.flatMap({ Digest($0) })
            else { throw .badData(name, "entry \(index) does not describe \(quoted(expected))") }
            shards.append(Record(name: expected, bytes: bytes, sha256: sha256))
        }
        self.dataset = digest
    }

    var json: JSON {
        [
            "format": "millrace-loss-mask", "version": 1, "dataset": .string(dataset.description),
            "shards": .array(
                shards.map {
                    ["name": .string($0.name), "bytes": .integer($0.bytes), "sha256": .string($0.sha256.description)]
                }),
        ]
    }
}

extension Dataset {
    /// Writes the loss masks of a dataset in a directory and, last, their manifest.
    /// - Parameter next: gives the marks of the next tokens (0: does not count, 1: counts), in the dataset's order, as many
    ///   as it is asked for.
    /// - Throws: what `next` throws; `Fault` when they cannot be written.
    public func writeMask(next: (_ count: Int) throws -> [UInt8]) throws {
        var records: [LossMaskManifest.Record] = []
        let manifestPath = FilePath(path).appending(LossMaskManifest.fileName)
        // A mask that is being replaced is none.
        if FileSystem.kind(of: manifestPath) != nil { try FileSystem.remove(manifestPath) }
        for shard in manifest.shards {
            var checksums: [UInt32] = []
            var bits: [UInt8] = []
            var left = shard.tokens
            while left > 0 {
                let count = min(left, type.tokensPerFrame)
                let marks = try next(count)
                precondition(marks.count == count, "\(marks.count) marks of \(count) tokens")
                var frame = [UInt8](repeating: 0, count: (count + 7) / 8)
                for (token, mark) in marks.enumerated() where mark != 0 { frame[token >> 3] |= 1 << UInt8(token & 7) }
                checksums.append(CRC32C.checksum(frame))
                bits.append(contentsOf: frame)
                left -= count
            }
            var file = LossMaskFormat.name
            file.append(littleEndian: UInt32(1))
            file.append(littleEndian: UInt64(shard.tokens))
            file.append(littleEndian: UInt32(type.tokensPerFrame))
            file.append(littleEndian: UInt32(checksums.count))
            file.append(littleEndian: checksums)
            file.append(littleEndian: CRC32C.checksum(file))
            file.append(contentsOf: bits)
            let name = LossMaskFormat.maskName(shard.name)
            try AtomicFile.write(file, to: FilePath(path).appending(name))
            records.append(LossMaskManifest.Record(name: name, bytes: file.count, sha256: Digest.of(file)))
        }
        let manifest = LossMaskManifest(dataset: digest, shards: records)
        try AtomicFile.write(Array(manifest.json.pretty.utf8), to: manifestPath)
    }
}
