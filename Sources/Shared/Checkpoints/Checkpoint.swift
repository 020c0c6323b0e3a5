// A checkpoint on disk: a Hugging Face model directory with our optimizer, state and manifest beside the model. Opening
// is cheap (manifest, sizes, headers); everything read afterwards is checked against its digest, so that corruption is
// named when it is met. A directory without a manifest is foreign: a model of somebody else's, to start from.

public import Bytes
public import SystemPackage

/// An open checkpoint directory.
public final class Checkpoint: Sendable {
    public static let configurationName = "config.json"
    public static let modelName = "model.safetensors"
    public static let optimizerName = "optimizer.safetensors"
    public static let averageName = "ema.safetensors"
    public static let stateName = "state.json"
    /// Names that no other file of a checkpoint may have.
    public static let reservedNames: Set = [
        configurationName, modelName, optimizerName, averageName, stateName, Manifest.fileName,
    ]
    static let maximumTextSize = 256 << 20

    /// The directory, with a link that was given resolved: `RUN/latest` may move on while the checkpoint is open.
    public let path: FilePath
    /// nil for a foreign checkpoint.
    public let manifest: Manifest?
    /// The model's tensors.
    public let model: TensorSet
    /// The optimizer's tensors; nil when there are none.
    public let optimizer: TensorSet?
    /// The moving average of the model's tensors; nil when there is none.
    public let average: TensorSet?

    /// Whether the directory has no manifest: a model directory that another program wrote.
    public var isForeign: Bool { manifest == nil }

    /// Opens a checkpoint directory: every listed file must be there with its size, every tensor header be sound.
    /// - Throws: `Fault`: no input, or bad data that names the file.
    public init(_ path: FilePath) throws(Fault) {
        self.path = try Checkpoint.resolved(path)
        if FileSystem.kind(of: self.path.appending(Manifest.fileName)) == nil {
            try Checkpoint.checkNoneOfOurs(self.path)
            manifest = nil
            model = try TensorSet(Checkpoint.foreignFiles(self.path), digests: [:])
            optimizer = nil
            average = nil
            return
        }
        let manifest = try Checkpoint.readManifest(self.path)
        self.manifest = manifest
        for file in manifest.files { try Checkpoint.checkPresence(file, in: self.path) }
        self.model = try Checkpoint.listedModel(manifest, in: self.path)
        let path = self.path
        func optional(_ name: String) throws(Fault) -> TensorSet? {
            guard let file = manifest[name] else { return nil }
            return try Checkpoint.tensors(file, in: path)
        }
        optimizer = try optional(Checkpoint.optimizerName)
        average = try optional(Checkpoint.averageName)
    }

    /// The names of the checkpoint's files: those of the manifest, or what a foreign directory holds.
    public func fileNames() throws(Fault) -> [String] {
        if let manifest { return manifest.files.map(\.name) + [Manifest.fileName] }
        return try FileSystem.list(path)
    }

    /// The tokenizer file, if there is one.
    public func tokenizerName() throws(Fault) -> String? {
        try fileNames().first { $0 == "tokenizer.json" || $0.hasSuffix(".tiktoken") || $0 == "tokenizer.model" }
    }

    /// A file's bytes, checked against the manifest.
    /// - Throws: `Fault`: not part of the checkpoint, larger than 256 MiB, or its digest differs.
    public func read(_ name: String) throws(Fault) -> [UInt8] {
        let file = path.appending(name)
        guard let manifest else { return try InputFile(file).readAll(limit: Checkpoint.maximumTextSize) }
        guard let expected = manifest[name] else {
            throw Fault(.noInput, "\(quoted(path.string)) has no file \(quoted(name)) in its manifest")
        }
        let bytes = try InputFile(file).readAll(limit: Checkpoint.maximumTextSize)
        let found = Digest.of(bytes)
        if found != expected.digest {
            throw .differingDigest(quoted(file.string), expected: expected.digest, found: found)
        }
        return bytes
    }

    /// config.json, Hugging Face's model configuration.
    public func configuration() throws(Fault) -> JSON { try json(Checkpoint.configurationName) }

    /// state.json, what the trainer needs beside the tensors to go on.
    /// - Throws: `Fault` (no input) for a checkpoint that has none.
    public func state() throws(Fault) -> JSON { try json(Checkpoint.stateName) }

    private func json(_ name: String) throws(Fault) -> JSON {
        try JSON(parsing: try read(name), name: path.appending(name).string)
    }

    static func resolved(_ path: FilePath) throws(Fault) -> FilePath {
        var path = path
        if FileSystem.kind(of: path, followingLinks: false) == .symbolicLink, let target = FileSystem.linkTarget(path) {
            path = path.removingLastComponent().pushing(FilePath(target))
            if FileSystem.kind(of: path) == nil {
                throw Fault(.noInput, "cannot open \(quoted(path.string)): the link that leads there dangles")
            }
        }
        switch FileSystem.kind(of: path) {
        case .directory: return path
        case nil: throw Fault(.noInput, "cannot open \(quoted(path.string)): no such directory")
        default: throw Fault(.noInput, "cannot open \(quoted(path.string)): not a checkpoint directory")
        }
    }

    /// A checkpoint of ours that lost its manifest must not pass for a foreign one, whose content nobody vouches for.
    static func checkNoneOfOurs(_ path: FilePath) throws(Fault) {
        if FileSystem.kind(of: path.appending(stateName)) != nil {
            throw missingManifest(path)
        }
    }

    static func missingManifest(_ path: FilePath) -> Fault {
        .badData(path.appending(Manifest.fileName).string, "the manifest is missing: the checkpoint is incomplete")
    }

    static func readManifest(_ path: FilePath) throws(Fault) -> Manifest {
        let file = try InputFile(path.appending(Manifest.fileName))
        return try Manifest(parsing: try file.readAll(limit: Manifest.maximumSize), name: file.name)
    }

    static func checkPresence(_ file: Manifest.File, in directory: FilePath) throws(Fault) {
        let path = directory.appending(file.name)
        if FileSystem.kind(of: path) == nil {
            throw Fault(.badData, "\(quoted(path.string)) is missing: the manifest lists it")
        }
        let size = try InputFile(path).size
        if size != file.byteCount {
            throw .badData(
                path.string, byte: min(size, file.byteCount), "expected \(file.byteCount) bytes, found \(size)")
        }
    }

    /// Opens a listed safetensors file and holds its header against the manifest.
    static func tensors(_ file: Manifest.File, in directory: FilePath) throws(Fault) -> TensorSet {
        let path = directory.appending(file.name)
        let opened = try SafetensorsFile(path)
        if let expected = file.headerDigest, expected != opened.headerDigest {
            throw .differingDigest("\(quoted(path.string)), header", expected: expected, found: opened.headerDigest)
        }
        var digests: [String: Digest] = [:]
        for tensor in file.tensors { digests[tensor.name] = tensor.digest }
        for tensor in opened.tensors where digests[tensor.name] == nil {
            throw .badData(path.string, "the manifest has no digest of tensor \(quoted(tensor.name))")
        }
        if digests.count != opened.tensors.count {
            throw .badData(path.string, "the manifest lists \(digests.count) tensors, found \(opened.tensors.count)")
        }
        return try TensorSet([opened], digests: digests)
    }
}
