// llm.c's model files: GPT-2 in one run of numbers, its layers stacked (docs/formats/foreign-checkpoints.md).

internal import Bytes
internal import SystemPackage

/// The 256 integers before the numbers.
struct LLMCHeader {
    static let magic: UInt32 = 20_240_326
    static let byteCount = 1024

    let dtype: DataType
    let positions, vocabulary, layers, heads, hidden, paddedVocabulary: Int

    /// A part of the body: Hugging Face's name, `N` standing for the layer when it is stacked, and the stored shape.
    struct Part {
        let name: String
        let shape: [Int]
        let isStacked: Bool
        /// Stored (out, in), Hugging Face's being (in, out).
        var isTransposed: Bool { isStacked && shape.count == 2 }
        var elements: Int { shape.reduce(1, *) }
    }

    /// In the order of the file.
    var parts: [Part] {
        let c = hidden
        func norm(_ name: String) -> [Part] {
            [
                Part(name: "h.N.\(name).weight", shape: [c], isStacked: true),
                Part(name: "h.N.\(name).bias", shape: [c], isStacked: true),
            ]
        }
        func linear(_ name: String, _ out: Int, _ input: Int) -> [Part] {
            [
                Part(name: "h.N.\(name).weight", shape: [out, input], isStacked: true),
                Part(name: "h.N.\(name).bias", shape: [out], isStacked: true),
            ]
        }
        return [
            Part(name: "wte.weight", shape: [paddedVocabulary, c], isStacked: false),
            Part(name: "wpe.weight", shape: [positions, c], isStacked: false),
        ] + norm("ln_1") + linear("attn.c_attn", 3 * c, c) + linear("attn.c_proj", c, c) + norm("ln_2")
            + linear("mlp.c_fc", 4 * c, c) + linear("mlp.c_proj", c, 4 * c) + [
                Part(name: "ln_f.weight", shape: [c], isStacked: false),
                Part(name: "ln_f.bias", shape: [c], isStacked: false),
            ]
    }

    var elementCount: Int { parts.reduce(0) { $0 + $1.elements * ($1.isStacked ? layers : 1) } }

    var encoded: [UInt8] {
        var values = [Int32](repeating: 0, count: 256)
        values[0] = Int32(LLMCHeader.magic)
        values[1] = dtype == .f32 ? 3 : 5
        for (index, value) in [positions, vocabulary, layers, heads, hidden, paddedVocabulary].enumerated() {
            values[2 + index] = Int32(value)
        }
        return values.littleEndianBytes
    }

    init(dtype: DataType, _ dimensions: ModelDimensions) {
        self.dtype = dtype
        positions = dimensions.positions
        vocabulary = dimensions.vocabulary
        layers = dimensions.layers
        heads = dimensions.heads
        hidden = dimensions.hidden
        paddedVocabulary = (dimensions.vocabulary + 127) / 128 * 128
    }

    init(_ file: InputFile) throws(Fault) {
        guard file.size >= LLMCHeader.byteCount else {
            throw .badData(file.name, byte: file.size, "expected 1024 bytes of header, found the end of the file")
        }
        let values = [Int32](littleEndianBytes: try file.read(at: 0, count: LLMCHeader.byteCount)[...])
        switch values[1] {
        case 3: dtype = .f32
        case 5: dtype = .bf16
        default: throw .badData(file.name, byte: 4, "expected version 3 (fp32) or 5 (bf16), found \(values[1])")
        }
        // Bounds that keep every product below far from 63 bits.
        func size(_ index: Int, _ what: String, _ limit: Int) throws(Fault) -> Int {
            guard (1...limit).contains(Int(values[index])) else {
                throw .badData(file.name, byte: 4 * index, "\(what) is \(values[index]), expected 1 to \(limit)")
            }
            return Int(values[index])
        }
        positions = try size(2, "max_seq_len", 1 << 24)
        vocabulary = try size(3, "vocab_size", 1 << 24)
        layers = try size(4, "num_layers", 1 << 12)
        heads = try size(5, "num_heads", 1 << 12)
        hidden = try size(6, "channels", 1 << 17)
        paddedVocabulary = try size(7, "padded_vocab_size", 1 << 25)
        if paddedVocabulary < vocabulary {
            throw .badData(
                file.name, byte: 28, "padded_vocab_size is \(paddedVocabulary), less than vocab_size \(vocabulary)")
        }
        if hidden % heads != 0 {
            throw .badData(file.name, byte: 20, "num_heads is \(heads), expected a divisor of channels \(hidden)")
        }
        let expected = LLMCHeader.byteCount + elementCount * dtype.bitWidth / 8
        if file.size != expected {
            throw .badData(
                file.name, byte: min(file.size, expected), "expected a file of \(expected) bytes, found \(file.size)")
        }
    }
}

