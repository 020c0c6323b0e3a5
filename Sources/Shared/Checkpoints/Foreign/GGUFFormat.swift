// GGUF, the format of llama.cpp (docs/formats/foreign-checkpoints.md).

internal import Bytes
internal import SystemPackage

enum GGUFFormat: ForeignModelFormat {
    // MARK: reading

    static func read(_ path: FilePath, configuration: JSON?) throws(Fault) -> ForeignModel {
        let file = try GGUFFile(path)
        let own = try file.configuration()
        let names = GGUFNames(try ModelDimensions(own, name: path.string))
        var tensors: [ModelTensor] = []
        for tensor in file.tensors {
            // Part of the configuration by now.
            if names.isLlama && tensor.name == GGUFRotation.tensorName { continue }
            guard let name = names.huggingFace(tensor.name) else {
                throw .badData(
                    path.string, "tensor \(quoted(tensor.name)) is none of the architecture's that we know")
            }
            let stored = ModelTensor(name, tensor.shape, tensor.storage)
            guard names.canArrange(stored, tensor.name) else {
                throw .badData(path.string, "tensor \(quoted(tensor.name)) of shape \(tensor.shape) has no such heads")
            }
            tensors.append(names.arranged(stored, tensor.name, isPaired: false))
        }
        var model = ForeignModel(path, .gguf, configuration: configuration ?? own, tensors: tensors)
        let tokenizer = try GGUFTokenizer.json(file.pairs, name: path.string)
        if let note = tokenizer.note { model.notes.append(note) }
        if let json = tokenizer.json {
            model.sideFiles.append(
                ForeignModel.SideFile(name: "tokenizer.json") { () throws(Fault) in Array(json.pretty.utf8) })
            var settings: JSONObject = ["tokenizer_class": "PreTrainedTokenizerFast"]
            for (key, name) in [("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding")] {
                if let id = file.pairs["tokenizer.ggml.\(name)_token_id"]?.integer,
                    let texts = file.pairs["tokenizer.ggml.tokens"]?.texts, texts.indices.contains(id)
                {
                    settings[key] = .string(texts[id])
                }
            }
            if let flag = file.pairs["tokenizer.ggml.add_bos_token"]?.flag { settings["add_bos_token"] = .bool(flag) }
            let content = Array(JSON.object(settings).pretty.utf8)
            model.sideFiles.append(
                ForeignModel.SideFile(name: "tokenizer_config.json") { () throws(Fault) in content })
        }
        if let text = file.pairs[ChatTemplate.key]?.text { model.sideFiles.append(ChatTemplate.file(text)) }
        let others = file.pairs.keys.filter { $0.hasPrefix(ChatTemplate.key + ".") }.sorted()
        for key in others { model.notes.append("\(quoted(key)) is left out: one chat template goes along") }
        return model
    }

    // MARK: writing

    /// A tensor on its way into the file.
    private struct Part {
        let name: String
        let tensor: ModelTensor
        let encoding: TensorEncoding
        let type: UInt32
        var byteCount: Int { encoding.byteCount(tensor.elementCount) }
    }

    static func write(_ model: ForeignModel, to path: FilePath, options: ConversionOptions) throws -> [String] {
        let configuration = try model.requireConfiguration()
        let dimensions = try ModelDimensions(configuration, name: model.path.string)
        var (parts, notes) = try parts(model, dimensions, options)
        let rotation = try GGUFRotation(configuration, dimensions, name: model.path.string)
        if let tensor = rotation.tensor(dimensions) {
            parts.insert(Part(name: tensor.name, tensor: tensor, encoding: .plain(.f32), type: 0), at: 0)
        }
        let tokenizer = try tokenizer(model, configuration, dimensions)
        let pairs =
            try GGUFFile.pairs(dimensions, configuration, fileType: fileType(parts), name: model.path.string)
            + tokenizer.pairs
        let file = try AtomicFile(path)
        let head = head(pairs, parts)
        try file.write(head)
        let start = try pad(file)
        for part in parts {
            let begin = file.bytesWritten
            try part.tensor.forEachChunk(as: part.encoding) { try file.write($0) }
            precondition(file.bytesWritten - begin == part.byteCount, "\(part.name) has another size than announced")
            _ = try pad(file)
        }
        precondition(start % GGUFFile.defaultAlignment == 0)
        try file.commit()
        notes += tokenizer.notes
        if model.sideFiles.contains(where: \.isForGeneration) { notes.append(ForeignModel.SideFile.generationNote) }
        return notes
    }

    /// Zeros up to the next multiple of the alignment.
    /// - Returns: bytes written then.
    private static func pad(_ file: AtomicFile) throws(Fault) -> Int {
        let end = GGUFFile.padded(file.bytesWritten, GGUFFile.defaultAlignment)
        if end > file.bytesWritten { try file.write([UInt8](repeating: 0, count: end - file.bytesWritten)) }
        return end
    }

