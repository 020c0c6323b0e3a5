// config.json: what is read, what is written back, and that nothing which changes the model is ignored.

import Bytes
import Kernels
import Models
import Testing

@Suite struct ConfigurationTests {
    /// SmolLM2-135M's, shortened to what matters.
    static let smol = """
        {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 1,
         "eos_token_id": [2, 0], "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.041666666666666664,
         "intermediate_size": 1536, "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama",
         "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": null,
         "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 100000,
         "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 49152}
        """

    private func read(_ changes: JSONObject, from text: String = ConfigurationTests.smol) throws -> ModelConfiguration {
        var object = try JSON(parsing: text, name: "config.json").objectValue ?? JSONObject()
        for (key, value) in changes.members { object[key] = value }
        return try ModelConfiguration(json: .object(object), name: "config.json")
    }

    @Test func aPublishedConfigurationIsRead() throws {
        let c = try read([:])
        #expect(c.hiddenSize == 576 && c.intermediateSize == 1536 && c.layers == 30 && c.vocabularySize == 49152)
        #expect(c.heads == 9 && c.keyValueHeads == 3 && c.headSize == 64 && c.maximumPositions == 8192)
        #expect(c.normEpsilon == 1e-5 && c.ropeTheta == 1e5 && c.tiesEmbeddings)
        // The published size of the model.
        #expect(ParameterLayout(c).count == 134_515_008)
    }

    /// Published configurations and sizes of models: GPT-2 124M, Qwen2.5-0.5B, Qwen3-0.6B.
    static let published: [(text: String, count: Int)] = [
        (gpt2, 124_439_808),
        (
            """
            {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
             "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
             "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
             "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
             "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
             "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936}
            """, 494_032_768
        ),
        (
            """
            {"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
             "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072,
             "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
             "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
             "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
             "use_sliding_window": false, "vocab_size": 151936}
            """, 596_049_920
        ),
    ]
    static let gpt2 = """
        {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
         "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
         "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
         "n_positions": 1024, "resid_pdrop": 0.1, "summary_type": "cls_index", "vocab_size": 50257}
        """

    @Test(arguments: ConfigurationTests.published)
    func thePublishedModelsOfTheOtherFamiliesHaveTheirSizes(text: String, count: Int) throws {
        let c = try ModelConfiguration(parsing: Array(text.utf8), name: "config.json")
        #expect(ParameterLayout(c).count == count && c.tiesEmbeddings)
        let again = try ModelConfiguration(parsing: Array(c.json.pretty.utf8), name: "again")
        // Dropout is said once and not written back; all else is.
        #expect(again.json == c.json && ParameterLayout(again) == ParameterLayout(c) && again.leftOut.isEmpty)
        #expect(c.leftOut == (c.family == .gpt2 ? ["resid_pdrop", "embd_pdrop", "attn_pdrop"] : []))
    }

    @Test(
        arguments: [
            (["activation_function": "gelu"], "activation_function"),
            (["scale_attn_weights": false], "scale_attn_weights"),
            (["scale_attn_by_inverse_layer_idx": true], "inverse_layer"), (["n_head": 5], "n_embd"),
            (["n_positions": 0], "n_positions"), (["n_inner": "wide"], "n_inner"), (["resid_pdrop": 2], "resid_pdrop"),
            (["add_cross_attention": true], "add_cross_attention"), (["n_layer": .null], "n_layer"),
        ] as [(JSONObject, String)])
    func whatIsNotPlainGPT2IsRefusedByName(change: JSONObject, name: String) throws {
        let fault = #expect(throws: Fault.self) { try read(change, from: ConfigurationTests.gpt2) }
        #expect(fault?.kind == .badData && fault?.message.contains(name) == true)
    }

    @Test func absentFieldsTakeTheFamilysDefaults() throws {
        let c = try ModelConfiguration(
            json: [
                "model_type": "llama", "vocab_size": 10, "hidden_size": 12, "intermediate_size": 7,
                "num_hidden_layers": 1, "num_attention_heads": 3,
            ], name: "config.json")
        #expect(c.keyValueHeads == 3 && c.headSize == 4 && c.ropeTheta == 10_000 && c.normEpsilon == 1e-6)
        #expect(!c.tiesEmbeddings && c.initializerRange == 0.02 && c.maximumPositions == 2048)
    }

    @Test func whatIsWrittenReadsBackAsTheSameModel() throws {
        let c = try read(["head_dim": 32, "rope_theta": 123456.5])
        let text = c.json.pretty
        #expect(try ModelConfiguration(parsing: Array(text.utf8), name: "again") == c)
        let json = c.json
        #expect(json["architectures"] == ["LlamaForCausalLM"] && json["model_type"] == "llama")
        #expect(json["torch_dtype"] == "float32" && json["dtype"] == "float32")
        #expect(json["rope_theta"] == 123456.5 && json["rope_parameters"]?["rope_theta"] == 123456.5)
        #expect(json["bos_token_id"] == 1 && json["eos_token_id"] == [2, 0] && json["pad_token_id"] == .null)
    }

