// load(save(x)) is x: every tensor of model and optimizer to the bit, every field of the state.

import Bytes
import Checkpoints
import Kernels
import Models
import SystemPackage
import TestSupport
import Testing
import Training

@Suite struct SaveLoadTests {
    private static let models: [JSON] = [
        [
            "model_type": "llama", "vocab_size": 19, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2,
            "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 4, "tie_word_embeddings": false,
        ],
        ["model_type": "gpt2", "vocab_size": 19, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16],
        [
            "model_type": "qwen3", "vocab_size": 19, "hidden_size": 12, "intermediate_size": 20,
            "num_hidden_layers": 1, "num_attention_heads": 3, "head_dim": 4, "tie_word_embeddings": true,
        ],
    ]

    /// No field has the value that a new state has: one that is not saved, or not loaded, shows.
    private static let state = state([
        "optimizer": "muon", "momentum": 0.97, "nesterov": true, "muon_scale": "original",
    ])
    private static let rules: JSONObject = [
        "decay": ["*norm*"], "no_decay": ["*embed*", "*mlp*"], "rates": [["pattern": "*", "factor": 0.25]],
        "freeze": [["freeze": "*", "from": 3, "to": 7]], "ema": 0.75,
    ]
    private static let optimizers: [JSONObject] = [
        ["optimizer": "adamw"], ["optimizer": "lion"],
        ["optimizer": "sgd", "momentum": 0.5, "nesterov": false],
        ["optimizer": "sgd", "momentum": 0.0, "nesterov": false],
        ["optimizer": "muon", "momentum": 0.97, "nesterov": true, "muon_scale": "original"],
    ]

    private static func state(_ optimizer: JSONObject, late name: String = "a") -> JSON {
        var recipe = recipe
        for (key, value) in optimizer.members + rules.members { recipe[key] = value }
        var object = plainState
        object["recipe"] = .object(recipe)
        object["own_updates"] = .object([name: 7])
        return .object(object)
    }

    private static let recipe: JSONObject = [
        "learning_rate": 0.30000000000000004, "minimum_learning_rate": 1e-300, "warmup_steps": 3,
        "schedule_steps": 1234, "schedule": "wsd", "decay_steps": 5, "restart_every": 19,
        "weight_decay": 0.3333333333333333, "beta1": 0.87, "beta2": 0.9999999999999999,
        "epsilon": 2e-9, "clip": 0.7, "lanes": 4, "precision": "bf16", "seed": JSON(UInt64.max),
    ]
    private static let plainState: JSONObject = [
        "format": "millrace-state", "version": 2, "step": 61, "updates": 58, "tokens": 9_007_199_254_740_993,
        "cursor": "1:0123456789abcdef:0:1:2:7:56:100:12:00112233445566778899aabbccddeeff",
        "order_digest": "00112233445566778899aabbccddeeff", "status": "complete", "steps": 77, "seed": JSON(UInt64.max),
        "recipe": .null,
        "data": [
            "dataset": "d", "recipe": "r", "length": 8, "vocabulary_size": 19, "end_of_document": 18,
            "tokenizer": ["name": "bytes"],
        ],
        "own_updates": .null,
        "guard": [
            "skipped": 3, "consecutive": 2, "window": 4, "z": 5.1000000000000005,
            "losses": [3.25, 0.30000000000000004],
            "gradient_norms": [1e-9, 2.5], "rollback": true, "rollback_count": 1, "unconfirmed": true,
            "rollbacks": [["step": 41, "good_step": 40, "first_batch": 40, "last_batch": 40]],
        ],
        "stopping": [
            "patience": 3, "min_delta": 0.1, "target_loss": 0.7, "improvement": ["step": 50, "validation_loss": 3.5],
            "waited": 1, "evaluated_step": 60, "lowest": 3.3000000000000003, "reason": .null,
        ],
        "best": ["step": 60, "validation_loss": 3.3000000000000003],
        "expansions": [["step": 40, "policy": "layers=2,how=identity,where=even", "relative": 1e-16]],
        "planned_expansions": [["step": 70, "policy": "intermediate=40,how=fresh,seed=3"]],
    ]