    private static func parts(
        _ model: ForeignModel, _ dimensions: ModelDimensions, _ options: ConversionOptions
    ) throws(Fault) -> (parts: [Part], notes: [String]) {
        let names = GGUFNames(dimensions)
        var parts: [Part] = []
        var notes: [String] = []
        for tensor in model.tensors {
            guard let name = names.gguf(tensor.name) else {
                throw model.fault("tensor \(quoted(tensor.name)) has no name in GGUF")
            }
            guard tensor.shape.count <= 4, names.canArrange(tensor, name) else {
                throw model.fault(
                    "tensor \(quoted(tensor.name)) of shape \(tensor.shape) does not fit its configuration")
            }
            let arranged = names.arranged(tensor, name, isPaired: true)
            var encoding = options.target?.encoding ?? tensor.encoding
            // What llama.cpp has no code for in other types.
            if tensor.shape.count < 2 || name.hasSuffix("_norm.weight") || name == "position_embd.weight"
                || !name.hasSuffix(".weight") || encoding == .plain(.f64)
            {
                encoding = .plain(.f32)
            }
            if encoding == .q8_0, (arranged.shape.last ?? 0) % Q8Block.elements != 0 {
                encoding = .plain(.f16)
                notes.append("\(name): rows of \(arranged.shape.last ?? 0) are no multiple of 32: F16 instead of Q8_0")
            }
            guard let type = encoding.ggmlType else {
                throw model.fault("tensor \(quoted(tensor.name)) has type \(encoding), which is not written to GGUF")
            }
            parts.append(Part(name: name, tensor: arranged, encoding: encoding, type: type))
        }
        return (parts, notes)
    }

    /// llama.cpp's number of the type that most bytes of matrices have.
    private static func fileType(_ parts: [Part]) -> UInt32 {
        var sizes: [UInt32: Int] = [:]
        for part in parts where part.tensor.shape.count > 1 { sizes[part.type, default: 0] += part.byteCount }
        let numbers: [UInt32: UInt32] = [0: 0, 1: 1, 8: 7, 30: 32]
        let most = sizes.max { ($0.value, $1.key) < ($1.value, $0.key) }
        return most.flatMap { numbers[$0.key] } ?? 0
    }

    /// Everything before the data but the padding.
    private static func head(_ pairs: [(String, GGUFValue)], _ parts: [Part]) -> [UInt8] {
        var head = GGUFFile.magic
        head.append(littleEndian: UInt32(3))
        head.append(littleEndian: UInt64(parts.count))
        head.append(littleEndian: UInt64(pairs.count))
        for (key, value) in pairs {
            GGUFValue.append(key, to: &head)
            head.append(littleEndian: value.type)
            value.append(to: &head)
        }
        var offset = 0
        for part in parts {
            GGUFValue.append(part.name, to: &head)
            head.append(littleEndian: UInt32(part.tensor.shape.count))
            for dimension in part.tensor.shape.reversed() { head.append(littleEndian: UInt64(dimension)) }
            head.append(littleEndian: part.type)
            head.append(littleEndian: UInt64(offset))
            offset = GGUFFile.padded(offset + part.byteCount, GGUFFile.defaultAlignment)
        }
        return head
    }

    private static func tokenizer(
        _ model: ForeignModel, _ configuration: JSON, _ dimensions: ModelDimensions
    ) throws(Fault) -> (pairs: [(String, GGUFValue)], notes: [String]) {
        var pairs: [(String, GGUFValue)] = [("tokenizer.ggml.model", .string("no_vocab"))]
        var notes: [String] = []
        if let file = model.sideFiles.first(where: { $0.name == "tokenizer.json" }) {
            let name = model.path(of: file)
            let json = try JSON(parsing: file.content(), name: name)
            if let found = try GGUFTokenizer.pairs(json, vocabulary: dimensions.vocabulary, name: name) {
                pairs = found.pairs
                notes = found.notes
            } else {
                notes.append("its tokenizer is left out: \(quoted(file.name)) is no byte-level BPE")
            }
        } else if let other = model.sideFiles.first(where: {
            $0.name.hasSuffix(".tiktoken") || $0.name == "tokenizer.model"
        }) {
            notes.append(
                "its tokenizer is left out: GGUF is written from a tokenizer.json, found \(quoted(other.name))")
        } else if !model.notes.contains(where: { $0.hasPrefix("its tokenizer is left out") }) {
            notes.append("no tokenizer is written: the model has no tokenizer.json")
        }
        for (key, name) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
            let value = configuration[key]
            guard let id = value?.intValue ?? value?.arrayValue?.first?.intValue else { continue }
            guard (0..<dimensions.vocabulary).contains(id) else {
                notes.append("'\(key)' \(id) is left out: the model has \(dimensions.vocabulary) ids")
                continue
            }
            pairs.append(("tokenizer.ggml.\(name)_token_id", .u32(UInt32(id))))
        }
        if let file = model.sideFiles.first(where: { $0.name == "tokenizer_config.json" }) {
            let settings = try JSON(parsing: file.content(), name: model.path(of: file))
            if let flag = settings["add_bos_token"]?.boolValue {
                pairs.append(("tokenizer.ggml.add_bos_token", .bool(flag)))
            }
        }
        let template = try ChatTemplate.text(of: model)
        if let text = template.text { pairs.append((ChatTemplate.key, .string(text))) }
        return (pairs, notes + template.notes)
    }
}
