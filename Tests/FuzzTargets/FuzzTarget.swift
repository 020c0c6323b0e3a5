// The parsers of files that somebody else may have made, each as one function from bytes to a verdict: whatever the bytes, a
// parser takes them or refuses them in one line. libFuzzer feeds them (Tests/fuzz), and so do the ordinary tests, with the
// kept inputs and with seeded mutations of them, so that what one found the other remembers.

import Bytes
public import SystemPackage

/// A parser, by the name of its folder in Tests/fuzz/corpus.
public enum FuzzTarget: String, CaseIterable, Sendable {
    case json
    case safetensors, manifest, state, configuration, gguf, npz, llmc
    case stream, cursor
    case shard, dataset, mask, tokenizer, merges
    case megatron, mds, tokens
    case metrics, events

    /// Gives the parser an input.
    /// - Parameter directory: where the input may be put as a file; nobody else uses it meanwhile.
    /// - Returns: whether the parser took it; false when it refused it as it should, with a `Fault`.
    /// - Throws: `BrokenPromise`, or whatever else is no `Fault`: a finding.
    public func takes(_ bytes: [UInt8], in directory: FilePath) throws -> Bool {
        do {
            try parse(bytes, FuzzScratch(directory))
            return true
        } catch let fault as Fault {
            let text = fault.message + (fault.hint ?? "")
            if printable(text) != text {
                throw BrokenPromise("a complaint with control characters: \(printable(text))")
            }
            if fault.kind == .interrupted { throw BrokenPromise("nobody interrupted: \(text)") }
            return false
        }
    }

    private func parse(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        switch self {
        case .json: try fuzzJSON(bytes)
        case .safetensors: try fuzzSafetensors(bytes, scratch)
        case .manifest: try fuzzManifest(bytes, scratch)
        case .state: try fuzzState(bytes)
        case .configuration: try fuzzConfiguration(bytes)
        case .gguf, .npz, .llmc: try fuzzModel(bytes, scratch)
        case .stream: try fuzzStream(bytes)
        case .cursor: try fuzzCursor(bytes)
        case .shard: try fuzzShard(bytes)
        case .dataset: try fuzzDataset(bytes)
        case .mask: try fuzzMask(bytes)
        case .tokenizer: try fuzzTokenizer(bytes, scratch)
        case .merges: try fuzzMerges(bytes, scratch)
        case .megatron: try fuzzMegatron(bytes, scratch)
        case .mds: try fuzzMDS(bytes, scratch)
        case .tokens: try fuzzTokens(bytes, scratch)
        case .metrics: try fuzzMetrics(bytes, scratch)
        case .events: try fuzzEvents(bytes, scratch)
        }
    }

    /// Tests/fuzz/corpus of this checkout: a folder of inputs for each target.
    public static let corpus = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .appending("fuzz").appending("corpus")
    /// Checkpoints of every version.
    static let golden = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .appending("Golden").appending("checkpoints")
}

/// A parser did what none may do.
public struct BrokenPromise: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// The directory of a target, and inputs that are several files.
struct FuzzScratch {
    let directory: FilePath

    init(_ directory: FilePath) { self.directory = directory }

    /// Puts bytes into a file, without the flushes of our writers: that happens a thousand times a second.
    func write(_ bytes: [UInt8], _ name: String) throws -> FilePath {
        let path = directory.appending(name)
        let file = try FileDescriptor.open(
            path, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        try file.closeAfter { _ = try file.writeAll(bytes) }
        return path
    }

    /// Whether the byte in front of an input asks for checksums that fit, and the input.
    static func mode(_ bytes: [UInt8]) -> (isMended: Bool, content: [UInt8]) {
        ((bytes.first ?? 0) & 1 == 1, Array(bytes.dropFirst()))
    }

    /// Two files in one input: u16 length of the first, the first, the second.
    static func parts(_ bytes: [UInt8]) -> (first: [UInt8], second: [UInt8]) {
        let length = Int(bytes.littleEndian(at: 0, as: UInt16.self) ?? 0)
        let rest = bytes.dropFirst(2)
        return (Array(rest.prefix(length)), Array(rest.dropFirst(length)))
    }
}

/// Bytes in memory that are read by offset.
final class MemoryFile: RangedSource {
    let name: String
    private let bytes: [UInt8]
    var size: Int { bytes.count }

    init(_ bytes: [UInt8], name: String) {
        self.bytes = bytes
        self.name = name
    }

    func read(at offset: Int, count: Int) throws(Fault) -> [UInt8] {
        guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
            throw .badData(name, byte: size, "expected \(count) bytes at byte \(offset), found the end of the file")
        }
        return Array(bytes[offset..<offset + count])
    }
}

/// Files in memory by name.
struct MemoryStore: FileStore {
    let name = "memory"
    let files: [String: [UInt8]]
    /// What every other name holds; nil: there are no others.
    var otherwise: [UInt8]?

    func name(of file: String) -> String { file }

    func open(_ file: String) throws(Fault) -> any RangedSource {
        guard let bytes = files[file] ?? otherwise else {
            throw Fault(.noInput, "cannot open \(quoted(file)): no such file")
        }
        return MemoryFile(bytes, name: file)
    }
}
