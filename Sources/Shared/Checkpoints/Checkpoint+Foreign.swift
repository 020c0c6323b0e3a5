// Model directories that other programs wrote: `model.safetensors`, or parts under `model.safetensors.index.json`.

internal import Bytes
internal import SystemPackage

extension Checkpoint {
    private static let indexName = "model.safetensors.index.json"

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
        let json = try JSON(parsing: try InputFile(index).readAll(limit: maximumTextSize), name: index.string)
        guard let map = json["weight_map"]?.objectValue else {
            throw .badData(index.string, "expected an object 'weight_map'")
        }
        var files: [String: SafetensorsFile] = [:]
        for (tensor, value) in map.members {
            guard let name = value.stringValue, isPathComponent(name) else {
                throw .badData(
                    index.string, "tensor \(quoted(tensor)): \(printable(value.compact)) is no plain file name")
            }
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