    @Test func theEndOfDocumentFillsOnlyOpenIds() throws {
        let open = try read(["bos_token_id": .null, "eos_token_id": .null]).naming(endOfDocument: 256).json
        #expect(open["bos_token_id"] == 256 && open["eos_token_id"] == 256 && open["pad_token_id"] == .null)
        #expect(try read([:]).naming(endOfDocument: 256).json["eos_token_id"] == [2, 0])
        #expect(try read([:]).naming(endOfDocument: nil) == read([:]))
    }

    @Test func bothSpellingsOfTheRotaryBaseAreRead() throws {
        let current: JSON = ["rope_theta": 500.0, "rope_type": "default"]
        #expect(try read(["rope_theta": .null, "rope_parameters": current]).ropeTheta == 500)
        #expect(try read(["rope_theta": 500, "rope_parameters": current]).ropeTheta == 500)
        #expect(try read(["rope_theta": 7, "rope_parameters": ["rope_type": "default"]]).ropeTheta == 7)
        #expect(try read(["rope_scaling": ["rope_type": "default"]]).ropeTheta == 100_000)
    }

    /// A change to a good file, and what the message must name.
    static let refusals: [(JSONObject, String)] = [
        (["model_type": "mamba"], "model_type"), (["model_type": 5], "model_type"),
        (["model_type": .null, "architectures": .null], "model_type"),
        (["architectures": ["GPT2LMHeadModel"]], "GPT2LMHeadModel"), (["architectures": "LlamaForCausalLM"], "arch"),
        (["hidden_act": "gelu"], "gelu"), (["hidden_act": 1], "hidden_act"),
        (["model_type": "qwen2", "architectures": .null, "attention_bias": false], "attention_bias"),
        (["model_type": "qwen3", "architectures": .null, "mlp_bias": true], "mlp_bias"),
        (["model_type": "qwen3", "architectures": .null], "head_dim"),
        (
            [
                "model_type": "qwen2", "architectures": .null, "attention_bias": .null, "use_sliding_window": true,
                "sliding_window": 9,
            ], "sliding"
        ),
        (["layer_types": ["full_attention", "sliding_attention"]], "layer_types"),
        (["mlp_bias": "no"], "mlp_bias"), (["attention_dropout": 0.1], "attention_dropout"),
        (["pretraining_tp": 2], "pretraining_tp"), (["partial_rotary_factor": 0.5], "partial_rotary_factor"),
        (["sliding_window": 4096], "sliding_window"), (["quantization_config": ["bits": 4]], "quantization_config"),
        (["rope_scaling": ["rope_type": "longrope", "factor": 8.0]], "longrope"),
        (["rope_scaling": ["type": "dynamic", "factor": 2.0]], "dynamic"), (["rope_scaling": 2.0], "rope_scaling"),
        (["rope_parameters": ["rope_type": "yarn"]], "factor"), (["rope_parameters": "default"], "rope_parameters"),
        (["rope_parameters": ["rope_theta": 7.0]], "rope_theta"), (["rope_theta": 0.5], "rope_theta"),
        (["rope_theta": "1e4"], "rope_theta"), (["vocab_size": .null], "vocab_size"), (["vocab_size": 0], "vocab_size"),
        (["vocab_size": -1], "vocab_size"), (["hidden_size": 576.5], "hidden_size"),
        (["hidden_size": 577], "hidden_size"), (["num_attention_heads": 0], "num_attention_heads"),
        (["num_key_value_heads": 2], "num_key_value_heads"), (["head_dim": 33], "33"), (["head_dim": 512], "head_dim"),
        (["num_attention_heads": 1, "num_key_value_heads": 1], "576"),
        (["num_attention_heads": 1152, "num_key_value_heads": 1], "hidden_size"),
        (["num_hidden_layers": .integer(1 << 40)], "num_hidden_layers"), (["rms_norm_eps": 0], "rms_norm_eps"),
        (["rms_norm_eps": 1e-300], "rms_norm_eps"), (["initializer_range": -1], "initializer_range"),
        (["tie_word_embeddings": "yes"], "tie_word_embeddings"), (["eos_token_id": "</s>"], "eos_token_id"),
        (
            ["num_hidden_layers": 4096, "hidden_size": 1_048_320, "intermediate_size": 1_048_576, "head_dim": 64],
            "parameters"
        ),
    ]

