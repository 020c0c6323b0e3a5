// A directory that goes away with the test, and the smallest checkpoint that has every kind of file.

import Bytes
import Checkpoints
import SystemPackage
import Testing

/// A fresh directory, removed when the last reference goes.
final class Scratch {
    let path: FilePath

    init() throws {
        path = FilePath(Host.environment("TMPDIR") ?? "/tmp").appending(
            "millrace-\(String(UInt64.random(in: 0 ... .max), radix: 36))")
        try FileSystem.makeDirectory(path)
    }

    deinit { try? FileSystem.remove(path) }

    /// Writes without ceremony: tests damage files thousands of times.
    func write(_ bytes: [UInt8], to path: FilePath) throws {
        let file = try FileDescriptor.open(
            path, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        try file.closeAfter { _ = try file.writeAll(bytes) }
    }

    func read(_ path: FilePath) throws -> [UInt8] { try InputFile(path).readAll(limit: 1 << 30) }
}

/// The message of the fault that `body` throws; fails the test when it throws none.
func message(_ location: SourceLocation = #_sourceLocation, of body: () throws -> Void) -> String {
    do {
        try body()
        Issue.record("expected a fault", sourceLocation: location)
        return ""
    } catch let fault as Fault {
        return fault.message
    } catch {
        Issue.record("expected a fault, found \(error)", sourceLocation: location)
        return "\(error)"
    }
}

/// Config, tokenizer, two model tensors, an optimizer tensor, state. `salt` makes another one of the same shapes.
func fill(_ writer: CheckpointWriter, step: Int, salt: Float = 0) throws {
    try writer.write(["model_type": "llama", "hidden_size": 2], to: Checkpoint.configurationName)
    try writer.write(Array("tokens".utf8), to: "tokenizer.json")
    try writer.write(
        [
            TensorSource(name: "a", shape: [2, 3], values: [1, 2, 3, 4, 5, 6 + salt]),
            TensorSource(name: "b", shape: [2], values: [7, 8]),
        ], to: Checkpoint.modelName)
    try writer.write([TensorSource(name: "a.m", shape: [2], values: [9, salt])], to: Checkpoint.optimizerName)
    try writer.write(["step": .integer(step), "tokens": 10, "cursor": "v1:0"], to: Checkpoint.stateName)
}

/// A header (padded by nothing) and data, as a safetensors file.
func safetensors(_ header: String, data: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: UInt64(header.utf8.count))
    return bytes + Array(header.utf8) + [UInt8](repeating: 1, count: data)
}
