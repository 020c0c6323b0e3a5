// Checkpoints: our own, and models of other programs.

import Bytes
import Checkpoints
import Models
import SystemPackage
import Training

extension FuzzTarget {
    /// A file of tensors, every one of which is read, and the same as somebody's model.
    func fuzzSafetensors(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let path = try scratch.write(bytes, "model.safetensors")
        let file = try SafetensorsFile(path)
        var count = file.headerByteCount
        for tensor in file.tensors {
            try file.read(tensor, chunk: 1 << 16) { _, piece in count += piece.count }
        }
        if count != bytes.count { throw BrokenPromise("\(count) bytes were read of \(bytes.count)") }
        try FuzzTarget.readAll(try ForeignModel(path))
    }

    /// manifest.json in front of the files that it describes. The digest of itself is put right: no fuzzer finds a SHA-256.
    func fuzzManifest(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let source = FuzzTarget.golden.appending("v2")
        if FileSystem.kind(of: scratch.directory.appending(Checkpoint.modelName)) == nil {
            for name in try FileSystem.list(source) where name != Manifest.fileName {
                _ = try scratch.write(try InputFile(source.appending(name)).readAll(limit: 1 << 20), name)
            }
        }
        let closing = "  \"manifest_sha256\": \"\(Digest.of(bytes))\"\n}\n"
        _ = try scratch.write(bytes + Array(closing.utf8), Manifest.fileName)
        let findings = Checkpoint.verify(scratch.directory)
        let checkpoint = try Checkpoint(scratch.directory)
        _ = try checkpoint.configuration()
        _ = try checkpoint.state()
        if let finding = findings.first { throw Fault(.badData, finding.message) }
    }

    /// state.json: what is taken is written as the same.
    func fuzzState(_ bytes: [UInt8]) throws {
        let state = try TrainingState(json: try JSON(parsing: bytes, name: "state.json"), name: "state.json")
        try state.recipe.validate()
        let again = try TrainingState(
            json: try JSON(parsing: Array(state.json.pretty.utf8), name: "again"), name: "again")
        if again != state { throw BrokenPromise("\(state.json.compact) was read as \(again.json.compact)") }
    }

    /// config.json, and the layout of the model that it describes.
    func fuzzConfiguration(_ bytes: [UInt8]) throws {
        let configuration = try ModelConfiguration(parsing: bytes, name: "config.json")
        // One of ten thousand layers has a hundred thousand names.
        if configuration.layers <= 64 { _ = ParameterLayout(configuration) }
    }

    /// A model of any foreign format, told by its first bytes.
    func fuzzModel(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        try FuzzTarget.readAll(try ForeignModel(try scratch.write(bytes, "model")))
    }

    private static func readAll(_ model: ForeignModel) throws {
        for tensor in model.tensors {
            var reader = tensor.reader(chunk: 1 << 12)
            var count = 0
            while let piece = try reader.next() { count += piece.count }
            if count != tensor.byteCount && tensor.encoding == .plain(tensor.dtype) {
                throw BrokenPromise("\(count) bytes of \(tensor.name), which has \(tensor.byteCount)")
            }
        }
        for file in model.sideFiles { _ = try file.content() }
        if let configuration = model.configuration {
            _ = try? ModelConfiguration(json: configuration, name: "config.json")
        }
    }
}