    @Test(arguments: ConfigurationTests.refusals)
    func whatCannotBeHonouredIsRefusedByName(change: JSONObject, name: String) throws {
        do {
            _ = try read(change)
            Issue.record("accepted \(JSON.object(change).compact)")
        } catch let fault as Fault {
            #expect(
                fault.kind == .badData && fault.message.hasPrefix("'config.json': ") && fault.message.contains(name))
        }
    }

    @Test(arguments: ["[]", "3", "{}", "{\"model_type\": \"llama\"}"])
    func whatIsNoConfigurationIsRefused(text: String) {
        #expect(throws: Fault.self) { try ModelConfiguration(parsing: Array(text.utf8), name: "config.json") }
    }

    @Test(arguments: families, [true, false])
    func matricesDecayAndNothingElseInEveryFamily(_ family: (family: ModelFamily, biases: Bool), tied: Bool) throws {
        let c = try configuration(family.family, tied: tied, biases: family.biases)
        let layout = ParameterLayout(c)
        #expect(layout.count == layout.tensors.reduce(0) { $0 + $1.count })
        #expect(layout.tensors.allSatisfy { $0.decays == ($0.shape.count > 1) })
        #expect((layout["lm_head.weight"] == nil) == tied)
    }

    @Test func theLayoutTilesOneArrayWithFusedNeighbours() throws {
        for tied in [true, false] {
            let layout = ParameterLayout(try configuration(tied: tied))
            var end = 0
            for tensor in layout.tensors {
                #expect(tensor.offset == end)
                #expect(tensor.decays == !tensor.name.contains("norm") && tensor.decays == (tensor.shape.count > 1))
                end += tensor.count
            }
            #expect(end == layout.count)
            #expect((layout["lm_head.weight"] == nil) == tied)
            let names = layout.tensors.map(\.name)
            let q = try #require(names.firstIndex(of: "model.layers.1.self_attn.q_proj.weight"))
            #expect(names[q + 1].contains("k_proj") && names[q + 2].contains("v_proj"))
            let gate = try #require(names.firstIndex(of: "model.layers.1.mlp.gate_proj.weight"))
            #expect(names[gate + 1].contains("up_proj"))
        }
    }

    @Test func thePlanIsStatedAndNeverOverflows() throws {
        let engine = try Engine(threads: 1)
        let c = try configuration()
        let plan = Transformer.plan(c, engine: engine, rows: 2, length: 8, training: true, lanes: 4)
        let bytes = Dictionary(plan.entries.map { ($0.name, $0.bytes) }, uniquingKeysWith: +)
        let count = ParameterLayout(c).count
        #expect(bytes["parameters"] == 4 * count && bytes["moments"] == 8 * count)
        #expect(bytes["gradients"] == 4 * (4 * (count + 11 * 8) + 5 * 11) && bytes["logits"] == 4 * 16 * 11)
        #expect(plan.total == plan.entries.reduce(0) { $0 + $1.bytes })
        let more = Transformer.plan(c, engine: engine, rows: 4, length: 8, training: true, lanes: 4)
        #expect(more.total > plan.total)
        func activations(_ c: ModelConfiguration, _ recompute: Recompute) -> Int? {
            let plan = Transformer.plan(c, engine: engine, rows: 2, length: 8, training: true, recompute: recompute)
            return plan.entries.first { $0.name == "activations" }?.bytes
        }
        // Of a layer's 16 positions `mlp` does not keep norm2 and its 1/rms (C + 1), up and product (2 I + I); `layer` not
        // norm1 and its 1/rms, queries, keys and values ((H + 2 KV) d), attention (H d + H) and middle either.
        let deep = try configuration(layers: 3)
        let all = try #require(activations(deep, .none))
        #expect(activations(deep, .mlp) == all - 2 * 4 * 16 * (8 + 1 + 3 * 12))
        #expect(activations(deep, .layer) == all - 2 * 4 * 16 * (8 + 1 + 3 * 12 + 8 + 1 + 8 * 4 + 16 + 4 + 8))
        let wide = try read([
            "num_hidden_layers": 4096, "hidden_size": 2, "num_attention_heads": 1, "num_key_value_heads": 1,
            "intermediate_size": 16384, "vocab_size": 2,
        ])
        for (rows, length) in [(1 << 28, 1), (1 << 62, 1 << 62), (1, 1 << 50)] {
            let plan = Transformer.plan(wide, engine: engine, rows: rows, length: length, training: true)
            #expect(plan.total == MemoryPlan.limit)
        }
    }

    @Test func idsOutsideTheVocabularyAreRefusedBeforeAnythingRuns() throws {
        for (inputs, targets) in [([1, 11], [1, 1]), ([1, 1], [11, 1]), ([1, UInt32.max], [1, 1])]
            as [([UInt32], [UInt32])]
        {
            let batch = ModelBatch(capacity: 2)
            #expect(throws: Fault.self) {
                try batch.fill(
                    rows: 0..<1, length: 2, inputs: inputs, targets: targets, segmentEnds: [[2]], lossMask: nil,
                    weight: 1, vocabularySize: 11)
            }
        }
    }
}
