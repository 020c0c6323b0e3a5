// Foreign formats: there and back without a bit lost, the arrangement of elements in each, types and their rounding, and
// files that lie.

import Bytes
import Checkpoints
import SystemPackage
import Testing

@Suite struct ForeignTests {
    /// Converts `source` to a file or directory of `scratch`.
    private func convert(
        _ source: FilePath, _ scratch: Scratch, _ name: String, _ format: ForeignFormat,
        target: ConversionOptions.Target? = nil, shardSize: Int = 1 << 30
    ) throws -> (path: FilePath, notes: [String]) {
        var options = ConversionOptions()
        options.target = target
        options.shardSize = shardSize
        let path = scratch.path.appending(name)
        return (path, try ForeignModel(source).write(to: path, as: format, options: options))
    }

    @Test(arguments: [ForeignFormat.gguf, .npz, .huggingFace], [true, false])
    func llamaComesBack(_ format: ForeignFormat, _ tied: Bool) throws {
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try writeLlama(to: source, tied: tied)
        let there = try convert(source, scratch, "there", format)
        let back = try convert(there.path, scratch, "back", .huggingFace)
        #expect(try ForeignModel(back.path).contents() == ForeignModel(source).contents())
        let configuration = try ForeignModel(back.path).configuration
        let expected = try ForeignModel(source).configuration
        for key in ["hidden_size", "head_dim", "rms_norm_eps", "rope_theta", "tie_word_embeddings", "vocab_size"] {
            #expect(configuration?[key]?.compact == expected?[key]?.compact, "\(key)")
        }
        let missing = ["no tokenizer is written: the model has no tokenizer.json"]
        #expect(there.notes == (format == .gguf ? missing : []) && back.notes == [])
    }

    @Test(arguments: [ForeignFormat.gguf, .npz, .llmC, .huggingFace])
    func gpt2ComesBack(_ format: ForeignFormat) throws {
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try writeGPT2(to: source)
        let there = try convert(source, scratch, "there", format)
        let model = try ForeignModel(there.path)
        #expect(try model.contents() == ForeignModel(source).contents())
        // The whole model's names, and no masks.
        #expect(model["transformer.h.1.attn.c_attn.weight"]?.shape == [4, 12])
        #expect(model.tensors.count == 4 + 2 * 12 && model["transformer.h.0.attn.bias"] == nil)
        // Twice transposed.
        let again = try convert(there.path, scratch, "again", format == .gguf ? .llmC : .gguf)
        #expect(try ForeignModel(again.path).contents() == ForeignModel(source).contents())
    }

    @Test func ggufInterleavesTheHalvesOfLlamasHeads() throws {
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try writeLlama(to: source)
        let bytes = try scratch.read(convert(source, scratch, "m.gguf", .gguf).path)
        let q = try ForeignModel(source).contents()["model.layers.0.self_attn.q_proj.weight"] ?? []
        let rows = stride(from: 0, to: q.count, by: 32).map { Array(q[$0..<$0 + 32]) }
        // Heads of four rows: 0 2 1 3, 4 6 5 7.
        let expected = [0, 2, 1, 3, 4, 6, 5, 7].flatMap { rows[$0] }
        let place = (0...bytes.count - expected.count).first { bytes[$0..<$0 + expected.count].elementsEqual(expected) }
        #expect(place.map { $0 % 32 } == 0)
        #expect(!(0...bytes.count - q.count).contains { bytes[$0..<$0 + q.count].elementsEqual(q) })
    }

    @Test func llmCIsByteForByteWhatItsRulesSay() throws {
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try writeGPT2(to: source)
        let bytes = try scratch.read(convert(source, scratch, "m.bin", .llmC).path)
        let head = [Int32](littleEndianBytes: bytes[..<32])
        #expect(head == [20_240_326, 3, 3, 5, 2, 2, 4, 128])
        #expect(bytes[32..<1024].allSatisfy { $0 == 0 })
        let numbers = [UInt32](littleEndianBytes: bytes[1024...]).map { Float(bitPattern: $0) * 64 }
        #expect(numbers[..<20].elementsEqual((1...20).map { Float($0) }))
        #expect(numbers[20..<512].allSatisfy { $0 == 0 })
        #expect(numbers[512..<524].elementsEqual((21...32).map { Float($0) }))
        // Behind wte, wpe and the first norms of both layers: c_attn, whose first row is the first column of (4, 12).
        let model = try ForeignModel(source)
        let stored = try model.values("transformer.h.0.attn.c_attn.weight").map { $0 * 64 }
        let start = 512 + 12 + 16
        #expect(numbers[start..<start + 4].elementsEqual([stored[0], stored[12], stored[24], stored[36]]))
    }

