// The formats by name, how each is recognized, and what each can do.

public import Bytes
public import SystemPackage

/// A format that models are read from and written to.
public enum ForeignFormat: String, Sendable, CaseIterable {
    /// A directory with config.json and safetensors files.
    case huggingFace = "hf"
    case gguf
    case npz
    case llmC = "llm.c"

    /// Whether a model may be written in more than one file of tensors.
    public var hasParts: Bool { self == .huggingFace }

    /// From what lies at `path`: a directory, or the first bytes of a file.
    static func detect(_ path: FilePath) throws(Fault) -> ForeignFormat {
        switch FileSystem.kind(of: path) {
        case nil where FileSystem.kind(of: path, followingLinks: false) == nil && !path.isLatest:
            throw Fault(.noInput, "cannot open \(quoted(path.string)): no such file or directory")
        case nil, .directory: return .huggingFace
        default: break
        }
        let file = try InputFile(path)
        let start = try file.read(at: 0, count: min(8, file.size))
        if start.starts(with: GGUFFile.magic) { return .gguf }
        if start.starts(with: ZipArchive.memberMagic) || start.starts(with: ZipArchive.endMagic) { return .npz }
        if start.littleEndian(at: 0, as: UInt32.self) == LLMCHeader.magic { return .llmC }
        if path.extension?.lowercased() == "safetensors" { return .huggingFace }
        throw .badData(
            path.string, byte: 0,
            "expected a checkpoint directory, safetensors, GGUF, npz or llm.c's model, found something else")
    }

    /// From the name of what is to be written: `.gguf`, `.npz`, `.bin` in any case, or a directory.
    public init(writing path: FilePath) throws(Fault) {
        switch path.extension?.lowercased() {
        case "gguf": self = .gguf
        case "npz": self = .npz
        case "bin": self = .llmC
        case "safetensors":
            throw Fault(
                .usage, "\(quoted(path.string)) is to be a directory, which holds config.json and model.safetensors",
                hint: "give it another name than .safetensors")
        case "pt", "pth", "ckpt":
            throw Fault(
                .usage, "\(quoted(path.string)): files of PyTorch are not written",
                hint: "a directory, .gguf, .npz or .bin (llm.c); --to hf makes a directory of any name")
        default: self = .huggingFace
        }
    }

    var type: any ForeignModelFormat.Type {
        switch self {
        case .huggingFace: HuggingFaceFormat.self
        case .gguf: GGUFFormat.self
        case .npz: NPZFormat.self
        case .llmC: LLMCFormat.self
        }
    }
}

/// A reader and a writer.
protocol ForeignModelFormat {
    static func read(_ path: FilePath, configuration: JSON?) throws(Fault) -> ForeignModel
    /// Writes the model to `path`, whole or not at all.
    /// - Returns: what was left out or is not as asked, a line each.
    static func write(_ model: ForeignModel, to path: FilePath, options: ConversionOptions) throws -> [String]
}

extension ForeignModel {
    /// Writes the model as `format` to `path`, whole or not at all.
    /// - Returns: what was left out or is not as asked, a line each.
    /// - Throws: `Fault`, also for what the format cannot hold.
    public func write(
        to path: FilePath, as format: ForeignFormat, options: ConversionOptions = ConversionOptions()
    ) throws -> [String] {
        if FileSystem.kind(of: path, followingLinks: false) != nil, !options.replaces || format == .huggingFace {
            throw Fault(
                .cannotCreate, "cannot create \(quoted(path.string)): it exists already",
                hint: format == .huggingFace ? nil : "--force replaces a file")
        }
        try requireTiedHead()
        return notes + (try format.type.write(self, to: path, options: options))
    }
}

extension FilePath {
    fileprivate var isLatest: Bool { lastComponent?.string == RunDirectory.Link.latest.rawValue }
}
