import Bytes
import Checkpoints
import SystemPackage
import Testing

@Suite struct CheckpointTests {
    private func make(_ scratch: Scratch, step: Int = 1) throws -> FilePath {
        let path = scratch.path.appending("c")
        let writer = try CheckpointWriter(path)
        try fill(writer, step: step)
        try writer.commit()
        return path
    }

    @Test func readsWhatWasWritten() throws {
        let scratch = try Scratch()
        let checkpoint = try Checkpoint(make(scratch))
        #expect(!checkpoint.isForeign)
        #expect(try checkpoint.state()["cursor"]?.stringValue == "v1:0")
        #expect(try checkpoint.configuration()["hidden_size"]?.intValue == 2)
        #expect(try checkpoint.tokenizerName() == "tokenizer.json")
        #expect(try checkpoint.read("tokenizer.json") == Array("tokens".utf8))
        #expect(checkpoint.model.entries.map(\.name) == ["a", "b"])
        #expect(checkpoint.model.elementCount == 8)
        var values = [Float](repeating: 0, count: 6)
        var span = values.mutableSpan
        try checkpoint.model.read("a", shape: [2, 3], into: &span)
        #expect(values == [1, 2, 3, 4, 5, 6])
        var floats: [Float] = []
        var firsts: [Int] = []
        try checkpoint.model.readFloats("a", chunk: 16) {
            firsts.append($0)
            floats += $1
        }
        #expect(floats == values && firsts == [0, 4])
        #expect(checkpoint.verify() == [])
        let optimizer = try #require(checkpoint.optimizer)
        #expect(optimizer.entries.map(\.name) == ["a.m"])
        #expect(message { try checkpoint.model.read("c") { _, _ in } }.hasSuffix("no tensor 'c'"))
        #expect(
            message {
                var span = values.mutableSpan
                try checkpoint.model.read("a", shape: [3, 2], into: &span)
            }.contains("tensor 'a' at byte 152: expected shape [3, 2], found [2, 3]"))
    }

    /// Same content, same bytes: nothing of time or place gets in.
    @Test func isTheSameBytesTwice() throws {
        let first = try Scratch()
        let second = try Scratch()
        let a = try make(first)
        let b = try make(second)
        for name in try FileSystem.list(a) {
            #expect(try first.read(a.appending(name)) == second.read(b.appending(name)))
        }
        let expected = [
            "config.json", "manifest.json", "model.safetensors", "optimizer.safetensors", "state.json",
            "tokenizer.json",
        ]
        #expect(try FileSystem.list(a) == expected)
    }

    @Test func droppedLeavesNoTrace() throws {
        let scratch = try Scratch()
        do {
            let writer = try CheckpointWriter(scratch.path.appending("c"))
            try fill(writer, step: 1)
        }
        #expect(try FileSystem.list(scratch.path) == [])
    }

    @Test func refusesATakenPlace() throws {
        let scratch = try Scratch()
        let path = try make(scratch)
        #expect(message { _ = try CheckpointWriter(path) }.contains("it exists already"))
    }

    /// Every file at every length: opening or verifying says so, and nothing traps.
    @Test func refusesEveryTruncation() throws {
        let scratch = try Scratch()
        let path = try make(scratch)
        var cases = 0
        for name in try FileSystem.list(path) {
            let file = path.appending(name)
            let bytes = try scratch.read(file)
            for count in 0..<bytes.count {
                try scratch.write(Array(bytes[..<count]), to: file)
                let refusal = message { _ = try Checkpoint(path) }
                let findings = Checkpoint.verify(path)
                if !refusal.contains("/\(name)'") || findings.count != 1 || findings.first?.file != name {
                    Issue.record("\(name) of \(count) bytes: \(refusal); \(findings)")
                }
                cases += 1
            }
            try scratch.write(bytes, to: file)
        }
        #expect(cases > 1500)
        #expect(Checkpoint.verify(path) == [])
    }

    /// A flipped bit in every byte of every file: found, and the file and the tensor are named.
    @Test func namesEveryFlippedBit() throws {
        let scratch = try Scratch()
        let path = try make(scratch)
        for name in try FileSystem.list(path) {
            let file = path.appending(name)
            let bytes = try scratch.read(file)
            let tensors = name.hasSuffix(".safetensors") ? try SafetensorsFile(file).tensors : []
            for index in bytes.indices {
                var damaged = bytes
                damaged[index] ^= 1 << UInt8(index % 8)
                try scratch.write(damaged, to: file)
                let findings = Checkpoint.verify(path)
                let tensor = tensors.first { $0.byteRange.contains(index) }?.name
                if findings.count != 1 || findings.first?.file != name || findings.first?.tensor != tensor {
                    Issue.record("byte \(index) of \(name): \(findings)")
                }
            }
            try scratch.write(bytes, to: file)
        }
    }

    /// Damage is met where it is read, not only by `verify`.
    @Test func namesDamageOnLoad() throws {
        let scratch = try Scratch()
        let path = try make(scratch)
        let file = path.appending(Checkpoint.modelName)
        let bytes = try scratch.read(file)
        var damaged = bytes
        damaged[bytes.count - 1] ^= 0x40
        try scratch.write(damaged, to: file)
        let checkpoint = try Checkpoint(path)
        var pieces = 0
        let found = message { try checkpoint.model.read("b") { _, _ in pieces += 1 } }
        #expect(found.contains("model.safetensors', tensor 'b' at byte \(bytes.count - 8): sha256 differs: expected "))
        #expect(pieces == 0)
        try checkpoint.model.read("a") { _, _ in }

        let state = path.appending(Checkpoint.stateName)
        var text = try scratch.read(state)
        text[text.count - 3] ^= 1
        try scratch.write(text, to: state)
        #expect(message { _ = try checkpoint.state() }.contains("state.json': sha256 differs"))
    }

    /// A zero-filled region, as after a power cut, passes every rule of safetensors.
    @Test func namesAZeroedRegion() throws {
        let scratch = try Scratch()
        let path = try make(scratch)
        let file = path.appending(Checkpoint.modelName)
        var bytes = try scratch.read(file)
        for index in bytes.count - 32..<bytes.count { bytes[index] = 0 }
        try scratch.write(bytes, to: file)
        _ = try SafetensorsFile(file)
        #expect(Checkpoint.verify(path).map(\.tensor) == ["a", "b"])
    }

    @Test(arguments: ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\u0000b"])
    func refusesNamesThatLeaveTheDirectory(_ name: String) throws {
        let scratch = try Scratch()
        let path = try make(scratch)
        let content = #"""
            {
              "format": "millrace-checkpoint",
              "version": 1,
              "files": [{"name": "\#(name)", "bytes": 0, "sha256": "\#(String(repeating: "0", count: 64))"}],

            """#
        let bytes = Array("\(content)  \"manifest_sha256\": \"\(Digest.of(content))\"\n}\n".utf8)
        try scratch.write(bytes, to: path.appending(Manifest.fileName))
        #expect(message { _ = try Checkpoint(path) }.contains("is no plain name"))
    }

    @Test func saysWhatIsMissing() throws {
        let scratch = try Scratch()
        let path = try make(scratch)
        #expect(message { _ = try Checkpoint(scratch.path.appending("nowhere")) }.contains("no such directory"))
        #expect(message { _ = try Checkpoint(scratch.path) }.contains("is no checkpoint"))
        try FileSystem.remove(path.appending("tokenizer.json"))
        #expect(message { _ = try Checkpoint(path) }.contains("tokenizer.json' is missing"))
        #expect(Checkpoint.verify(path).map(\.file) == ["tokenizer.json"])
        try FileSystem.remove(path.appending(Manifest.fileName))
        #expect(message { _ = try Checkpoint(path) }.contains("the manifest is missing"))
    }

    @Test func opensForeignDirectories() throws {
        let scratch = try Scratch()
        _ = try SafetensorsWriter.write(
            to: scratch.path.appending("model.safetensors"),
            tensors: [TensorSource(name: "w", dtype: .bf16, shape: [2], bytes: [0x80, 0x3f, 0, 0x40])])
        try scratch.write(Array("{}".utf8), to: scratch.path.appending("config.json"))
        let checkpoint = try Checkpoint(scratch.path)
        #expect(checkpoint.isForeign && checkpoint.optimizer == nil)
        #expect(try checkpoint.configuration() == [:])
        var values: [Float] = []
        try checkpoint.model.readFloats("w") { values += $1 }
        #expect(values == [1, 2])
        #expect(checkpoint.verify() == [])
    }

    @Test func opensShardedDirectories() throws {
        let scratch = try Scratch()
        func part(_ name: String, _ tensor: String) throws {
            _ = try SafetensorsWriter.write(
                to: scratch.path.appending(name), tensors: [TensorSource(name: tensor, shape: [1], values: [1])])
        }
        func index(_ map: String) throws {
            try scratch.write(
                Array(#"{"metadata":{},"weight_map":\#(map)}"#.utf8),
                to: scratch.path.appending("model.safetensors.index.json"))
        }
        try part("model-1.safetensors", "a")
        try part("model-2.safetensors", "b")
        try index(#"{"b":"model-2.safetensors","a":"model-1.safetensors"}"#)
        #expect(try Checkpoint(scratch.path).model.entries.map(\.name) == ["a", "b"])
        try index(#"{"c":"model-2.safetensors"}"#)
        #expect(message { _ = try Checkpoint(scratch.path) }.contains("tensor 'c' is not in 'model-2.safetensors'"))
        try index(#"{"a":"../model-1.safetensors"}"#)
        #expect(message { _ = try Checkpoint(scratch.path) }.contains("is no plain file name"))
        try index(#"{"a":"model-3.safetensors"}"#)
        #expect(message { _ = try Checkpoint(scratch.path) }.contains("cannot open"))
        try part("model-2.safetensors", "a")
        try index(#"{"a":"model-1.safetensors"}"#)
        _ = try Checkpoint(scratch.path)
        try part("model-3.safetensors", "d")
        try index(#"{"a":"model-1.safetensors","d":"model-3.safetensors"}"#)
        #expect(try Checkpoint(scratch.path).model.entries.count == 2)
    }

    @Test func findsValuesByPath() throws {
        let json = try JSON(
            parsing: #"{"step":3,"guard":{"window":[1,2.5]},"a.b":{"c":"x"},"a":{"b":{"c":"y","d":null}},"e":{}}"#,
            name: "t")
        #expect(json.value(at: "step") == 3)
        #expect(json.value(at: "guard.window.1") == 2.5)
        #expect(json.value(at: "guard.window.2") == nil)
        #expect(json.value(at: "guard.window.-1") == nil)
        #expect(json.value(at: "a.b.c") == "x")
        #expect(json.value(at: "a.b.d") == .null)
        #expect(json.value(at: "") == nil)
        #expect(json.value(at: "step.x") == nil)
        #expect(json.paths == ["step", "guard.window", "a.b.c", "a.b.c", "a.b.d", "e"])
    }

    @Test func measuresDifferences() throws {
        let scratch = try Scratch()
        func tensors(_ name: String, _ sources: [TensorSource]) throws -> TensorSet {
            let writer = try CheckpointWriter(scratch.path.appending(name))
            try writer.write(sources, to: Checkpoint.modelName)
            try writer.commit()
            return try Checkpoint(writer.path).model
        }
        let long = (0..<200_000).map { Float($0) }
        var other = long
        other[150_000] += 3
        let a = try tensors(
            "a",
            [
                TensorSource(name: "same", shape: [3], values: [1, .nan, .infinity]),
                TensorSource(name: "near", shape: [2], values: [3, 4]),
                TensorSource(name: "zero", shape: [1], values: [0]),
                TensorSource(name: "nan", shape: [1], values: [1]),
                TensorSource(name: "kind", shape: [2], values: [1, 2]),
                TensorSource(name: "long", shape: [200_000], values: long),
                TensorSource(name: "small", dtype: .f8e4m3, shape: [2], bytes: [1, 2]),
            ])
        let b = try tensors(
            "b",
            [
                TensorSource(name: "same", shape: [3], values: [1, .nan, .infinity]),
                TensorSource(name: "near", shape: [2], values: [3, 4.5]),
                TensorSource(name: "zero", shape: [1], values: [-0.0]),
                TensorSource(name: "nan", shape: [1], values: [.nan]),
                TensorSource(name: "kind", dtype: .bf16, shape: [2], bytes: [0x80, 0x3f, 0, 0x40]),
                TensorSource(name: "long", shape: [200_000], values: other),
                TensorSource(name: "small", dtype: .f8e4m3, shape: [2], bytes: [1, 3]),
            ])
        func of(_ name: String) throws -> TensorDifference { try TensorDifference.of(name, a, b) }
        let same = try of("same")
        #expect(same.hasEqualBits && same.maximumAbsolute == 0 && same.relativeL2 == 0)
        let near = try of("near")
        #expect(!near.hasEqualBits && near.maximumAbsolute == 0.5 && near.relativeL2 == 0.1)
        let zero = try of("zero")
        #expect(!zero.hasEqualBits && zero.maximumAbsolute == 0 && zero.relativeL2 == 0)
        #expect(try of("nan").maximumAbsolute?.isNaN == true)
        let kind = try of("kind")
        #expect(!kind.hasEqualBits && kind.maximumAbsolute == 0)
        let long2 = try of("long")
        #expect(!long2.hasEqualBits && long2.maximumAbsolute == 3)
        let small = try of("small")
        #expect(!small.hasEqualBits && small.maximumAbsolute == nil)
    }
}
