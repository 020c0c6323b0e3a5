// What a foreign file says besides its numbers: scalings of the rotation, scales and windows, ids of special tokens, chat
// templates, heads. What is lost there is another model, or another conversation, in silence.

import Bytes
import Checkpoints
import SystemPackage
import Testing

@Suite struct ForeignMeaningTests {
    /// A llama whose config.json has some keys more or other ones.
    private func llama(
        _ scratch: Scratch, named name: String = "source", _ changes: [(String, JSON)], tied: Bool = false
    ) throws -> FilePath {
        let source = scratch.path.appending(name)
        try writeLlama(to: source, tied: tied)
        try FileSystem.remove(source.appending("manifest.json"))
        let path = source.appending(Checkpoint.configurationName)
        var object = try #require(try JSON(parsing: scratch.read(path), name: "config.json").objectValue)
        for (key, value) in changes { object[key] = value }
        try scratch.write(Array(JSON.object(object).pretty.utf8), to: path)
        return source
    }

    private func convert(
        _ source: FilePath, _ scratch: Scratch, _ name: String, _ format: ForeignFormat
    ) throws -> FilePath {
        let path = scratch.path.appending(name)
        _ = try ForeignModel(source).write(to: path, as: format)
        return path
    }

    /// The GGUF file with pairs more behind its own; a value is its type and bytes.
    private func adding(_ pairs: [(String, UInt32, [UInt8])], to file: FilePath, _ scratch: Scratch) throws -> FilePath
    {
        let bytes = try scratch.read(file)
        let count = [UInt64](littleEndianBytes: bytes[16..<24])[0]
        var added: [UInt8] = []
        for (key, type, value) in pairs {
            added.append(littleEndian: UInt64(key.utf8.count))
            added += Array(key.utf8)
            added.append(littleEndian: type)
            added += value
        }
        // Whatever is added is a multiple of the alignment, so that the data stay where they should be.
        let rest = 32 - (added.count + 8 + 3 + 4 + 8) % 32
        added.append(littleEndian: UInt64(3))
        added += Array("pad".utf8)
        added.append(littleEndian: UInt32(8))
        added.append(littleEndian: UInt64(rest))
        added += [UInt8](repeating: 0x78, count: rest)
        var head = Array(bytes[..<16])
        head.append(littleEndian: count + UInt64(pairs.count) + 1)
        let path = scratch.path.appending("added.gguf")
        try scratch.write(head + added + Array(bytes[24...]), to: path)
        return path
    }

    private func f32(_ value: Float) -> [UInt8] { [value.bitPattern].littleEndianBytes }
    private func u32(_ value: UInt32) -> [UInt8] { [value].littleEndianBytes }
    private func text(_ text: String) -> [UInt8] { [UInt64(text.utf8.count)].littleEndianBytes + Array(text.utf8) }

    // MARK: scalings

