// Fills a directory beside its place, file by file, and publishes it with the manifest written last: a checkpoint is
// whole or absent. Files are flushed together at the end, when everything has been read that they are made of: whoever
// owns the tensors can go on while the disk works.

public import Bytes
public import SystemPackage

/// A checkpoint being written. Dropped before `commit`, it leaves no trace.
public final class CheckpointWriter {
    private let directory: AtomicDirectory
    private var files: [Manifest.File] = []
    /// What the model has been through on its way to this shape, for the manifest; nil: nothing.
    public var expansions: JSON?
    /// Written and not flushed yet.
    private var open: [AtomicFile] = []

    /// Where the checkpoint will stand.
    public var path: FilePath { directory.path }

    /// - Throws: `Fault` when something is at `path` already or its parent cannot be written.
    public init(_ path: FilePath) throws(Fault) { directory = try AtomicDirectory(path) }

    /// Adds a file.
    public func write(_ bytes: [UInt8], to name: String) throws(Fault) {
        let file = try create(name)
        try file.write(bytes)
        open.append(file)
        record(name, bytes.count, Digest.of(bytes))
    }

    /// Adds `config.json`, `state.json` and their like, indented, with a newline at the end.
    public func write(_ json: JSON, to name: String) throws(Fault) { try write(Array(json.pretty.utf8), to: name) }

    /// Adds a copy of a file, in pieces of 1 MiB.
    public func copy(_ source: FilePath, to name: String) throws(Fault) {
        let input = try InputFile(source)
        let file = try create(name)
        var hasher = DigestHasher()
        var offset = 0
        while offset < input.size {
            let bytes = try input.read(at: offset, count: min(1 << 20, input.size - offset))
            try file.write(bytes)
            hasher.update(bytes)
            offset += bytes.count
        }
        open.append(file)
        record(name, offset, hasher.finish())
    }

    /// Adds a file of another checkpoint with the digests that its manifest has: by a second name for it (a hard link), or a
    /// copy where the file system has no links.
    func adopt(_ file: Manifest.File, from source: FilePath) throws(Fault) {
        check(file.name)
        let place = directory.temporary.appending(file.name)
        do throws(Fault) {
            try FileSystem.link(source.appending(file.name), as: place)
            try PlainFile.synchronize(place)
            files.append(file)
        } catch {
            try copy(source.appending(file.name), to: file.name)
            let found = files.removeLast().digest
            if found != file.digest {
                throw .differingDigest(
                    quoted(source.appending(file.name).string), expected: file.digest, found: found)
            }
            files.append(file)
        }
    }

    /// Adds a safetensors file. transformers asks for a `format` in the metadata, hence the default.
    /// - Throws: `Fault` when it cannot be written, and what a source throws.
    public func write(
        _ tensors: [TensorSource], to name: String, metadata: [String: String] = ["format": "pt"]
    ) throws {
        let file = try create(name)
        let written = try SafetensorsWriter.fill(file, tensors: tensors, metadata: metadata)
        open.append(file)
        files.append(
            Manifest.File(
                name: name, byteCount: written.byteCount, digest: written.digest,
                headerDigest: written.headerDigest, tensors: written.tensors))
    }

    /// The tensors of a file that was added, read back from where it lies until the directory is published. Flushes what was
    /// written so far.
    public func reopen(_ name: String) throws(Fault) -> TensorSet {
        guard let file = files.first(where: { $0.name == name }) else {
            preconditionFailure("no file \(name) was written")
        }
        try flush()
        return try Checkpoint.tensors(file, in: directory.temporary)
    }

    /// Writes the manifest and publishes the directory.
    /// - Returns: the manifest.
    @discardableResult
    public func commit() throws(Fault) -> Manifest {
        let manifest = try finish()
        try publish()
        return manifest
    }

    /// Flushes what was written, then writes the manifest.
    func finish() throws(Fault) -> Manifest {
        try flush()
        let manifest = Manifest(files: files, expansions: expansions)
        let file = try create(Manifest.fileName)
        try file.write(manifest.encoded)
        try file.commit(durable: false)
        return manifest
    }

    private func flush() throws(Fault) {
        for file in open { try file.commit(durable: false) }
        open = []
    }

    func publish() throws(Fault) { try directory.commit() }

    private func create(_ name: String) throws(Fault) -> AtomicFile {
        check(name)
        return try AtomicFile(directory.temporary.appending(name), permissions: .ownerReadWrite)
    }

    private func check(_ name: String) {
        precondition(isPathComponent(name) && !files.contains { $0.name == name }, "bad or repeated file name \(name)")
    }

    private func record(_ name: String, _ count: Int, _ digest: Digest) {
        files.append(Manifest.File(name: name, byteCount: count, digest: digest, headerDigest: nil, tensors: []))
    }
}
