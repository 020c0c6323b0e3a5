// A model in the one form through which all formats are converted and compared: Hugging Face's configuration, and its
// tensors under Hugging Face's names in Hugging Face's layout (docs/formats/foreign-checkpoints.md). A reader gives it, a
// writer takes it; neither knows the other.

public import Bytes
public import SystemPackage

/// A model of any readable format, open. Its tensors are read on demand.
public struct ForeignModel: Sendable {
    /// A file that belongs to a model besides its tensors and configuration.
    public struct SideFile: Sendable {
        public let name: String
        /// Checked against its digest where there is one.
        public let content: @Sendable () throws(Fault) -> [UInt8]

        public init(name: String, content: @escaping @Sendable () throws(Fault) -> [UInt8]) {
            self.name = name
            self.content = content
        }
    }

    public let path: FilePath
    public let format: ForeignFormat
    /// config.json; nil when neither the file nor the caller has one.
    public var configuration: JSON?
    /// In natural order of their names: numbers by value.
    public var tensors: [ModelTensor]
    /// The tokenizer's files and their like.
    public var sideFiles: [SideFile] = []
    /// What the model has been through on its way to its shape, of our manifests; nil: nothing.
    var expansions: JSON?
    /// What was left out in reading, a line each.
    public var notes: [String] = []

    init(_ path: FilePath, _ format: ForeignFormat, configuration: JSON?, tensors: [ModelTensor]) {
        self.path = path
        self.format = format
        self.configuration = configuration
        self.tensors = ForeignModel.canonical(tensors, configuration)
    }

    /// Opens the model at `path`: a checkpoint, a run (for its latest), or a file of a foreign format.
    /// - Parameters:
    ///   - configuration: a config.json to use in place of the model's own.
    ///   - fellBack: called when a run stands for another checkpoint than its latest, with what was passed over.
    /// - Throws: `Fault`: no input, or bad data as `'FILE' at byte N: reason`.
    public init(
        _ path: FilePath, configuration: FilePath? = nil, fellBack: (RunDirectory.Valid) -> Void = { _ in }
    ) throws(Fault) {
        var given: JSON?
        if let configuration {
            given = try JSON(
                parsing: try InputFile(configuration).readAll(limit: Checkpoint.maximumTextSize),
                name: configuration.string)
        }
        let format = try ForeignFormat.detect(path)
        if format == .huggingFace && FileSystem.kind(of: path) != .file {
            self = try HuggingFaceFormat.read(Checkpoint.find(path, fellBack: fellBack), given)
        } else {
            self = try format.type.read(path, configuration: given)
        }
    }

    public var elementCount: Int { tensors.reduce(0) { $0 + $1.elementCount } }

    public subscript(name: String) -> ModelTensor? { tensors.first { $0.name == name } }

    /// The configuration, or an error that says how to give one.
    public func requireConfiguration() throws(Fault) -> JSON {
        guard let configuration else {
            throw Fault(
                .noInput, "\(quoted(path.string)) has no configuration of its model",
                hint: "--config FILE names a config.json")
        }
        return configuration
    }

    /// A fault that names the model.
    func fault(_ reason: String, hint: String? = nil) -> Fault { .badData(path.string, reason, hint: hint) }

    /// Hugging Face's names of the whole model, in natural order, without what is no parameter.
    private static func canonical(_ tensors: [ModelTensor], _ configuration: JSON?) -> [ModelTensor] {
        let isGPT2 = configuration?["model_type"]?.stringValue == "gpt2"
        let names = Set(tensors.map(\.name))
        let isTied =
            configuration?["tie_word_embeddings"]?.boolValue ?? isGPT2
        var result: [ModelTensor] = []
        for tensor in tensors {
            var name = tensor.name
            if isGPT2, ["wte.", "wpe.", "h.", "ln_f."].contains(where: { name.hasPrefix($0) }),
                !names.contains("transformer." + name)
            {
                name = "transformer." + name
            }
            let isBuffer =
                name.hasSuffix(".rotary_emb.inv_freq")
                || isGPT2 && (name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias"))
                || configuration != nil && isTied && name == "lm_head.weight"
            if !isBuffer { result.append(name == tensor.name ? tensor : tensor.renamed(name)) }
        }
        return result.map { (naturalKey($0.name), $0) }.sorted { $0.0.lexicographicallyPrecedes($1.0) }.map(\.1)
    }

    /// Orders like the name, but `layers.2` before `layers.10`: every run of digits is preceded by its length.
    private static func naturalKey(_ name: String) -> [UInt8] {
        var key: [UInt8] = []
        var digits: [UInt8] = []
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        for byte in name.utf8 {
            if isDigit(byte) {
                digits.append(byte)
                continue
            }
            if !digits.isEmpty { key += [0x30, UInt8(clamping: digits.count)] + digits }
            digits = []
            key.append(byte)
        }
        return digits.isEmpty ? key : key + [0x30, UInt8(clamping: digits.count)] + digits
    }
}