    @Test func partsHoldNoMoreThanAsked() throws {
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try writeLlama(to: source)
        let parts = try convert(source, scratch, "parts", .huggingFace, shardSize: 700).path
        let names = try FileSystem.list(parts).filter { $0.hasSuffix(".safetensors") }
        #expect(names.count > 3 && names[0] == "model-00001-of-0000\(names.count).safetensors")
        for name in names {
            let file = try SafetensorsFile(parts.appending(name))
            let bytes = file.tensors.reduce(0) { $0 + $1.byteCount }
            #expect(bytes <= 700 || file.tensors.count == 1, "\(name) has \(bytes) bytes")
        }
        #expect(Checkpoint.verify(parts).isEmpty)
        #expect(try ForeignModel(parts).contents() == ForeignModel(source).contents())
        // A part that is damaged is named, and so is an index.
        let file = parts.appending(names[1])
        var bytes = try scratch.read(file)
        bytes[bytes.count - 1] ^= 1
        try scratch.write(bytes, to: file)
        #expect(Checkpoint.verify(parts).first?.file == names[1])
        #expect(message { _ = try ForeignModel(parts).contents() }.contains("sha256 differs"))
        let index = parts.appending("model.safetensors.index.json")
        try scratch.write(Array(try scratch.read(index).map { $0 == 0x32 ? 0x33 : $0 }), to: index)
        #expect(message { _ = try Checkpoint(parts) }.contains("model.safetensors.index.json': sha256 differs"))
    }

    @Test func narrowingRoundsToNearestTiesToEven() throws {
        let cases: [(Float, bf16: UInt16, f16: UInt16)] = [
            (1, 0x3f80, 0x3c00), (-0.0, 0x8000, 0x8000), (1 + 0x1p-8, 0x3f80, 0x3c04), (1 + 0x3p-8, 0x3f82, 0x3c0c),
            (1 + 0x1p-11, 0x3f80, 0x3c00), (1 + 0x3p-11, 0x3f80, 0x3c02), (65_504, 0x4780, 0x7bff),
            (65_519.996, 0x4780, 0x7bff), (0x1p-24, 0x3380, 0x0001), (0x1p-25, 0x3300, 0x0000),
            (0x3p-25, 0x33c0, 0x0002), (0x1.ff8p-15, 0x3880, 0x03ff), (0x1.ffcp-15, 0x3880, 0x0400),
            (.infinity, 0x7f80, 0x7c00), (-.infinity, 0xff80, 0xfc00),
        ]
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try save([TensorSource(name: "x", shape: [cases.count], values: cases.map(\.0))], to: source)
        for (target, expected) in [(ConversionOptions.Target.bf16, cases.map(\.bf16)), (.f16, cases.map(\.f16))] {
            let path = try convert(source, scratch, "\(target)", .huggingFace, target: target).path
            let found = try [UInt16](littleEndianBytes: ForeignModel(path).contents()["x"]?[...] ?? [])
            #expect(found == expected, "\(target)")
            #expect(try ForeignModel(path).configuration?["torch_dtype"] == (target == .f16 ? "float16" : "bfloat16"))
        }
    }

    @Test func valuesThatDoNotFitAreRefused() throws {
        let scratch = try Scratch()
        for (index, (value, target, reason)) in [
            (Float(65_520), ConversionOptions.Target.f16, "its value 65520.0 has no finite F16"),
            (.greatestFiniteMagnitude, .bf16, "has no finite BF16"),
        ].enumerated() {
            let source = scratch.path.appending("source-\(index)")
            try save([TensorSource(name: "x", shape: [2], values: [1, value])], to: source)
            let text = message { _ = try convert(source, scratch, "out", .huggingFace, target: target) }
            #expect(text.contains("tensor 'x' at byte ") && text.hasSuffix(reason), "\(text)")
            #expect(FileSystem.kind(of: scratch.path.appending("out")) == nil)
        }
        #expect(try FileSystem.list(scratch.path).filter { $0.hasSuffix(".tmp") } == [])
    }

