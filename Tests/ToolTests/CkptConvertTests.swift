// convert, average, stats, show --tree, prune and verify --deep from outside: what is printed, what is left on the disk, and
// the exit status.

import Bytes
import Checkpoints
import SystemPackage
import TestSupport
import Testing
import Training

@Suite struct CkptConvertTests {
    private static let configuration: JSON = [
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 3, "hidden_size": 4,
        "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "head_dim": 4, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "max_position_embeddings": 8, "tie_word_embeddings": true,
    ]

    /// A run of five steps with `latest`, `best` and `last-good` at 50, 20 and 50; the values of a step are its number.
    private func withRun(_ body: (String) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            // Its lock ends with it.
            do {
                let run = try RunDirectory(FilePath(directory + "/run"), access: .write)
                for step in [10, 20, 30, 40, 50] {
                    try run.save(step: step, links: step == 20 ? [.best] : step == 50 ? [.latest, .lastGood] : []) {
                        try write($0, value: Float(step))
                    }
                }
            }
            try body(directory)
        }
    }

    private func write(_ writer: CheckpointWriter, value: Float, shape: [Int] = [4], version: Int = 2) throws {
        try writer.write(CkptConvertTests.configuration, to: Checkpoint.configurationName)
        let layer = "model.layers.0."
        let shapes: [(String, [Int])] = [
            ("model.embed_tokens.weight", [3, 4]), (layer + "input_layernorm.weight", [4]),
            (layer + "self_attn.q_proj.weight", [4, 4]), (layer + "self_attn.k_proj.weight", [4, 4]),
            (layer + "self_attn.v_proj.weight", [4, 4]), (layer + "self_attn.o_proj.weight", [4, 4]),
            (layer + "post_attention_layernorm.weight", [4]), (layer + "mlp.gate_proj.weight", [4, 4]),
            (layer + "mlp.up_proj.weight", [4, 4]), (layer + "mlp.down_proj.weight", [4, 4]),
            ("model.norm.weight", shape),
        ]
        func sources(_ prefix: String) -> [TensorSource] {
            shapes.map { name, shape in
                TensorSource(
                    name: prefix + name, shape: shape,
                    values: [Float](repeating: value, count: shape.reduce(1, *)))
            }
        }
        try writer.write(sources(""), to: Checkpoint.modelName)
        try writer.write(sources("m.") + sources("v."), to: Checkpoint.optimizerName)
        var state = TrainingState(recipe: TrainingRecipe(), steps: 100)
        (state.step, state.cursor) = (Int(value), "v1:7")
        var json = try #require(state.json.objectValue)
        json["version"] = .integer(version)
        try writer.write(.object(json), to: Checkpoint.stateName)
    }

    private func tool(_ directory: String, _ arguments: String...) throws -> ToolResult {
        try runTool("ckpt-tool", arguments, directory: directory)
    }

    @Test func convertsByTheNameOfTheOutput() throws {
        try withRun { directory in
            for name in ["m.gguf", "m.npz", "hf"] {
                let made = try tool(directory, "convert", "run", name)
                #expect(made.status == 0 && made.text == "")
                let bare =
                    name == "m.gguf"
                    ? "ckpt-tool: note: no tokenizer is written: the model has no tokenizer.json\n" : ""
                #expect(made.errors == "ckpt-tool: note: the optimizer's state is left out\n" + bare)
                let same = try tool(directory, "diff", "run/latest", name)
                #expect(same.status == 0, "\(same.text)")
                let whole = try tool(directory, "verify", "--deep", name)
                #expect(whole.status == 0 && whole.text == "" && whole.errors == "")
            }
            #expect(try readFile(directory + "/m.gguf").starts(with: Array("GGUF".utf8)))
            // What is there stays, unless it is said.
            let taken = try tool(directory, "convert", "run/best", "m.gguf")
            #expect(taken.status == 73)
            #expect(
                taken.errors == "ckpt-tool: cannot create 'm.gguf': it exists already\nhint: --force replaces a file\n")
            #expect(try tool(directory, "convert", "run/best", "m.gguf", "--force").status == 0)
            #expect(try tool(directory, "diff", "-q", "run/best", "m.gguf").status == 0)
            #expect(try tool(directory, "convert", "run/best", "hf", "--force").status == 73)
        }
    }

    @Test func refusesWhatCannotBe() throws {
        try withRun { directory in
            for (arguments, status, reason) in [
                (["run", "m.npz", "--dtype", "bf16"], Int32(64), "npz has no type bf16: NumPy has none"),
                (["run", "hf", "--dtype", "q8_0"], 64, "safetensors has no type q8_0"),
                (["run", "hf", "--shard-size", "5QB"], 64, "'5QB' is no size"),
                (["run", "hf", "--dtype", "f8"], 64, ""),
                (["run", "m.gguf", "--shard-size", "1MB"], 64, "--shard-size is for safetensors: gguf is one file"),
                (["run", "m.pt"], 64, "'m.pt': files of PyTorch are not written"),
                (["run", "m.PTH"], 64, "'m.PTH': files of PyTorch are not written"),
                (["run", "m.ckpt"], 64, "'m.ckpt': files of PyTorch are not written"),
                (["run", "hf", "--tokenizer", "/etc/passwd"], 65, "'/etc/passwd' at byte 0: "),
                (
                    ["run", "hf", "--tokenizer", "run/step-00000050/config.json"], 65,
                    "'run/step-00000050/config.json': expected a tokenizer.json, found no object 'model' in it"
                ),
                (["run", "m.bin"], 65, "'run/step-00000050': llm.c's files hold GPT-2 only"),
                (["nowhere", "m.gguf"], 66, "cannot open 'nowhere': no such file or directory"),
                (
                    ["run/step-00000050/state.json", "m.gguf"], 65,
                    "'run/step-00000050/state.json' at byte 0: expected a"
                ),
                (["run", "nowhere/deep/m.gguf"], 73, "cannot create 'nowhere/deep/m.gguf': "),
            ] {
                let found = try runTool("ckpt-tool", ["convert"] + arguments, directory: directory)
                #expect(found.status == status, "\(arguments): \(found.errors)")
                #expect(found.errors.hasPrefix("ckpt-tool: " + reason), "\(found.errors)")
            }
            #expect(try FileSystem.list(FilePath(directory)) == ["run"])
        }
    }

    @Test func theCaseOfAnExtensionMakesNoDifference() throws {
        try withRun { directory in
            let starts: [(String, [UInt8])] = [("m.GGUF", Array("GGUF".utf8)), ("m.Npz", [0x50, 0x4b, 3, 4])]
            for (name, start) in starts {
                let made = try tool(directory, "convert", "run", name)
                #expect(made.status == 0, "\(made.errors)")
                #expect(try readFile(directory + "/" + name).starts(with: start))
            }
        }
    }

    @Test func whatIsWrongWithATokenizerIsSaidOfItsFile() throws {
        try withRun { directory in
            let text = #"{"model":{"type":"BPE","vocab":{"a":7},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}"#
            try writeFile(Array(text.utf8), to: directory + "/t.json")
            let found = try tool(directory, "convert", "run", "m.gguf", "--tokenizer", "t.json")
            #expect(found.status == 65)
            #expect(found.errors == "ckpt-tool: 't.json': token 'a' has id 7, the model has 3 ids\n", "\(found.errors)")
        }
    }

    /// What formats leave out of a configuration, or write at length, is no difference.
    @Test(arguments: ["gguf", "npz", "hf"])
    func averagesItsOwnConversions(_ format: String) throws {
        try withRun { directory in
            let path = "m." + format
            #expect(try tool(directory, "convert", "run/best", path).status == 0)
            let made = try tool(directory, "average", "--output", "soup", "run/latest", path)
            #expect(made.status == 0, "\(made.errors)")
            let back = try tool(directory, "average", "--output", "back", path, "run/latest")
            #expect(back.status == 0, "\(back.errors)")
            #expect(try tool(directory, "diff", "-q", "soup", "back").status == 0)
        }
    }

    /// A head that a tied model has besides its embedding is nothing to pass over.
    @Test func aHeadThatContradictsTheConfigurationIsFound() throws {
        try withRun { directory in
            let old = try Checkpoint(FilePath(directory + "/run/latest"))
            let writer = try CheckpointWriter(FilePath(directory + "/two"))
            try writer.write(old.configuration(), to: Checkpoint.configurationName)
            let head = TensorSource(name: "lm_head.weight", shape: [3, 4], values: [Float](repeating: 7, count: 12))
            try writer.write(
                old.model.entries.map {
                    TensorSource(name: $0.name, shape: $0.shape, values: [Float](repeating: 1, count: $0.elementCount))
                } + [head], to: Checkpoint.modelName)
            try writer.commit()
            let reason = "tensor 'lm_head.weight' differs from 'model.embed_tokens.weight'"
            for (arguments, status) in [
                (["convert", "two", "m.gguf"], Int32(65)), (["verify", "--deep", "two"], 1),
                (["diff", "two", "run/latest"], 65), (["average", "--output", "x", "two", "two"], 65),
                (["logits", "two", "--ids", "1"], 65),
                (["expand", "two", "--output", "y", "--layers", "2"], 65),
            ] {
                let found = try runTool("ckpt-tool", arguments, directory: directory)
                #expect(found.status == status && found.errors.contains(reason), "\(arguments): \(found.errors)")
            }
            // It is a matter of reading every value.
            #expect(try tool(directory, "list", "two").status == 0)
        }
    }

    @Test func averages() throws {
        try withRun { directory in
            func value(_ arguments: String...) throws -> String? {
                try? FileSystem.remove(FilePath(directory + "/soup"))
                let made = try runTool("ckpt-tool", ["average", "--output", "soup"] + arguments, directory: directory)
                #expect(made.status == 0, "\(made.errors)")
                let stats = try tool(directory, "stats", "--json", "--filter", "model.norm", "soup")
                return try JSON(parsing: stats.text, name: "stats")["mean"]?.compact
            }
            #expect(try value("run/step-00000010", "run/step-00000020") == "15.0")
            #expect(try value("--last", "3", "run") == "40.0")
            #expect(try value("--weights", "3,1", "run/step-00000010", "run/step-00000050") == "20.0")
            #expect(try value("--ema", "0.5", "run/step-00000010", "run/step-00000020", "run/latest") == "32.5")
            for (arguments, status) in [
                (["verify", "--deep", "soup"], Int32(0)),
                (["average", "--output", "x", "--weights", "1", "run", "run"], 64),
                (["average", "--output", "x", "--weights", "1,-1", "run", "run"], 64),
                (["average", "--output", "x", "--last", "9", "run"], 66),
            ] {
                let found = try runTool("ckpt-tool", arguments, directory: directory)
                #expect(found.status == status, "\(arguments): \(found.errors)")
            }
        }
    }

    @Test func prunesARun() throws {
        try withRun { directory in
            func steps() throws -> [String] {
                try FileSystem.list(FilePath(directory + "/run")).filter { $0.hasPrefix("step-") }
            }
            let dry = try tool(directory, "prune", "run", "--keep-last", "1", "--keep-every", "30", "--dry-run")
            #expect(dry.text.split(separator: "\n").map { $0.prefix(13) } == ["step-00000010", "step-00000040"])
            #expect(try steps().count == 5)
            let done = try tool(directory, "prune", "run", "--keep-last", "1", "--keep-every", "30")
            #expect(done.status == 0 && done.text == dry.text)
            // 20 is best, 30 a multiple, 50 the newest.
            #expect(try steps() == ["step-00000020", "step-00000030", "step-00000050"])
            #expect(try tool(directory, "prune", "run", "--keep-last", "1").status == 0)
            #expect(try steps() == ["step-00000020", "step-00000050"])
            #expect(try tool(directory, "verify", "--deep", "run").status == 0)
            #expect(try tool(directory, "prune", "run", "--keep-last", "0").status == 64)
            #expect(try tool(directory, "prune", "run/latest", "--keep-last", "1").status == 66)
            #expect(try tool(directory, "prune", "run").status == 64)
        }
    }

    @Test func prunesACheckpoint() throws {
        try withRun { directory in
            let size = try readFile(directory + "/run/latest/optimizer.safetensors").count
            let done = try tool(directory, "prune", "run", "--output", "published")
            #expect(done.status == 0 && done.text == "optimizer.safetensors\t\(size)\n")
            #expect(
                try FileSystem.list(FilePath(directory + "/published"))
                    == ["config.json", "manifest.json", "model.safetensors", "state.json"])
            #expect(
                try readFile(directory + "/published/model.safetensors")
                    == readFile(directory + "/run/latest/model.safetensors"))
            #expect(try tool(directory, "verify", "--deep", "published").status == 0)
            let bare = try tool(directory, "prune", "run/best", "--output", "bare", "--state")
            #expect(bare.text.split(separator: "\n").map { $0.prefix(5) } == ["optim", "state"])
            #expect(try tool(directory, "prune", "run/best", "--output", "bare").status == 73)
        }
    }

    @Test func showsATree() throws {
        try withRun { directory in
            let text = try tool(directory, "show", "--tree", "--depth", "2", "run/latest").text
            #expect(
                text == """
                    \("                 ")  parameters  bytes
                    run/step-00000050         136    544
                      model                   136    544
                        embed_tokens           12     48
                        layers                120    480
                        norm                    4     16

                    """)
            let json = try JSON(
                parsing: tool(directory, "show", "--tree", "--json", "run/latest").text, name: "tree")
            #expect(json["parameters"] == 136 && json["children"]?.arrayValue?.count == 1)
        }
    }

    @Test(arguments: ["gguf", "npz"])
    func looksAtFilesOfOtherPrograms(_ format: String) throws {
        try withRun { directory in
            let file = "model." + format
            #expect(try tool(directory, "convert", "run/latest", file).status == 0)
            let lines = try tool(directory, "list", file).text.split(separator: "\n").map(String.init)
            #expect(lines.count == 11 && lines[0] == "model.embed_tokens.weight\tF32\t[3,4]")
            let listed = try tool(directory, "list", "run/latest").text.split(separator: "\n").map(String.init)
            #expect(lines.sorted() == listed.sorted())
            #expect(try tool(directory, "get", file, "hidden_size").text == "4\n")
            #expect(try tool(directory, "get", file, "step").status == 65)
            let text = try tool(directory, "show", file)
            #expect(text.status == 0)
            #expect(text.text.hasPrefix("model                    \(file)\nformat                   \(format)\n"))
            let json = try JSON(parsing: tool(directory, "show", "--json", file).text, name: "show")
            #expect(json["format"] == .string(format) && json["foreign"] == true && json["step"]?.isNull == true)
            #expect(json["parameters"] == 136 && json["configuration"]?["model_type"] == "llama")
            #expect(json["files"]?[file] != nil && json["model"]?.arrayValue?.count == 11)
            // What a file of weights alone cannot answer is an error, not an empty line.
            #expect(try tool(directory, "list", "--optimizer", file).status == 66)
        }
    }

    @Test func deepVerificationReadsTheState() throws {
        try withRun { directory in
            let writer = try CheckpointWriter(FilePath(directory + "/later"))
            try write(writer, value: 1, version: 3)
            try writer.commit()
            #expect(try tool(directory, "verify", "later").status == 0)
            let found = try tool(directory, "verify", "--deep", "later")
            #expect(
                found.status == 1 && found.errors.contains("'later/state.json': version 3, this program reads 1 and 2"))
            // An average of a part of the model.
            let odd = try CheckpointWriter(FilePath(directory + "/odd"))
            try write(odd, value: 1)
            let norm = TensorSource(name: "model.norm.weight", shape: [4], values: [1, 2, 3, 4])
            try odd.write([norm], to: "ema.safetensors")
            try odd.commit()
            #expect(try tool(directory, "verify", "odd").status == 0)
            let missing = try tool(directory, "verify", "--deep", "odd")
            #expect(missing.status == 1)
            #expect(missing.errors.contains("'odd/ema.safetensors': tensor 'model.embed_tokens.weight' is missing"))
        }
    }

    @Test func deepVerificationLooksAtValuesShapesAndLinks() throws {
        try withRun { directory in
            #expect(try tool(directory, "verify", "--deep", "run", "run/best").status == 0)
            for (name, value, shape, reason) in [
                ("nan", Float.nan, [4], "tensor 'model.embed_tokens.weight' at byte"),
                ("shape", 1, [5], "tensor 'model.norm.weight' has shape [5], expected [4]"),
            ] {
                let writer = try CheckpointWriter(FilePath(directory + "/" + name))
                if value.isNaN {
                    try write(writer, value: 1)
                } else {
                    try write(writer, value: value, shape: shape)
                }
                try writer.commit()
                if value.isNaN { try poison(directory + "/" + name) }
                #expect(try tool(directory, "verify", name).status == 0)
                let found = try tool(directory, "verify", "--deep", name)
                #expect(found.status == 1 && found.errors.contains(reason), "\(found.errors)")
            }
            try FileSystem.replaceLink(FilePath(directory + "/run/best"), target: "../shape")
            let found = try tool(directory, "verify", "--deep", "run")
            #expect(found.status == 1)
            #expect(
                found.errors
                    == "ckpt-tool: 'run/best': leads to '../shape', expected a link to a checkpoint of the run\n")
        }
    }

    /// Writes the checkpoint again with one value that is NaN, whole in every other way.
    private func poison(_ path: String) throws {
        let old = try Checkpoint(FilePath(path))
        let writer = try CheckpointWriter(FilePath(path + ".new"))
        try writer.write(old.configuration(), to: Checkpoint.configurationName)
        try writer.write(
            old.model.entries.map { entry in
                var values = [Float](repeating: 1, count: entry.elementCount)
                if entry.name == "model.embed_tokens.weight" { values[5] = .nan }
                return TensorSource(name: entry.name, shape: entry.shape, values: values)
            }, to: Checkpoint.modelName)
        try writer.commit()
        try FileSystem.remove(FilePath(path))
        try FileSystem.rename(FilePath(path + ".new"), to: FilePath(path))
    }
}
