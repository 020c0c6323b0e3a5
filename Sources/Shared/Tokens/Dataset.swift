// A dataset directory, opened for reading: the manifest is read and believed only as far as it is consistent; shards
// are opened one by one when they are needed, so that opening costs the same for a gigabyte and a petabyte.

public import Bytes
private import SystemPackage

/// A directory of token shards (docs/formats/dataset.md).
public struct Dataset: Sendable {
    /// The directory as the user named it.
    public let path: String
    public let manifest: DatasetManifest
    /// `manifest.digest`, computed once.
    public let digest: Digest
    /// Where its files are.
    let store: any FileStore

    public var type: TokenType { manifest.type }
    public var vocabularySize: Int { manifest.vocabularySize }
    public var shardCount: Int { manifest.shards.count }

    /// More bytes than this are no manifest: a million shards take 200 MB.
    private static let maximumManifestBytes = 1 << 28

    /// - Throws: `Fault`: no such directory or no manifest in it (no input); a manifest that breaks a rule (bad data).
    public init(_ path: String) throws(Fault) {
        let directory = FilePath(path)
        guard let kind = FileSystem.kind(of: directory) else {
            throw Fault(.noInput, "cannot open \(quoted(path)): no such dataset directory")
        }
        if kind != .directory {
            throw Fault(
                .noInput, "cannot open \(quoted(path)): not a directory",
                hint: "a dataset is the directory that tok-shard --output makes")
        }
        let file = directory.appending(DatasetManifest.fileName)
        if FileSystem.kind(of: file, followingLinks: false) == nil {
            throw Fault(
                .noInput, "cannot open \(quoted(path)): there is no '\(DatasetManifest.fileName)' in it",
                hint: Dataset.missingManifestHint(directory))
        }
        try self.init(DirectoryStore(directory))
    }

    /// A dataset in any store of files, read by ranges.
    /// - Throws: `Fault`: no manifest (no input); a manifest that breaks a rule (bad data).
    public init(_ store: any FileStore) throws(Fault) {
        self.store = store
        path = store.name
        let file = try store.open(DatasetManifest.fileName)
        if file.size > Dataset.maximumManifestBytes {
            throw .badData(file.name, "\(file.size) bytes, more than the \(Dataset.maximumManifestBytes) allowed")
        }
        manifest = try DatasetManifest(reading: RangedByteSource(file, offset: 0), size: file.size)
        digest = manifest.digest
    }

    private static func missingManifestHint(_ directory: FilePath) -> String {
        let train = directory.appending("train").appending(DatasetManifest.fileName)
        if FileSystem.kind(of: train) == .file {
            return "it was split: use \(quoted(directory.appending("train").string)) or 'validation' beside it"
        }
        return "not a dataset, or a run of tok-shard that did not finish: run it again with --resume"
    }

    /// The path of a shard file.
    public func shardPath(_ index: Int) -> String {
        FilePath(path).appending(manifest.shards[index].name).string
    }

    /// Opens a shard and checks its index against the manifest. Token frames are checked as they are read.
    /// - Throws: `Fault`: missing or no regular file (no input), or anything that contradicts the manifest (bad data).
    public func shard(_ index: Int) throws(Fault) -> Shard {
        let record = manifest.shards[index]
        let shard = try Shard(try store.open(record.name), vocabularySize: vocabularySize, expected: record)
        if (shard.ranks != nil) != (manifest.transform == .rank) {
            throw .badData(
                shard.name,
                "expected \(manifest.transform == .rank ? "ranks" : "ids") (from the manifest), found the other")
        }
        return shard
    }
}