    @Test func q8IsWhatGGMLMakesOfIt() throws {
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try writeLlama(to: source)
        let (path, notes) = try convert(source, scratch, "m.gguf", .gguf, target: .q8_0)
        // Rows of eight are no blocks; those of the one matrix with rows of 32 are.
        #expect(notes.filter { $0.hasSuffix("are no multiple of 32: F16 instead of Q8_0") }.count == 8)
        let model = try ForeignModel(path)
        let tensor = model["model.layers.0.mlp.down_proj.weight"]
        #expect(tensor?.encoding == .q8_0 && tensor?.byteCount == 8 * 34)
        let exact = try ForeignModel(source).values("model.layers.0.mlp.down_proj.weight")
        let found = try model.values("model.layers.0.mlp.down_proj.weight")
        for row in stride(from: 0, to: exact.count, by: 32) {
            let scale = (exact[row..<row + 32].max() ?? 0) / 127
            // Half a step, and what rounding the scale to f16 moves the largest value by: 127 · 2⁻¹¹ steps.
            for index in row..<row + 32 { #expect(abs(found[index] - exact[index]) <= scale * 0.57) }
        }
        // Q8_0 that goes on as it is keeps its bytes: the values have one block that means them.
        let again = try convert(path, scratch, "again.gguf", .gguf).path
        #expect(try scratch.read(again) == scratch.read(path))
    }

    @Test func aTokenizerGoesAlong() throws {
        let scratch = try Scratch()
        let source = scratch.path.appending("source")
        try writeLlama(to: source, tokenizer: true)
        let gguf = try convert(source, scratch, "m.gguf", .gguf).path
        let back = try convert(gguf, scratch, "back", .huggingFace).path
        let json = try JSON(parsing: scratch.read(back.appending("tokenizer.json")), name: "tokenizer.json")
        #expect(json["model"]?["vocab"]?.compact == #"{"a":0,"b":1,"ab":2}"#)
        #expect(json["model"]?["merges"]?.compact == #"["a b"]"#)
        #expect(json["added_tokens"]?.arrayValue?.map { $0["content"] } == ["<s>", "<x>"])
        #expect(json["added_tokens"]?.arrayValue?.map { $0["special"] } == [true, false])
        let settings = try JSON(parsing: scratch.read(back.appending("tokenizer_config.json")), name: "settings")
        #expect(settings["bos_token"] == "<s>" && settings["eos_token"] == "<x>")
    }

    @Test func anAverageIsRoundedOnce() throws {
        let scratch = try Scratch()
        var models: [ForeignModel] = []
        // 1 + 2⁻⁸ is the middle of two bfloat16 values; a weight moves it by a hair that a float32 would lose.
        let values: [Float] = [1, 1 + 0x1p-7, 1 + 0x1p-7]
        for index in values.indices {
            let path = scratch.path.appending("\(index)")
            try save([TensorSource(name: "x", shape: [1], values: [values[index]])], to: path)
            models.append(try ForeignModel(path))
        }
        let even = try ForeignModel.average(Array(models[..<2]), .weighted([1, 1]), target: .bf16)
        #expect(try even.values("x") == [1])
        let above = try ForeignModel.average(Array(models[..<2]), .weighted([1, 1 + 0x1p-30]), target: .bf16)
        #expect(try above.values("x") == [1 + 0x1p-7])
        let below = try ForeignModel.average(Array(models[..<2]), .weighted([1 + 0x1p-30, 1]), target: .bf16)
        #expect(try below.values("x") == [1])
        let moving = try ForeignModel.average(models, .exponential(0.5))
        #expect(try moving.values("x") == [1 + 0x3p-9])
    }

    @Test func statisticsCountWhatIsNotFinite() throws {
        let scratch = try Scratch()
        let path = scratch.path.appending("m")
        try save(
            [TensorSource(name: "x", shape: [7], values: [0, 3, 4, .nan, .infinity, -.infinity, -1])], to: path)
        let tensor = try #require(try ForeignModel(path)["x"])
        let found = try #require(try TensorStatistics.of(tensor, bins: 5))
        #expect(found.count == 7 && found.nanCount == 1 && found.infiniteCount == 2 && found.zeroCount == 1)
        #expect(found.norm == 26.0.squareRoot() && found.mean == 1.5 && found.minimum == -1 && found.maximum == 4)
        #expect(found.histogram == [1, 1, 0, 0, 2])
    }

    private func save(_ tensors: [TensorSource], to path: FilePath) throws {
        let writer = try CheckpointWriter(path)
        try writer.write(["model_type": "other"], to: Checkpoint.configurationName)
        try writer.write(tensors, to: Checkpoint.modelName)
        try writer.commit()
    }
}