enum LLMCFormat: ForeignModelFormat {
    static func read(_ path: FilePath, configuration: JSON?) throws(Fault) -> ForeignModel {
        let file = try InputFile(path)
        let header = try LLMCHeader(file)
        var tensors: [ModelTensor] = []
        var offset = LLMCHeader.byteCount
        for part in header.parts {
            for layer in 0..<(part.isStacked ? header.layers : 1) {
                let name = "transformer." + LLMCFormat.name(part, layer)
                // The rows of padding are behind those of the vocabulary.
                let shape = part.name == "wte.weight" ? [header.vocabulary, header.hidden] : part.shape
                let storage = PlainStorage(
                    name: name, file: file, offset: offset, dtype: header.dtype, elementCount: shape.reduce(1, *))
                let tensor = ModelTensor(name, shape, storage)
                tensors.append(part.isTransposed ? tensor.transposed() : tensor)
                offset += part.elements * header.dtype.bitWidth / 8
            }
        }
        let own: JSON = [
            "architectures": [.string(ModelKind.gpt2.architecture)], "model_type": "gpt2",
            "activation_function": "gelu_new", "attn_pdrop": 0.0, "bos_token_id": .null, "embd_pdrop": 0.0,
            "eos_token_id": .null, "layer_norm_epsilon": 1e-5, "n_embd": .integer(header.hidden),
            "n_head": .integer(header.heads), "n_inner": .integer(4 * header.hidden),
            "n_layer": .integer(header.layers), "n_positions": .integer(header.positions), "resid_pdrop": 0.0,
            "tie_word_embeddings": true, "vocab_size": .integer(header.vocabulary),
        ]
        return ForeignModel(path, .llmC, configuration: configuration ?? own, tensors: tensors)
    }

    private static func name(_ part: LLMCHeader.Part, _ layer: Int) -> String {
        part.isStacked ? "h.\(layer)." + part.name.dropFirst(4) : part.name
    }

    static func write(_ model: ForeignModel, to path: FilePath, options: ConversionOptions) throws -> [String] {
        let dimensions = try ModelDimensions(model.requireConfiguration(), name: model.path.string)
        if dimensions.kind != .gpt2 || !dimensions.isTied || dimensions.inner != 4 * dimensions.hidden
            || Float(dimensions.epsilon) != 1e-5
        {
            throw model.fault(
                "llm.c's files hold GPT-2 only, tied, with n_inner = 4 · n_embd and layer_norm_epsilon 1e-05")
        }
        let dtype = try dtype(model, options)
        let header = LLMCHeader(dtype: dtype, dimensions)
        let sources = try sources(model, header)
        let file = try AtomicFile(path)
        try file.write(header.encoded)
        for (tensor, padding) in sources {
            try tensor.forEachChunk(as: .plain(dtype)) { try file.write($0) }
            var rest = padding * dtype.bitWidth / 8
            while rest > 0 {
                let count = min(rest, 1 << 20)
                try file.write([UInt8](repeating: 0, count: count))
                rest -= count
            }
        }
        let expected = LLMCHeader.byteCount + header.elementCount * dtype.bitWidth / 8
        precondition(file.bytesWritten == expected, "\(file.bytesWritten) bytes for \(expected)")
        try file.commit()
        return model.leftOutFiles("llm.c keeps that in a file of its own")
    }

    /// As asked, else F32 unless all tensors are BF16.
    private static func dtype(_ model: ForeignModel, _ options: ConversionOptions) throws(Fault) -> DataType {
        switch options.target {
        case .f32: .f32
        case .bf16: .bf16
        case nil: model.tensors.allSatisfy { $0.dtype == .bf16 } ? .bf16 : .f32
        default: throw Fault(.usage, "llm.c's files hold f32 or bf16 only")
        }
    }

    /// Every tensor in the order of the file, and the elements of padding behind it.
    private static func sources(
        _ model: ForeignModel, _ header: LLMCHeader
    ) throws(Fault) -> [(tensor: ModelTensor, padding: Int)] {
        var byName: [String: ModelTensor] = [:]
        for tensor in model.tensors { byName[tensor.name] = tensor }
        var result: [(ModelTensor, Int)] = []
        for part in header.parts {
            for layer in 0..<(part.isStacked ? header.layers : 1) {
                let name = "transformer." + LLMCFormat.name(part, layer)
                guard let tensor = byName.removeValue(forKey: name) else {
                    throw model.fault("tensor \(quoted(name)) is missing")
                }
                let isEmbedding = part.name == "wte.weight"
                let stored = isEmbedding ? [header.vocabulary, header.hidden] : part.shape
                let expected = part.isTransposed ? stored.reversed() : stored
                guard tensor.shape == expected else {
                    throw model.fault("tensor \(quoted(name)) has shape \(tensor.shape), expected \(expected)")
                }
                result.append(
                    (
                        part.isTransposed ? tensor.transposed() : tensor,
                        isEmbedding ? (header.paddedVocabulary - header.vocabulary) * header.hidden : 0
                    ))
            }
        }
        if let name = byName.keys.min() { throw model.fault("tensor \(quoted(name)) has no place in llm.c's files") }
        return result
    }
}