    private static let scalings: [(theta: Double, JSON)] = [
        (1e4, ["rope_type": "linear", "factor": 4.0]),
        (
            1e4,
            [
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 32.0,
                "beta_slow": 1.0,
            ]
        ),
        (
            1e6,
            [
                "rope_type": "yarn", "factor": 2.5, "original_max_position_embeddings": 8, "beta_fast": 24.0,
                "beta_slow": 2.0, "attention_factor": 1.2,
            ]
        ),
        // Of two pairs one stays and one has the whole factor: the roundest length that says so is 32.
        (
            1e4,
            [
                "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            ]
        ),
    ]

    @Test(arguments: scalings.indices)
    func aScalingComesBack(_ index: Int) throws {
        let scratch = try Scratch()
        let (theta, scaling) = ForeignMeaningTests.scalings[index]
        let source = try llama(
            scratch, [("rope_scaling", scaling), ("max_position_embeddings", 64), ("rope_theta", .number(theta))])
        let file = try convert(source, scratch, "m.gguf", .gguf)
        let found = try ForeignModel(file)
        #expect(found.configuration?["rope_scaling"].map { sorted($0) } == sorted(scaling))
        #expect(found.configuration?["rope_parameters"]?["rope_theta"] == .number(theta))
        #expect(try found.contents() == ForeignModel(source).contents())
        // Written again it is the same file.
        #expect(try scratch.read(convert(file, scratch, "again.gguf", .gguf)) == scratch.read(file))
    }

    private func sorted(_ json: JSON) -> [String] {
        (json.objectValue?.members ?? []).map { "\($0.0)=\($0.1.doubleValue.map { "\($0)" } ?? $0.1.compact)" }.sorted()
    }

    @Test func whatGGUFCannotSayIsNotWritten() throws {
        let scratch = try Scratch()
        for (index, (scaling, reason)) in [
            (["rope_type": "dynamic", "factor": 2.0] as JSON, "asks for 'dynamic', which is not written to GGUF"),
            (["rope_type": "yarn", "factor": 2.0, "mscale": 1.0], "'rope_scaling.mscale' is not written to GGUF"),
            (["rope_type": "yarn", "factor": 2.0, "truncate": false], "'rope_scaling.truncate' is false, which"),
            (["rope_type": "yarn"], "'rope_scaling.factor' is missing"),
            (["rope_type": "linear", "factor": 0.0], "'rope_scaling.factor' is 0.0, expected a number above 0"),
        ].enumerated() {
            let source = try llama(scratch, named: "s\(index)", [("rope_scaling", scaling)])
            let text = message { _ = try convert(source, scratch, "m.gguf", .gguf) }
            #expect(text.contains(reason), "\(text)")
        }
    }

    /// As llama.cpp reads these keys.
    @Test func scalingsOfOtherWriters() throws {
        let scratch = try Scratch()
        let file = try convert(llama(scratch, []), scratch, "m.gguf", .gguf)
        func scaling(_ pairs: (String, UInt32, [UInt8])...) throws -> [String] {
            let pairs = pairs.map { ("llama.rope." + $0.0, $0.1, $0.2) }
            return try ForeignModel(adding(pairs, to: file, scratch)).configuration?["rope_scaling"].map { sorted($0) }
                ?? []
        }
        #expect(try scaling() == [])
        let linear = ["factor=4.0", "rope_type=\"linear\""]
        #expect(try scaling(("scale_linear", 6, f32(4))) == linear)
        #expect(try scaling(("scaling.factor", 6, f32(4))) == linear)
        #expect(try scaling(("scaling.type", 8, text("none")), ("scaling.factor", 6, f32(4))) == [])
        #expect(try scaling(("scaling.type", 8, text("linear")), ("scaling.factor", 6, f32(1))) == [])
        let yarn = ("scaling.type", UInt32(8), text("yarn"))
        let factor = ("scaling.factor", UInt32(6), f32(4))
        let length = ("scaling.original_context_length", UInt32(4), u32(7))
        let bare = [
            "beta_fast=32.0", "beta_slow=1.0", "factor=4.0", "original_max_position_embeddings=7.0",
            "rope_type=\"yarn\"",
        ]
        #expect(try scaling(yarn, factor, length) == bare)
        // Without a length, that of the context.
        #expect(try scaling(yarn, factor).contains("original_max_position_embeddings=16.0"))
        #expect(
            try scaling(yarn, factor, length, ("scaling.yarn_attn_factor", 6, f32(1.5))) == ["attention_factor=1.5"]
                + bare)
        // 1.1 (0.1 ln 4 + 1)
        let relative = try scaling(yarn, factor, length, ("scaling.attn_factor", 6, f32(1.1)))
        let found = try #require(relative.first.flatMap { Double($0.dropFirst("attention_factor=".utf8.count)) })
        #expect(abs(found - 1.252492389) < 1e-7)
    }