    private static func trainer(_ model: JSON, _ state: TrainingState) throws -> Trainer<Transformer> {
        Trainer(
            configuration: try ModelConfiguration(json: model, name: "config.json"), engine: try Engine(threads: 1),
            rows: 1, length: 8, state: state)
    }

    /// Bits of every kind: both zeros, subnormal numbers, the largest, infinities, NaNs with payloads.
    private static func values(_ count: Int, seed: UInt64) -> [Float] {
        let special: [UInt32] = [
            0, 0x8000_0000, 1, 0x807f_ffff, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0001, 0xffc1_2345,
            0x3f80_0001,
        ]
        return (0..<count).map { index in
            index % 3 == 0
                ? Float(bitPattern: special[index / 3 % special.count])
                : Float(bitPattern: UInt32(truncatingIfNeeded: (seed &+ UInt64(index)) &* 0x9e37_79b9_7f4a_7c15 >> 16))
        }
    }

    @Test(arguments: models, optimizers)
    func everyTensorAndFieldSurvives(model: JSON, optimizer: JSONObject) throws {
        try withTemporaryDirectory { directory in
            let run = try RunDirectory(FilePath(directory), access: .write)
            let configuration = try ModelConfiguration(json: model, name: "config.json").naming(endOfDocument: 18)
            let tensors = ParameterLayout(configuration).tensors
            let saved = Self.state(optimizer, late: tensors[1].name)
            let (kind, momentum) = (optimizer["optimizer"]?.stringValue, optimizer["momentum"]?.doubleValue)
            /// Which tensors have a first and a second moment.
            func hasM(_ tensor: ParameterTensor) -> Bool { momentum != 0 }
            func hasV(_ tensor: ParameterTensor) -> Bool {
                kind == "adamw" || kind == "muon" && (tensor.layer == nil || tensor.shape.count == 1)
            }
            func source(
                _ prefix: String, _ seed: UInt64, _ isThere: (ParameterTensor) -> Bool = { _ in true }
            ) -> [TensorSource] {
                tensors.filter(isThere).map { tensor in
                    TensorSource(
                        name: prefix + tensor.name, shape: tensor.shape,
                        values: Self.values(tensor.count, seed: seed &+ UInt64(tensor.offset)))
                }
            }
            // x, written without the trainer.
            let x = try run.save(step: 1) { writer in
                try writer.write(configuration.json, to: Checkpoint.configurationName)
                try writer.write(source("", 1), to: Checkpoint.modelName)
                try writer.write(source("m.", 2, hasM) + source("v.", 3, hasV), to: Checkpoint.optimizerName)
                try writer.write(source("", 4), to: Checkpoint.averageName)
                try writer.write(saved, to: Checkpoint.stateName)
                writer.expansions = Self.state["expansions"]
            }
            // load(x), and save(load(x)).
            let checkpoint = try Checkpoint(x)
            let state = try TrainingState(json: checkpoint.state(), name: "state.json")
            #expect(state.json == saved)
            let loaded = try Self.trainer(model, state)
            try loaded.load(checkpoint)
            for tensor in tensors {
                let bits = loaded.model.parameters.slice(tensor.offset, tensor.count).array.map(\.bitPattern)
                #expect(bits == Self.values(tensor.count, seed: 1 &+ UInt64(tensor.offset)).map(\.bitPattern))
            }
            let again = try run.save(step: 2) { try loaded.write($0) }
            #expect(try tree(x.string) == tree(again.string))
            // The room that is asked for is enough, and not much more than enough.
            let taken = try tree(again.string).values.reduce(0) { $0 + ($1.count + 4095) / 4096 * 4096 }
            #expect((taken...taken + 80_000).contains(loaded.content.byteCount))
        }
    }

    /// The state above proves nothing of a field that it leaves as it was.
    @Test func theStateOfThisTestDiffersFromANewOneInEveryField() throws {
        func leaves(_ json: JSON, _ path: String = "") -> [String: String] {
            guard let object = json.objectValue else { return [path: json.compact] }
            return object.members.reduce(into: [:]) { all, member in
                all.merge(leaves(member.value, path + "." + member.key)) { first, _ in first }
            }
        }
        let new = leaves(TrainingState(recipe: TrainingRecipe(), steps: 0).json)
        for (path, value) in leaves(Self.state) where path != ".format" && path != ".version" {
            #expect(new[path] != value, "\(path)")
        }
    }
}
