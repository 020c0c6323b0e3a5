// ckpt-tool from outside: what it prints, where, and the exit status, on a small run whose second checkpoint differs in
// one value.

import Bytes
import Checkpoints
import SystemPackage
import TestSupport
import Testing

@Suite struct CkptToolTests {
    private struct Outcome: Equatable {
        var status: Int32
        var output: String
        var error: String
    }

    private final class Run {
        let path = FilePath("/tmp/millrace-test-" + String(UInt64.random(in: .min ... .max), radix: 36))

        init() throws {
            let run = try RunDirectory(path, access: .write)
            for step in [1, 2] {
                try run.save(step: step, links: step == 1 ? [.best] : [.latest]) { writer in
                    try writer.write(["model_type": "llama", "hidden_size": 2], to: Checkpoint.configurationName)
                    try writer.write(
                        [
                            TensorSource(name: "a", shape: [2], values: [3, step == 1 ? 4 : 4.5]),
                            TensorSource(name: "b", shape: [], values: [1]),
                        ], to: Checkpoint.modelName)
                    try writer.write(
                        [TensorSource(name: "a.m", shape: [2], values: [0, 1])], to: Checkpoint.optimizerName)
                    try writer.write(
                        ["step": .integer(step), "tokens": 512, "cursor": "v1:7", "recipe": ["seed": 42]],
                        to: Checkpoint.stateName)
                }
            }
        }

        deinit { try? FileSystem.remove(path) }

        /// Flips a bit in the last byte of a file of step 2.
        func damage(_ name: String) throws {
            let file = path.appending("step-00000002").appending(name)
            var bytes = try InputFile(file).readAll(limit: 1 << 20)
            bytes[bytes.count - 1] ^= 1
            try AtomicFile.write(bytes, to: file)
        }
    }

    /// Runs the tool in the run's directory.
    private func tool(_ run: Run, _ arguments: String...) throws -> Outcome {
        let result = try runTool("ckpt-tool", arguments, directory: run.path.string)
        return Outcome(status: result.status, output: result.text, error: result.errors)
    }

    @Test func shows() throws {
        let run = try Run()
        let text = try tool(run, "show", "latest")
        #expect(text.status == 0 && text.error == "")
        #expect(text.output.hasPrefix("checkpoint             step-00000002\nstep                   2\n"))
        #expect(text.output.hasSuffix("a       F32    [2]    2\nb       F32    []     1\n"))
        let json = try JSON(parsing: tool(run, "show", "--json", ".").output, name: "show")
        #expect(json["parameters"] == 3 && json["step"] == 2 && json["tokens"] == 512)
    }

