// Hugging Face's model directories, ours among them: read through Checkpoint, so that digests are checked where there are
// any; written with a manifest, and in parts under model.safetensors.index.json when there is more than one.

internal import Bytes
internal import SystemPackage

enum HuggingFaceFormat: ForeignModelFormat {
    static func read(_ path: FilePath, configuration: JSON?) throws(Fault) -> ForeignModel {
        if FileSystem.kind(of: path) == .file { return try readFile(path, configuration) }
        return try read(Checkpoint.find(path), configuration)
    }

    /// A checkpoint directory's model.
    static func read(_ checkpoint: Checkpoint, _ configuration: JSON?) throws(Fault) -> ForeignModel {
        let names = try checkpoint.fileNames()
        var configuration = configuration
        if configuration == nil, names.contains(Checkpoint.configurationName) {
            configuration = try checkpoint.configuration()
        }
        var model = ForeignModel(
            checkpoint.path, .huggingFace, configuration: configuration, tensors: checkpoint.model.tensors)
        model.sideFiles = names.filter(isSideFile).map { name in
            ForeignModel.SideFile(name: name) { () throws(Fault) in try checkpoint.read(name) }
        }
        model.expansions = checkpoint.manifest?.expansions
        if checkpoint.optimizer != nil { model.notes.append("the optimizer's state is left out") }
        if checkpoint.average != nil { model.notes.append("the moving average is left out: 'ckpt-tool ema' takes it") }
        return model
    }

    /// One safetensors file, its configuration and its tokenizer beside it.
    private static func readFile(_ path: FilePath, _ configuration: JSON?) throws(Fault) -> ForeignModel {
        let tensors = try TensorSet([SafetensorsFile(path)], digests: [:]).tensors
        let directory = path.removingLastComponent()
        let beside = directory.appending(Checkpoint.configurationName)
        var configuration = configuration
        if configuration == nil, FileSystem.kind(of: beside) == .file {
            configuration = try JSON(
                parsing: try InputFile(beside).readAll(limit: Checkpoint.maximumTextSize), name: beside.string)
        }
        return ForeignModel(path, .huggingFace, configuration: configuration, tensors: tensors)
    }

    /// Whether a file goes along with the model: tokenizer, vocabulary, templates. Not weights, nor what only training needs.
    private static func isSideFile(_ name: String) -> Bool {
        let known = [
            "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
            "added_tokens.json",
            "vocab.json", "merges.txt", "vocab.bpe", "encoder.json", "generation_config.json", "chat_template.jinja",
            "chat_template.json",
        ]
        return known.contains(name) || name.hasSuffix(".tiktoken")
    }

    static func write(_ model: ForeignModel, to path: FilePath, options: ConversionOptions) throws -> [String] {
        try options.requirePlain("safetensors")
        let configuration = try model.requireConfiguration()
        let parts = parts(of: model.tensors, options)
        let writer = try CheckpointWriter(path)
        writer.expansions = model.expansions
        try writer.write(described(configuration, model.tensors, options), to: Checkpoint.configurationName)
        var map = JSONObject()
        var total = 0
        for (index, part) in parts.enumerated() {
            let name = parts.count == 1 ? Checkpoint.modelName : partName(index, of: parts.count)
            try writer.write(part.map { $0.source($0.name, as: options.plainType(of: $0)) }, to: name)
            for tensor in part {
                map[tensor.name] = .string(name)
                total += byteCount(tensor, options)
            }
        }
        if parts.count > 1 {
            try writer.write(
                ["metadata": ["total_size": .integer(total)], "weight_map": .object(map)],
                to: Checkpoint.indexName)
        }
        for file in model.sideFiles { try writer.write(file.content(), to: file.name) }
        try writer.commit()
        return []
    }

    private static func byteCount(_ tensor: ModelTensor, _ options: ConversionOptions) -> Int {
        TensorEncoding.plain(options.plainType(of: tensor)).byteCount(tensor.elementCount)
    }

    /// Tensors in order, in parts of at most `shardSize` bytes; a larger one alone. At least one part.
    private static func parts(of tensors: [ModelTensor], _ options: ConversionOptions) -> [[ModelTensor]] {
        var parts: [[ModelTensor]] = [[]]
        var size = 0
        for tensor in tensors {
            let bytes = byteCount(tensor, options)
            if size > 0, bytes > options.shardSize - size {
                parts.append([])
                size = 0
            }
            parts[parts.count - 1].append(tensor)
            size += bytes
        }
        return parts
    }

    private static func partName(_ index: Int, of count: Int) -> String {
        func digits(_ number: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, 5 - text.count)) + text
        }
        return "model-\(digits(index + 1))-of-\(digits(count)).safetensors"
    }

    /// The configuration with the type that most bytes have.
    private static func described(
        _ configuration: JSON, _ tensors: [ModelTensor], _ options: ConversionOptions
    ) -> JSON {
        guard var object = configuration.objectValue else { return configuration }
        var sizes: [DataType: Int] = [:]
        for tensor in tensors { sizes[options.plainType(of: tensor), default: 0] += byteCount(tensor, options) }
        let names: [DataType: String] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16", .f64: "float64"]
        let largest = names.keys.max { (sizes[$0] ?? 0, $1) < (sizes[$1] ?? 0, $0) }
        if let name = largest.flatMap({ names[$0] }) {
            object["dtype"] = .string(name)
            object["torch_dtype"] = .string(name)
        }
        return .object(object)
    }
}

extension TensorSet {
    /// The tensors as views, in file order.
    public var tensors: [ModelTensor] {
        files.flatMap { file in
            file.tensors.map { entry in
                ModelTensor(
                    entry.name, entry.shape,
                    PlainStorage(
                        name: entry.name, file: file.file, offset: entry.byteRange.lowerBound, dtype: entry.dtype,
                        elementCount: entry.elementCount,
                        check: digest(of: entry.name).map { .digest($0) } ?? .none))
            }
        }
    }
}
