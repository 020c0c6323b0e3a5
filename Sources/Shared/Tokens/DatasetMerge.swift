// Many datasets become one, from their sidecars alone: no token is read, so that a hundred thousand shards that as many
// machines made are one dataset in seconds. Shard files are given a second name in the new directory (hard links), or
// copied; the parts stay as they are, and the new directory appears whole or not at all.

public import Bytes
private import SystemPackage

/// One dataset of several parts.
public struct DatasetMerge {
    /// How shard files get into the new directory.
    public enum Method: String, Sendable, CaseIterable {
        /// A second name for the same file: no bytes are moved, and parts may be removed afterwards.
        case link
        /// For another file system. What is copied is held against its digest.
        case copy
        /// The shard files lie there already, or will: only sidecars and manifest are written.
        case none
    }

    private let parts: [MergePart]
    private let output: FilePath
    private let method: Method
    private let checksFiles: Bool

    /// Whether the only part is the output itself, which then gets its manifest and nothing else.
    private var isInPlace: Bool { parts.count == 1 && FileSystem.isSameFile(parts[0].path, output) }

    /// Looks at the parts' names and numbering.
    /// - Parameter checksFiles: whether every shard file must be there with the size that its sidecar states.
    /// - Throws: `Fault`: a part that is missing, unfinished, given twice or has a gap.
    public init(parts: [String], output: String, method: Method = .link, checksFiles: Bool = true) throws(Fault) {
        if parts.isEmpty { throw Fault(.usage, "no parts were given") }
        self.output = FilePath(output)
        self.method = method
        self.checksFiles = checksFiles && method != .none
        self.parts = try parts.map { part throws(Fault) in try MergePart(part) }
        for (index, part) in self.parts.enumerated() {
            if let twice = self.parts[..<index].first(where: { FileSystem.isSameFile($0.path, part.path) }) {
                throw Fault(.usage, "\(quoted(part.name)) and \(quoted(twice.name)) are one directory")
            }
            if self.parts.count > 1, FileSystem.isSameFile(part.path, self.output) {
                throw Fault(.usage, "\(quoted(output)) cannot be the output and one of several parts")
            }
        }
    }

    /// Does the work.
    /// - Parameters:
    ///   - threads: that read sidecars.
    ///   - progress: called with the shards done.
    /// - Throws: `Fault`: parts that do not fit together or lack a shard (bad data), an output that exists and is
    ///   another dataset (cannot create).
    public func run(threads: Int, progress: (Int) -> Void = { _ in }) throws -> DatasetManifest {
        let read: [MergeOrder.Part] = try parts.map { part in
            let (manifest, leftOut) = try part.read(threads: threads, checksFiles: checksFiles, progress)
            return (part, manifest, leftOut)
        }
        let ordered = try MergeOrder.sorted(read)
        let first = ordered[0].manifest
        var shards = ShardList()
        shards.reserveCapacity(ordered.reduce(0) { $0 + $1.manifest.shards.count })
        /// By shard of the merged dataset. What a part without shards left out is counted with the first.
        var leftOut: [Int: LeftOut] = [:]
        for (_, manifest, counts) in ordered {
            for (number, count) in counts { leftOut[shards.count + number, default: LeftOut()] += count }
            if manifest.shards.isEmpty && !manifest.leftOut.isEmpty {
                leftOut[0, default: LeftOut()] += manifest.leftOut
            }
            for var record in manifest.shards {
                record.name = ShardFormat.shardName(shards.count)
                shards.append(record)
            }
        }
        guard shards.totals != nil else {
            throw Fault(.badData, "the sums over \(shards.count) shards leave 63 bits")
        }
        let merged = DatasetManifest(
            vocabularySize: first.vocabularySize, tokenizer: first.tokenizer, shards: shards,
            leftOut: leftOut.values.reduce(LeftOut(), +), transform: first.transform)
        let file = output.appending(DatasetManifest.fileName)
        if FileSystem.kind(of: file, followingLinks: false) != nil {
            // Done before: the same command may be run again.
            if let there = try? Dataset(output.string), there.manifest == merged { return merged }
            throw Fault(
                .cannotCreate, "cannot create \(quoted(output.string)): there is another dataset already",
                hint: isInPlace ? "remove its '\(DatasetManifest.fileName)' to have it made from the sidecars" : nil)
        }
        if isInPlace {
            let target = try AtomicFile(file)
            try merged.write(to: target)
            try target.commit()
        } else {
            try fill(merged, leftOut, from: ordered, progress: progress)
        }
        return merged
    }

    private func fill(
        _ merged: DatasetManifest, _ leftOut: [Int: LeftOut], from parts: [MergeOrder.Part], progress: (Int) -> Void
    ) throws {
        if FileSystem.kind(of: output) == .directory, try FileSystem.list(output).isEmpty {
            FileSystem.removeEmptyDirectory(output)
        }
        let directory = try AtomicDirectory(output)
        if let file = merged.tokenizer.file, let digest = merged.tokenizer.sha256 {
            try copy(parts[0].part.path.appending(file), to: file, in: directory, digest: digest)
        }
        var sources = parts.lazy.flatMap { (part, manifest, _) in
            manifest.shards.lazy.map { (part.path, $0.name) }
        }.makeIterator()
        try merged.forEachSidecarText(leftOut: leftOut) { index, text in
            if let (path, old) = sources.next() {
                let record = merged.shards[index]
                switch method {
                case .link:
                    do throws(Fault) {
                        try FileSystem.link(path.appending(old), as: directory.temporary.appending(record.name))
                    } catch {
                        throw Fault(
                            error.kind, error.message, hint: "--method copy needs no links between the two places")
                    }
                case .copy: try copy(path.appending(old), to: record.name, in: directory, digest: record.sha256)
                case .none: break
                }
            }
            let sidecar = try directory.file(ShardFormat.sidecarName(index))
            try sidecar.write(text)
            try sidecar.close()
            progress(index + 1)
        }
        let file = try directory.file(DatasetManifest.fileName)
        try merged.write(to: file)
        try file.close()
        try directory.commit(flushingFiles: true)
    }

    private func copy(
        _ path: FilePath, to name: String, in directory: AtomicDirectory, digest: Digest
    ) throws(Fault) {
        let source = try InputFile(path)
        let target = try directory.file(name)
        var hasher = DigestHasher()
        var offset = 0
        while offset < source.size {
            let piece = try source.read(at: offset, count: min(1 << 20, source.size - offset))
            hasher.update(piece)
            try target.write(piece)
            offset += piece.count
        }
        try target.close()
        let found = hasher.finish()
        if found != digest {
            throw Fault(.badData, "bad sha256 of \(quoted(path.string)): expected \(digest), found \(found)")
        }
    }
}