    @Test func lists() throws {
        let run = try Run()
        #expect(
            try tool(run, "list", ".")
                == Outcome(
                    status: 0, output: "step-00000001\t1\tbest\tok\nstep-00000002\t2\tlatest\tok\n", error: ""))
        #expect(try tool(run, "list", "best") == Outcome(status: 0, output: "a\tF32\t[2]\nb\tF32\t[]\n", error: ""))
        #expect(
            try tool(run, "list", "--optimizer", "best") == Outcome(status: 0, output: "a.m\tF32\t[2]\n", error: ""))
    }

    @Test(arguments: [
        ("cursor", "v1:7"), ("step", "2"), ("recipe", #"{"seed":42}"#), ("recipe.seed", "42"), ("hidden_size", "2"),
        ("config.model_type", "llama"), ("state.tokens", "512"), ("files.0.name", "config.json"),
    ])
    func gets(_ key: String, _ value: String) throws {
        let run = try Run()
        #expect(try tool(run, "get", "latest", key) == Outcome(status: 0, output: value + "\n", error: ""))
        #expect(try tool(run, "get", ".", key).output == value + "\n")
    }

    @Test func namesTheKeysThereAre() throws {
        #expect(
            try tool(Run(), "get", "latest", "curser")
                == Outcome(
                    status: 65, output: "",
                    error: """
                        ckpt-tool: 'latest' has no key 'curser'
                        hint: its keys are step tokens cursor recipe model_type hidden_size format version files

                        """))
    }

    @Test func verifies() throws {
        let run = try Run()
        #expect(try tool(run, "verify", ".", "best", "latest") == Outcome(status: 0, output: "", error: ""))
        try run.damage(Checkpoint.modelName)
        let found = try tool(run, "verify", ".")
        #expect(found.status == 1 && found.output == "")
        // Twelve bytes of tensors: "b" is the last four.
        #expect(found.error.hasPrefix("ckpt-tool: './step-00000002/model.safetensors', tensor 'b' at byte "))
        #expect(found.error.contains(": sha256 differs: expected ") && found.error.contains("…, found "))
        #expect(found.error.split(separator: "\n").count == 1)
        #expect(try tool(run, "verify", "best").status == 0)
        #expect(try tool(run, "verify", "--quick", ".").status == 0)
        try FileSystem.remove(run.path.appending("step-00000001"))
        #expect(
            try tool(run, "verify", "best").error
                == "ckpt-tool: cannot open 'step-00000001': the link that leads there dangles\n")
        #expect(try tool(run, "verify", "nowhere").status == 66)
        #expect(try tool(run, "verify").status == 64)
    }

    @Test func compares() throws {
        let run = try Run()
        #expect(
            try tool(run, "diff", "best", "latest")
                == Outcome(
                    status: 1,
                    output: """
                        status\tmax_abs\tmax_rel\trelative_l2\ttensor
                        different\t0.5\t0.1111111111111111\t0.1\ta
                        equal\t0.0\t0.0\t0.0\tb

                        """, error: ""))
        #expect(try tool(run, "diff", "--quiet", "best", "latest") == Outcome(status: 1, output: "", error: ""))
        #expect(
            try tool(run, "diff", "--optimizer", "latest", ".")
                == Outcome(
                    status: 0,
                    output: """
                        status\tmax_abs\tmax_rel\trelative_l2\ttensor
                        equal\t0.0\t0.0\t0.0\ta
                        equal\t0.0\t0.0\t0.0\tb
                        equal\t0.0\t0.0\t0.0\ta.m

                        """, error: ""))
        // A difference that is allowed is none.
        let close = try tool(run, "diff", "--tolerance", "0.5", "best", "latest")
        #expect(close.status == 0 && close.output.contains("close\t0.5\t"))
        #expect(try tool(run, "diff", "--tolerance", "0.49", "best", "latest").status == 1)
        #expect(try tool(run, "diff", "--relative-tolerance", "0.11", "best", "latest").status == 0)
        #expect(try tool(run, "diff", "--relative-tolerance", "0.09", "best", "latest").status == 1)
        #expect(try tool(run, "diff", "--tolerance", "-1", "best", "latest").status == 64)
        // A damaged side is bad data, not a difference.
        try run.damage(Checkpoint.modelName)
        #expect(try tool(run, "diff", "best", "latest").status == 65)
    }

    @Test func comparesForeignOnesOfOtherShapes() throws {
        let run = try Run()
        for (name, tensors) in [
            (
                "x",
                [
                    TensorSource(name: "a", shape: [2], values: [1, 2]),
                    TensorSource(name: "p", shape: [1], values: [1]),
                ]
            ),
            (
                "y",
                [
                    TensorSource(name: "a", shape: [1, 2], values: [1, 2]),
                    TensorSource(name: "q", shape: [1], values: [1]),
                ]
            ),
        ] {
            try FileSystem.makeDirectory(run.path.appending(name))
            _ = try SafetensorsWriter.write(
                to: run.path.appending(name).appending(Checkpoint.modelName), tensors: tensors)
        }
        let found = try tool(run, "diff", "x", "y")
        #expect(found.status == 1)
        #expect(
            found.output.split(separator: "\n").dropFirst()
                == ["shape\t-\t-\t-\ta", "only-in-a\t-\t-\t-\tp", "only-in-b\t-\t-\t-\tq"])
    }
}
