// Reading everything once and holding it against the manifest: what differs is named, file and tensor.

public import Bytes
public import SystemPackage

/// One thing that is wrong with a checkpoint.
public struct Finding: Sendable, Hashable, CustomStringConvertible {
    /// The file's name in the checkpoint; nil when the directory itself is the trouble.
    public let file: String?
    public let tensor: String?
    /// One line that names file, tensor, byte, expected and found, as far as they are known.
    public let message: String

    public var description: String { message }

    init(file: String?, tensor: String? = nil, _ fault: Fault) {
        self.file = file
        self.tensor = tensor
        message = fault.message
    }
}

extension Checkpoint {
    /// Everything that is wrong with the checkpoint at `path`; empty when nothing is.
    ///
    /// Of a foreign checkpoint only the structure can be checked.
    /// - Parameter deep: recomputes the digests of files and tensors; otherwise manifest, sizes and headers.
    public static func verify(_ path: FilePath, deep: Bool = true) -> [Finding] {
        let directory: FilePath
        let manifest: Manifest
        do {
            directory = try resolved(path)
            if FileSystem.kind(of: directory.appending(Manifest.fileName)) == nil {
                _ = try Checkpoint(directory)
                return []
            }
        } catch { return [Finding(file: nil, error)] }
        do {
            manifest = try readManifest(directory)
        } catch { return [Finding(file: Manifest.fileName, error)] }
        var findings: [Finding] = []
        if manifest[modelName] == nil && manifest[indexName] == nil {
            findings.append(Finding(file: Manifest.fileName, missingModel(directory)))
        }
        if let index = manifest[indexName] { findings += verifyIndex(index, manifest, in: directory) }
        for file in manifest.files {
            do {
                try checkPresence(file, in: directory)
            } catch {
                findings.append(Finding(file: file.name, error))
                continue
            }
            findings +=
                file.headerDigest == nil
                ? verifyBytes(file, in: directory, deep: deep) : verifyTensors(file, in: directory, deep: deep)
        }
        return findings
    }

    /// As the static `verify`, of this checkpoint's directory as it is now.
    public func verify(deep: Bool = true) -> [Finding] { Checkpoint.verify(path, deep: deep) }

    /// Whether the index is that of the model's parts: it and `model.safetensors` are two models, of which readers take
    /// either one. That its bytes are those listed is found elsewhere.
    private static func verifyIndex(_ index: Manifest.File, _ manifest: Manifest, in directory: FilePath) -> [Finding] {
        let path = directory.appending(indexName)
        guard let bytes = try? InputFile(path).readAll(limit: maximumTextSize), Digest.of(bytes) == index.digest else {
            return []
        }
        do throws(Fault) {
            if manifest[modelName] != nil {
                throw .badData(path.string, "the manifest lists 'model.safetensors' too, expected one of them")
            }
            let parts = Set(try weightMap(bytes, path).map(\.file))
            return parts.filter { manifest[$0] == nil }.sorted().map { part in
                Finding(file: indexName, .badData(path.string, "file \(quoted(part)) is not listed in the manifest"))
            }
        } catch { return [Finding(file: indexName, error)] }
    }

    private static func verifyBytes(_ file: Manifest.File, in directory: FilePath, deep: Bool) -> [Finding] {
        if !deep { return [] }
        do throws(Fault) {
            let path = directory.appending(file.name)
            let found = try InputFile(path).digest()
            if found != file.digest {
                throw Fault.differingDigest(quoted(path.string), expected: file.digest, found: found)
            }
            return []
        } catch { return [Finding(file: file.name, error)] }
    }

    private static func verifyTensors(_ file: Manifest.File, in directory: FilePath, deep: Bool) -> [Finding] {
        let tensors: TensorSet
        do {
            tensors = try self.tensors(file, in: directory)
        } catch { return [Finding(file: file.name, error)] }
        if !deep { return [] }
        // One reading for both digests: tensors tile the file after its header.
        var whole = DigestHasher()
        var findings: [Finding] = []
        do throws(Fault) {
            let input = tensors.files[0].file
            whole.update(try input.read(at: 0, count: tensors.files[0].headerByteCount))
            for entry in tensors.entries {
                var reader = TensorReader(input, entry, expected: nil, chunk: 1 << 20)
                var hasher = DigestHasher()
                while let bytes = try reader.next() {
                    whole.update(bytes)
                    hasher.update(bytes)
                }
                let found = hasher.finish()
                if let expected = tensors.digest(of: entry.name), expected != found {
                    let subject =
                        "\(quoted(input.name)), tensor \(quoted(entry.name)) at byte \(entry.byteRange.lowerBound)"
                    findings.append(
                        Finding(
                            file: file.name, tensor: entry.name,
                            .differingDigest(subject, expected: expected, found: found)))
                }
            }
            let found = whole.finish()
            if findings.isEmpty, found != file.digest {
                throw Fault.differingDigest(quoted(input.name), expected: file.digest, found: found)
            }
        } catch { findings.append(Finding(file: file.name, error)) }
        return findings
    }
}

extension RunDirectory {
    /// What `body` says of a step's checkpoint; nil when that is gone, or another one is in its place, by the time that `body` has
    /// returned: a run that is under way removes and replaces its checkpoints, and half of one is no damage.
    public func inspect<Result>(
        _ step: Int, _ body: (_ checkpoint: FilePath) throws -> Result
    ) rethrows -> Result? {
        let place = path(of: step)
        guard let before = FileSystem.identity(of: place) else { return nil }
        let result = try body(place)
        guard let after = FileSystem.identity(of: place), after.isSameFile(as: before) else { return nil }
        return result
    }

    /// Everything that is wrong with a step's checkpoint; nil when it went away meanwhile, as in `inspect`.
    /// - Parameter deep: recomputes every digest.
    public func verify(step: Int, deep: Bool = true) -> [Finding]? {
        inspect(step) { place in
            if FileSystem.kind(of: place.appending(Manifest.fileName)) == nil {
                return [Finding(file: Manifest.fileName, Checkpoint.missingManifest(place))]
            }
            return Checkpoint.verify(place, deep: deep)
        }
    }

    /// Everything that is wrong with the run's checkpoints and links. A run that is under way may be asked.
    /// - Parameter deep: recomputes every digest.
    public func verify(deep: Bool = true) throws(Fault) -> [Finding] {
        var findings: [Finding] = []
        for step in try steps() {
            findings += verify(step: step.step, deep: deep) ?? []
        }
        return findings + Link.allCases.compactMap(finding)
    }

    /// What is wrong with a link: it leads to no checkpoint of this run.
    private func finding(_ link: Link) -> Finding? {
        let place = path.appending(link.rawValue)
        while FileSystem.kind(of: place, followingLinks: false) != nil {
            let target = FileSystem.linkTarget(place)
            if let target, let step = RunDirectory.step(of: target), FileSystem.kind(of: path(of: step)) == .directory {
                return nil
            }
            // A writer may have moved the link and removed what it pointed at.
            if FileSystem.linkTarget(place) != target { continue }
            let expected = "expected a link to a checkpoint of the run"
            guard let target else {
                return Finding(file: nil, .badData(place.string, "is no symbolic link, \(expected)"))
            }
            let trouble =
                FileSystem.kind(of: place) == nil
                ? "the link dangles: \(quoted(target)) is not there" : "leads to \(quoted(target)), \(expected)"
            return Finding(file: nil, .badData(place.string, trouble))
        }
        return nil
    }
}
