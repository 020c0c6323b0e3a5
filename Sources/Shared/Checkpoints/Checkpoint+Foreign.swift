// Model directories that other programs wrote: `model.safetensors`, or parts under `model.safetensors.index.json`.

internal import Bytes
internal import SystemPackage

extension Checkpoint {
    static let indexName = "model.safetensors.index.json"

    /// The model that a manifest lists: `model.safetensors`, or the parts that the index names.
    static func listedModel(_ manifest: Manifest, in directory: FilePath) throws(Fault) -> TensorSet {
        if let model = manifest[modelName] { return try tensors(model, in: directory) }
        guard let index = manifest[indexName] else { throw missingModel(directory) }
        let path = directory.appending(indexName)
        let bytes = try InputFile(path).readAll(limit: maximumTextSize)
        let found = Digest.of(bytes)
        if found != index.digest { throw .differingDigest(quoted(path.string), expected: index.digest, found: found) }
        var parts: [String: TensorSet] = [:]
        for (tensor, name) in try weightMap(bytes, path) {
            if parts[name] == nil {
                guard let file = manifest[name] else {
                    throw .badData(path.string, "file \(quoted(name)) is not listed in the manifest")
                }
                parts[name] = try tensors(file, in: directory)
            }
            if parts[name]?[tensor] == nil {
                throw .badData(path.string, "tensor \(quoted(tensor)) is not in \(quoted(name))")
            }
        }
        let sets = parts.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map(\.value)
        var digests: [String: Digest] = [:]
        for set in sets { for entry in set.entries { digests[entry.name] = set.digest(of: entry.name) } }
        return try TensorSet(sets.flatMap(\.files), digests: digests)
    }

    static func missingModel(_ directory: FilePath) -> Fault {
        .badData(directory.appending(Manifest.fileName).string, "no file 'model.safetensors' is listed")
    }

    /// Which file each tensor is in, in the order of the index.
    static func weightMap(_ bytes: [UInt8], _ path: FilePath) throws(Fault) -> [(tensor: String, file: String)] {
        guard let map = try JSON(parsing: bytes, name: path.string)["weight_map"]?.objectValue else {
            throw .badData(path.string, "expected an object 'weight_map'")
        }
        var result: [(String, String)] = []
        for (tensor, value) in map.members {
            guard let name = value.stringValue, isPathComponent(name) else {
                throw .badData(
                    path.string, "tensor \(quoted(tensor)): \(printable(value.compact)) is no plain file name")
            }
            result.append((tensor, name))
        }
        return result
    }

    /// The safetensors files of a directory without a manifest.
    static func foreignFiles(_ path: FilePath) throws(Fault) -> [SafetensorsFile] {
        let index = path.appending(indexName)
        if FileSystem.kind(of: path.appending(modelName)) != nil {
            return [try SafetensorsFile(path.appending(modelName))]
        }
        guard FileSystem.kind(of: index) != nil else {
            throw Fault(
                .noInput,
                "\(quoted(path.string)) is no checkpoint: found neither 'manifest.json' nor 'model.safetensors'",
                hint: "a directory whose name ends in .tmp is what a killed run left")
        }
        var files: [String: SafetensorsFile] = [:]
        for (tensor, name) in try weightMap(try InputFile(index).readAll(limit: maximumTextSize), index) {
            let file: SafetensorsFile
            if let opened = files[name] {
                file = opened
            } else {
                file = try SafetensorsFile(path.appending(name))
                files[name] = file
            }
            if file[tensor] == nil {
                throw .badData(index.string, "tensor \(quoted(tensor)) is not in \(quoted(name))")
            }
        }
        return files.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map(\.value)
    }
}