    /// Every key and value that would have been passed over, and its like that changes nothing.
    @Test func keysThatChangeTheModelAreRefused() throws {
        let scratch = try Scratch()
        let file = try convert(llama(scratch, []), scratch, "m.gguf", .gguf)
        func read(_ key: String, _ type: UInt32, _ value: [UInt8]) throws {
            _ = try ForeignModel(adding([("llama." + key, type, value)], to: file, scratch))
        }
        for (key, bad, good) in [
            ("attention.clamp_kqv", Float(0.5), Float(0)), ("attention.scale", 0.4, 0.5),
            ("attention.output_scale", 2, 1), ("logit_scale", 0.5, 1), ("residual_scale", 0.2, 1),
            ("embedding_scale", 12, 1), ("attn_logit_softcapping", 50, 0), ("final_logit_softcapping", 30, 0),
            ("rope.scaling.attn_factor", 1.1, 1), ("attention.max_alibi_bias", 8, 0), ("logit_scale", .nan, 0),
        ] {
            let text = message { try read(key, 6, f32(bad)) }
            #expect(text.contains("added.gguf': 'llama.\(key)' is "), "\(key): \(text)")
            try read(key, 6, f32(good))
        }
        for (key, bad, good) in [
            ("attention.sliding_window", UInt32(8), UInt32(0)), ("attention.sliding_window", 15, 16),
            ("expert_count", 8, 0),
        ] {
            #expect(message { try read(key, 4, u32(bad)) }.contains("'llama.\(key)' is \(bad)"), "\(key)")
            try read(key, 4, u32(good))
        }
        #expect(message { try read("attention.causal", 7, [0]) }.contains("'llama.attention.causal' is false"))
        try read("attention.causal", 7, [1])
        #expect(
            message { try read("rope.scaling.type", 8, text("longrope")) }.contains(
                "'llama.rope.scaling.type' is 'longrope', only 'none', 'linear' and 'yarn' are read"))
    }

    @Test func widthsThatDifferAreRefused() throws {
        let scratch = try Scratch()
        let file = try convert(llama(scratch, []), scratch, "m.gguf", .gguf)
        for key in ["llama.rope.dimension_count", "llama.attention.value_length"] {
            var bytes = try scratch.read(file)
            let name = Array(key.utf8)
            let place = try #require(
                (0..<bytes.count - name.count).first { bytes[$0..<$0 + name.count].elementsEqual(name) })
            bytes[place + name.count + 4] = 2
            let path = scratch.path.appending("width.gguf")
            try scratch.write(bytes, to: path)
            #expect(message { _ = try ForeignModel(path) }.contains("'\(key)' is 2, only 4 is read"), "\(key)")
        }
    }

    // MARK: heads

    @Test func aTiedModelsOwnHeadIsNotDropped() throws {
        let scratch = try Scratch()
        // Its head has other values than its embedding.
        let source = try llama(scratch, [("tie_word_embeddings", true)])
        let model = try ForeignModel(source)
        #expect(model["lm_head.weight"] == nil)
        let reason = "tensor 'lm_head.weight' differs from 'model.embed_tokens.weight', but 'tie_word_embeddings' says"
        for format in [ForeignFormat.gguf, .npz, .huggingFace] {
            let text = message { _ = try convert(source, scratch, "out", format) }
            #expect(text.contains(reason), "\(text)")
        }
        #expect(message { _ = try ForeignModel.average([model, model], .weighted([1, 1])) }.contains(reason))
        // A copy is what it should be, of any type.
        let same = scratch.path.appending("same")
        let writer = try CheckpointWriter(same)
        try writer.write(try #require(model.configuration), to: Checkpoint.configurationName)
        let values = (0..<40).map { Float($0) }
        try writer.write(
            [
                TensorSource(name: "model.embed_tokens.weight", shape: [5, 8], values: values),
                TensorSource(name: "lm_head.weight", dtype: .bf16, shape: [5, 8]) { emit in
                    let bytes = values.map { UInt16($0.bitPattern >> 16) }.littleEndianBytes
                    try bytes.withRawSpan(emit)
                },
            ], to: Checkpoint.modelName)
        try writer.commit()
        let copied = try ForeignModel(convert(same, scratch, "copied", .npz))
        #expect(copied.tensors.map(\.name) == ["model.embed_tokens.weight"])
    }

    // MARK: tokens and templates

    @Test func idsGoAlongWithoutATokenizer() throws {
        let scratch = try Scratch()
        let source = try llama(scratch, [("eos_token_id", [4, 2]), ("pad_token_id", 9)])
        let path = scratch.path.appending("m.gguf")
        let notes = try ForeignModel(source).write(to: path, as: .gguf)
        #expect(
            notes == [
                "no tokenizer is written: the model has no tokenizer.json",
                "'pad_token_id' 9 is left out: the model has 5 ids",
            ])
        let configuration = try ForeignModel(path).configuration
        #expect(configuration?["bos_token_id"] == 3 && configuration?["eos_token_id"] == 4)
        #expect(configuration?["pad_token_id"]?.isNull == true)
    }

    @Test func chatTemplatesComeBack() throws {
        let template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
        for (name, content, notes) in [
            ("chat_template.jinja", template, 0),
            ("tokenizer_config.json", (["chat_template": .string(template)] as JSON).compact, 0),
            (
                "tokenizer_config.json",
                ([
                    "chat_template": [
                        ["name": "tools", "template": "x"], ["name": "default", "template": .string(template)],
                    ]
                ] as JSON).compact, 1
            ),
        ] {
            let scratch = try Scratch()
            let source = try llama(scratch, [])
            try scratch.write(Array(content.utf8), to: source.appending(name))
            let path = scratch.path.appending("m.gguf")
            let found = try ForeignModel(source).write(to: path, as: .gguf)
            #expect(found.filter { $0.contains("chat template") }.count == notes)
            let back = try convert(path, scratch, "back", .huggingFace)
            #expect(try scratch.read(back.appending("chat_template.jinja")) == Array(template.utf8), "\(name)")
        }
    }

    @Test func whatIsLeftOutIsSaidAsItIs() throws {
        let scratch = try Scratch()
        let source = try llama(scratch, [])
        try scratch.write(Array("{}".utf8), to: source.appending("generation_config.json"))
        let notes = try ForeignModel(source).write(to: scratch.path.appending("m.npz"), as: .npz)
        #expect(notes == ["generation_config.json is left out"])
        try scratch.write(Array("{}".utf8), to: source.appending("tokenizer.json"))
        let more = try ForeignModel(source).write(to: scratch.path.appending("n.npz"), as: .npz)
        #expect(more == ["its tokenizer is left out: npz holds arrays", "generation_config.json is left out"])
    }
}
