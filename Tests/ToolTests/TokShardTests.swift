// tok-shard as its users meet it: what goes in comes out, whatever the threads, the pipe or the moment of a kill.

import TestSupport
import Testing

/// Text of about `bytes` bytes in documents with a `%%` line between them; the same in every run.
func sampleText(bytes: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    func random(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }
    let words = (0..<500).map { _ in (0...random(8)).map { _ in UInt8(97 + random(26)) } }
    var text: [UInt8] = []
    while text.count < bytes {
        if !text.isEmpty { text += Array("%%\n".utf8) }
        for _ in 0...random(300) { text += words[random(20) * random(25)] + [random(12) == 0 ? 0x0a : 0x20] }
        text.append(0x0a)
    }
    return text
}

struct TokShardTests {
    /// Ids that a tokenizer's file made are kept with the file, or they could not be text again.
    @Test(arguments: ["make --format ids-u16", "import --from nanogpt"]) func idsKeepTheirTokenizer(
        command: String
    ) throws {
        try withTemporaryDirectory { directory in
            let result = try runShell(
                #"""
                set -e
                for i in $(seq 300); do echo "the number $i and the number after $i"; done > text
                tok-shard train-tokenizer --vocab-size 300 --output tokenizer.json text
                tok-shard encode --tokenizer tokenizer.json --format ids-u16 text > ids
                printf '\0\0' >> ids
                tok-shard \#(command) --tokenizer tokenizer.json --end-of-document 0 --output data ids
                cmp tokenizer.json data/tokenizer.json
                tok-shard verify --deep data
                tok-shard cat data | cmp - text
                """#, directory: directory)
            #expect(result.status == 0, "\(result.text)\(result.errors)")
        }
    }

    private func shard(_ arguments: [String], input: [UInt8]? = nil, directory: String) throws -> ToolResult {
        try runTool("tok-shard", arguments, input: input, directory: directory)
    }

    private func expectQuiet(_ result: ToolResult) {
        #expect(result.status == 0)
        #expect(result.errors == "")
    }

    @Test func textComesBackAndZstdReadsIt() throws {
        try withTemporaryDirectory { path in
            let text = sampleText(bytes: 600_000)
            try writeFile(text, to: path + "/t")
            expectQuiet(
                try shard(
                    ["--tokenizer", "bytes", "--output", "d", "--split-on", "%%", "--shard-tokens", "200000", "t"],
                    directory: path))
            expectQuiet(try shard(["verify", "d"], directory: path))
            #expect(try shard(["cat", "--separator", "%%", "d"], directory: path).output == text)
            // `zstd -dc` gives the raw little-endian ids: the bytes with 256 after each document.
            let raw = try runShell("cat d/shard-*.tok.zst | zstd -dc", directory: path)
            #expect(raw.status == 0)
            var low: [UInt8] = []
            var ends = 0
            for index in stride(from: 0, to: raw.output.count, by: 2) {
                if raw.output[index + 1] == 0 { low.append(raw.output[index]) } else { ends += 1 }
            }
            let documents = String(decoding: text, as: UTF8.self).split(separator: "%%\n")
            #expect(low == Array(documents.joined().utf8))
            #expect(ends == documents.count)
            #expect(try shard(["cat", "--document", "7", "d"], directory: path).text == String(documents[7]))
            let ids = try shard(["cat", "--ids", "--document", "7", "d"], directory: path).text
            #expect(ids == documents[7].utf8.map { String($0) }.joined(separator: " ") + " 256\n")
        }
    }

    @Test func bytesDoNotDependOnThreadsOrPipes() throws {
        try withTemporaryDirectory { path in
            let text = sampleText(bytes: 3_000_000)
            try writeFile(text, to: path + "/t")
            var first: [String: [UInt8]]?
            for threads in ["1", "2", "3", "7"] {
                expectQuiet(
                    try shard(
                        [
                            "--tokenizer", "bytes", "--output", "d" + threads, "--split-on", "%%", "--shard-tokens",
                            "700000", "--validation", "0.2", "--level", "1", "--threads", threads, "t",
                        ], directory: path))
                let files = try tree(path + "/d" + threads)
                #expect(files.count > 12)
                if let first { #expect(files == first, "\(threads) threads") } else { first = files }
            }
        }
    }

    @Test func oneBytePipesChangeNothing() throws {
        try withTemporaryDirectory { path in
            try writeFile(Array(sampleText(bytes: 6000)), to: path + "/t")
            try writeFile("1 2 3\n\n  40 256\n7", to: path + "/i")
            try writeFile("{\"text\": \"a\"}\n\n{\"text\": \"b\\n\"}", to: path + "/j")
            for (name, options) in [
                ("t", "--tokenizer bytes --split-on %%"), ("i", "--format ids-text --vocab-size 257"),
                ("j", "--format jsonl --tokenizer bytes"), ("i", "--tokenizer bytes"),
            ] {
                let result = try runShell(
                    """
                    rm -rf whole pipe
                    tok-shard \(options) --output whole - < \(name) 2> a
                    dd if=\(name) bs=1 2> /dev/null | tok-shard \(options) --output pipe - 2> b
                    diff -r whole pipe && cmp a b && tok-shard verify pipe
                    """, directory: path)
                #expect(result.status == 0, "\(options): \(result.text) \(result.errors)")
            }
        }
    }

    /// Kill -9 when the Nth sidecar appears, then go on: the same bytes as a run that was let alone.
    @Test func killedRunsGoOn() throws {
        try withTemporaryDirectory { path in
            let text = sampleText(bytes: 300_000)
            try writeFile(text, to: path + "/t")
            try writeFile(Array(text[..<50_000]), to: path + "/u")
            let options = [
                "--tokenizer", "bytes", "--split-on", "%%", "--shard-tokens", "10000", "--level", "19", "--validation",
                "0.3",
            ]
            expectQuiet(try shard(options + ["--output", "whole", "t", "u"], directory: path))
            let whole = try tree(path + "/whole")
            #expect(whole.count > 50)
            for (threads, moments) in [
                ("1", ["train/shard-00000.json", "train/shard-00011.json"]),
                (
                    "2",
                    ["ingest.json", "validation/shard-00003.json", "train/shard-00009.json", "train/shard-00018.json"]
                ),
            ] {
                let output = path + "/killed" + threads
                for (attempt, moment) in moments.enumerated() {
                    let process = try ToolProcess(
                        "tok-shard",
                        options + ["--threads", threads, "--output", output] + (attempt == 0 ? [] : ["--resume"]) + [
                            "t", "u",
                        ],
                        directory: path)
                    while process.isRunning && !exists(output + "/" + moment) { pause(milliseconds: 1) }
                    process.kill(9)
                    let result = try process.wait()
                    // The kill must have happened, and in the middle.
                    #expect(result.signal == 9, "\(moment): \(result.errors)")
                    #expect(!exists(output + "/train/dataset.json"))
                    if attempt == 0 {
                        let refused = try shard(options + ["--output", output, "t", "u"], directory: path)
                        #expect(refused.status == 73)
                        #expect(refused.errors.contains("hint: --resume goes on"))
                    }
                }
                expectQuiet(
                    try shard(options + ["--threads", "3", "--output", output, "--resume", "t", "u"], directory: path))
                #expect(try tree(output) == whole)
            }
        }
    }

    @Test func resumeFromAPipeReadsAgain() throws {
        try withTemporaryDirectory { path in
            try writeFile(sampleText(bytes: 400_000), to: path + "/t")
            let result = try runShell(
                """
                options="--tokenizer bytes --split-on %% --shard-tokens 20000"
                cat t | tok-shard $options --output whole - || exit 1
                # The pipe stays open after half the text; the reader is killed while it waits for the rest.
                mkfifo pipe; exec 3<> pipe
                tok-shard $options --output d - < pipe &
                head -c 200000 t >&3
                until [ -e d/shard-00005.json ]; do sleep 0.01; done
                kill -9 $!; wait $!
                [ ! -e d/dataset.json ] || exit 2
                cat t | tok-shard $options --output d --resume - || exit 3
                diff -r whole d
                """, directory: path)
            #expect(result.status == 0, "\(result.text) \(result.errors)")
        }
    }

    @Test func anInterruptSavesAndSaysHowToGoOn() throws {
        try withTemporaryDirectory { path in
            try writeFile(sampleText(bytes: 400_000), to: path + "/t")
            let options = ["--tokenizer", "bytes", "--split-on", "%%", "--shard-tokens", "10000", "--level", "19", "t"]
            expectQuiet(try shard(options + ["--output", "whole"], directory: path))
            let process = try ToolProcess("tok-shard", options + ["--output", "d"], directory: path)
            while process.isRunning && !exists(path + "/d/shard-00003.json") { pause(milliseconds: 1) }
            process.kill(15)
            let result = try process.wait()
            #expect(result.status == 75)
            #expect(result.errors == "tok-shard: interrupted: the same command with --resume goes on\n")
            #expect(!exists(path + "/d/dataset.json"))
            expectQuiet(try shard(options + ["--output", "d", "--resume"], directory: path))
            #expect(try tree(path + "/d") == tree(path + "/whole"))
        }
    }

    @Test func anotherRecipeIsNotResumed() throws {
        try withTemporaryDirectory { path in
            try writeFile("abc", to: path + "/t")
            let options = ["--tokenizer", "bytes", "--output", "d", "t"]
            expectQuiet(try shard(options, directory: path))
            expectQuiet(try shard(options + ["--resume"], directory: path))
            let level = try shard(options + ["--resume", "--level", "4"], directory: path)
            #expect(level.status == 64)
            #expect(level.errors.contains("cannot resume 'd': it was made with level 3, now asked for 4"))
            try writeFile("abcd", to: path + "/t")
            let changed = try shard(options + ["--resume"], directory: path)
            #expect(changed.status == 64)
            #expect(changed.errors.contains("the inputs or their sizes have changed"))
        }
    }

    @Test func aFullDiskIsAnErrorAndLeavesNothingHalf() throws {
        try withTemporaryDirectory { path in
            try writeFile(sampleText(bytes: 900_000), to: path + "/t")
            // A file may grow to 32 KiB (ulimit counts KiB in bash): the first shard's write fails with EFBIG.
            let result = try runShell(
                "trap '' XFSZ; ulimit -f 32; tok-shard --tokenizer bytes --output d t", directory: path)
            #expect(result.status == 74)
            #expect(result.errors.contains("tok-shard: cannot write 'd/shard-00000.tok.zst'"), "\(result.errors)")
            #expect(!exists(path + "/d"))
            expectQuiet(try shard(["--tokenizer", "bytes", "--output", "d", "--resume", "t"], directory: path))
            expectQuiet(try shard(["verify", "d"], directory: path))
        }
    }

    /// What --help says of memory, with room for another allocator.
    @Test func memoryIsBounded() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                """
                for i in $(seq 200); do printf 'word '; done > words; printf '\\n%%%%\\n' >> words
                for i in $(seq 60000); do echo words; done | xargs cat > text
                (printf '{"text": "'; tr -d '\\n' < text; printf '"}') > line
                python3 -c 'if True:
                    import resource, subprocess
                    for options in "--split-on %% text", "--format jsonl line", "--format jsonl --validation 0.5 line":
                        command = "rm -rf d; tok-shard --tokenizer bytes --threads 2 --output d " + options
                        subprocess.run(["sh", "-c", command], check=True)
                        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)'
                """, directory: path)
            let peaks = result.text.split(separator: "\n").compactMap { Int($0) }
            try #require(peaks.count == 3, "\(result.errors)")
            #expect(peaks[0] < 40, "60 MB of text: \(peaks[0]) MiB")
            #expect(peaks[1] < 280 && peaks[2] < 280, "a line of 62 MiB: \(peaks[1]) and \(peaks[2]) MiB")
        }
    }

    @Test func validationSplitsByContent() throws {
        try withTemporaryDirectory { path in
            let lines = (0..<2000).map { "{\"text\": \"document \($0 % 1500)\"}\n" }
            try writeFile(lines.joined(), to: path + "/a")
            try writeFile(lines.reversed().joined(), to: path + "/b")
            var sides: [Set<String>] = []
            for name in ["a", "b"] {
                expectQuiet(
                    try shard(
                        [
                            "--tokenizer", "bytes", "--format", "jsonl", "--validation", "0.1", "--output", "d" + name,
                            name,
                        ],
                        directory: path))
                let train = try shard(["cat", "--separator", "|", "d\(name)/train"], directory: path).text
                let validation = try shard(["cat", "--separator", "|", "d\(name)/validation"], directory: path).text
                let (left, right) = (train.split(separator: "|\n"), validation.split(separator: "|\n"))
                #expect(left.count + right.count == 2000)
                #expect((120...280).contains(right.count), "\(right.count) of 2000")
                // Identical documents are on one side.
                #expect(Set(left).isDisjoint(with: Set(right)))
                sides.append(Set(right.map(String.init)))
            }
            #expect(sides[0] == sides[1])
        }
    }
}
