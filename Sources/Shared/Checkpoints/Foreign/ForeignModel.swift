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
        /// Where it was found, when that is not beside the model.
        public let origin: FilePath?
        /// Checked against its digest where there is one.
        public let content: @Sendable () throws(Fault) -> [UInt8]

        public init(
            name: String, origin: FilePath? = nil, content: @escaping @Sendable () throws(Fault) -> [UInt8]
        ) {
            self.name = name
            self.origin = origin
            self.content = content
        }

        /// Whether it says how to generate, and so is neither model nor tokenizer.
        var isForGeneration: Bool { name == "generation_config.json" }
        static let generationNote = "generation_config.json is left out"
    }

    public let path: FilePath
    public let format: ForeignFormat
    /// config.json; nil when neither the file nor the caller has one.
    public var configuration: JSON?
    /// In natural order of their names: numbers by value.
    public var tensors: [ModelTensor]
    /// A tied model's own copy of the head, which is none of its tensors.
    private(set) var tiedHead: ModelTensor?
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
        (self.tensors, tiedHead) = ForeignModel.canonical(tensors, configuration)
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

    /// The path of a side file, for messages.
    func path(of file: SideFile) -> String { (file.origin ?? path.appending(file.name)).string }

    /// What a format that holds tensors only leaves out, a line each.
    /// - Parameter reason: why it has no tokenizer.
    func leftOutFiles(_ reason: String) -> [String] {
        var notes: [String] = []
        if !sideFiles.allSatisfy(\.isForGeneration) { notes.append("its tokenizer is left out: \(reason)") }
        if sideFiles.contains(where: \.isForGeneration) { notes.append(SideFile.generationNote) }
        return notes
    }

    /// Holds a tied model's own copy of the head, where a file has one, against the embedding. Reads both.
    /// - Throws: `Fault` (bad data) when they differ: the file has a head that its configuration does not know of.
    public func requireTiedHead() throws(Fault) {
        guard let head = tiedHead,
            let embedding = ForeignModel.embeddings.lazy.compactMap({ self[$0] }).first,
            try !head.hasValues(of: embedding)
        else { return }
        throw fault(
            "tensor \(quoted(head.name)) differs from \(quoted(embedding.name)), but 'tie_word_embeddings' says that they are one",
            hint: "with \"tie_word_embeddings\": false in config.json (convert: --config FILE) both are kept")
    }

    private static let embeddings = ["model.embed_tokens.weight", "transformer.wte.weight"]

    /// Hugging Face's names of the whole model, in natural order, without what is no parameter; apart from them the copy of
    /// a tied head.
    private static func canonical(
        _ tensors: [ModelTensor], _ configuration: JSON?
    ) -> (tensors: [ModelTensor], head: ModelTensor?) {
        let isGPT2 = configuration?["model_type"]?.stringValue == "gpt2"
        let names = Set(tensors.map(\.name))
        let isTied =
            configuration != nil && configuration?["tie_word_embeddings"]?.boolValue ?? isGPT2
            && !names.isDisjoint(with: embeddings + ["wte.weight"])
        var head: ModelTensor?
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
            if isTied && name == "lm_head.weight" {
                head = tensor
            } else if !isBuffer {
                result.append(name == tensor.name ? tensor : tensor.renamed(name))
            }
        }
        let sorted = result.map { (naturalKey($0.name), $0) }.sorted { $0.0.lexicographicallyPrecedes($1.0) }
        return (sorted.map(\.1), head)
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
