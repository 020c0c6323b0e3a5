// tok-pack from outside: bytes that depend on the options alone, streams that are cut on either side, signals, the
// other output forms, and the sentence for every misuse.

import Bytes
import TestSupport
import Testing

@Suite struct TokPackTests {
    /// A dataset of 300 documents in `data`, and `pack`, which packs it with small rows.
    private static let setUp = """
        awk 'BEGIN { for (i = 1; i <= 300; i++) {
            line = "document " i ":"; for (k = i; k <= i + i % 23; k++) line = line " " k; print line "\\n" } }' \
            | tok-shard --tokenizer bytes --split-on '' --output data - || exit
        pack() { tok-pack --rows 4 --length 32 "$@" data; }

        """

    private func shell(_ script: String) throws -> ToolResult {
        try withTemporaryDirectory { try runShell(TokPackTests.setUp + script, directory: $0) }
    }

    private func expectWell(_ script: String) throws {
        let result = try shell("set -e\n" + script)
        #expect(result.status == 0, "\(result.text)\(result.errors)")
    }

    /// Every batch that had been sent was once kept, because a queue that never ran empty never let go.
    @Test func memoryDoesNotGrowWithTime() throws {
        try expectWell(
            """
            \(TokPackTests.peak)
            peak() { peak_of tok-pack --rows 4 --length 256 --epochs forever --order $1 --limit $2 --threads 2 data; }
            for order in window full; do
                short=$(peak $order 2000) long=$(peak $order 80000)
                test $long -lt $((short * 5 / 4 + 4096)) || { echo "$order: $short kB, then $long kB"; exit 1; }
            done
            """)
    }

    /// `peak_of COMMAND…`: the most memory it held, in kB.
    private static let peak = """
        peak_of() { python3 -c 'if True:
            import resource, subprocess, sys
            subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
            print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"; }
        """

    /// A batch of `--order full` once held a block of the dataset for each of its rows.
    @Test func memoryDoesNotGrowWithRowsTimesBlock() throws {
        try expectWell(
            """
            \(TokPackTests.peak)
            # 100 blocks of 524,288 ids: a gigabyte of them would once have been held, now what is kept of them is bounded.
            head -c 104857600 /dev/zero | tok-shard --format ids-u16 --vocab-size 257 --output zeros -
            peak() { peak_of tok-pack --rows $1 --length 64 --order full --limit 2 --threads 2 zeros; }
            few=$(peak 4) many=$(peak 1024)
            test $many -lt 131072 && test $((many - few)) -lt 65536 || { echo "4 rows: $few kB, 1024 rows: $many kB"; exit 1; }
            """)
    }

    @Test func neitherThreadsNorCutsChangeTheBytes() throws {
        try expectWell(
            """
            for order in window full sequential; do for packing in best-fit concat; do
                options="--order $order --pack $packing --epochs 2 --seed 9"
                pack $options --threads 1 > one
                pack $options --threads 5 > five
                cmp one five
                tok-pack inspect --json one | tail -n 1 > done
                for cut in 1 70; do
                    cursor=$(pack $options --limit $cut | tok-pack inspect --json | tail -n 1 | sed 's/.*"cursor":"//; s/".*//')
                    pack $options --cursor "$cursor" | tok-pack inspect --json | tail -n 1 | cmp - done
                done
            done; done
            """)
    }

    @Test func aClosedReaderIsNoError() throws {
        let result = try shell(
            "pack --epochs forever | head -c 100000 > /dev/null; echo \"${PIPESTATUS[@]}\"")
        #expect(result.text == "0 0\n")
        #expect(result.errors == "")
    }

    @Test(arguments: ["TERM", "INT"]) func aSignalEndsItAtOnceWithoutDone(signal: String) throws {
        // The reader does not read on, so tok-pack is blocked in a write when the signal comes.
        let result = try shell(
            """
            mkfifo pipe
            tok-pack --rows 4 --length 32 --epochs forever data > pipe & packer=$!
            exec 3< pipe
            head -c 1000 <&3 > /dev/null
            sleep 0.2
            kill -0 $packer || exit 1
            kill -\(signal) $packer
            wait $packer; echo "status $?"
            cat <&3 > rest
            grep -c DONE rest
            """)
        #expect(result.text == "status 75\n0\n")
    }

    @Test func aCutStreamNamesItsLastGoodBatch() throws {
        try expectWell(
            """
            pack --limit 3 > stream
            head -c 2000 stream > cut
            if tok-pack inspect cut > shown 2> errors; then exit 1; else test $? = 65; fi
            grep -q "^tok-pack: 'cut' at byte 2000: the stream stops inside a BTCH frame.*; the last good batch is 1$" errors
            grep -q '^batch 1 ' shown
            if tok-pack inspect - < cut > /dev/null 2>&1; then exit 1; else test $? = 65; fi
            """)
    }

    @Test func jsonLinesHoldTheStream() throws {
        let result = try shell(
            "pack --limit 2 --to jsonl; pack --limit 2 | tok-pack inspect --json --batch 1 | sed -n '2,3p'")
        let lines = try result.text.split(separator: "\n").map { try JSON(parsing: String($0), name: "line") }
        try #require(lines.count == 4)
        for index in 0..<2 {
            #expect(lines[index]["index"]?.intValue == index)
            #expect(lines[index]["cursor"] == lines[2 + index]["batch"]?["cursor"])
            let (inputs, targets) = (try rows(lines[index], "inputs"), try rows(lines[index], "targets"))
            #expect(inputs.count == 4 && targets.allSatisfy { $0.count == 32 })
            for (row, ends) in try rows(lines[index], "segments").enumerated() {
                var start = 0
                for end in ends {
                    for position in start..<end where position > start {
                        #expect(inputs[row][position] == targets[row][position - 1])
                    }
                    start = end
                }
            }
            #expect(lines[index].objectValue?.keys == ["index", "inputs", "targets", "segments", "cursor"])
        }
        #expect(lines[1]["segments"] == lines[3]["batch"]?["segment_ends"])
    }

    private func rows(_ json: JSON, _ key: String) throws -> [[Int]] {
        try #require(json[key]?.arrayValue).map { try #require($0.arrayValue).map { try #require($0.intValue) } }
    }

    /// The .npy is taken apart by its specification: magic, version, header, then exactly the declared ids.
    @Test func aNumPyArrayIsWhole() throws {
        let array = try shell("pack --to npy").output
        let lines = try shell("pack --to jsonl").text.split(separator: "\n").map {
            try JSON(parsing: String($0), name: "line")
        }
        #expect(Array(array[..<8]) == [0x93] + Array("NUMPY".utf8) + [1, 0])
        let headerCount = Int(try #require(array.littleEndian(at: 8, as: UInt16.self)))
        #expect((10 + headerCount) % 64 == 0)
        let header = String(decoding: array[10..<10 + headerCount], as: UTF8.self)
        #expect(header.hasPrefix("{'descr': '<u2', 'fortran_order': False, 'shape': (\(lines.count * 4), 2, 32), }"))
        #expect(header.hasSuffix("\n"))
        let ids = [UInt16](littleEndianBytes: array[(10 + headerCount)...])
        var expected: [UInt16] = []
        for line in lines {
            let (inputs, targets) = (try rows(line, "inputs"), try rows(line, "targets"))
            for row in 0..<4 { expected += (inputs[row] + targets[row]).map { UInt16($0) } }
        }
        #expect(ids == expected)
    }

    @Test func inspectDrawsRows() throws {
        try expectWell(
            """
            pack --limit 2 | tok-pack inspect --batch 1 --rows 2 > shown
            grep -q '^batches     4 rows of 32, u16 ids below 257$' shown
            grep -q '^ledger      .* tokens in = 253 emitted + .* left over; 3 positions of padding$' shown
            test $(grep -c '|a' shown) = 2
            """)
    }

    @Test(arguments: [
        ("--rows 0", 64, "--rows is 0, expected at least 1"), ("--limit 0", 64, "--limit is 0, expected at least 1"),
        ("--threads 0", 64, "--threads is 0, expected at least 1"),
        ("--epochs -1", 64, ""), ("--order random", 64, ""), ("--seed -1", 64, ""), ("--length 9999999999", 64, ""),
        ("--rows 100000 --length 100000", 64, "batches of 100000 × 100000 do not fit a frame of 1 GiB"),
        ("--cursor x", 64, "'x' is no cursor: its version is 'x', this program knows 1 and 2"),
        ("--to npy --epochs forever", 64, "a NumPy array cannot be without end"),
        ("--to npy --epochs 9223372036854775807", 64, "the rows of this run leave 63 bits"),
        ("--to npy --epochs 0 --limit 9223372036854775807", 64, "the rows of this run leave 63 bits"),
        ("nowhere", 66, "cannot open 'nowhere': no such dataset directory"),
    ]) func misuse(options: String, status: Int32, message: String) throws {
        let result = try shell("tok-pack --rows 4 --length 32 \(options) data")
        #expect(result.status == status)
        #expect(result.output.isEmpty)
        let first = result.errors.split(separator: "\n").first.map(String.init) ?? ""
        #expect(message.isEmpty ? first.hasPrefix("tok-pack: ") : first == "tok-pack: " + message)
    }

    @Test func aCursorOfAnotherSeedIsRefused() throws {
        let result = try shell(
            """
            cursor=$(pack --limit 1 | tok-pack inspect --json | tail -n 1 | sed 's/.*"cursor":"//; s/".*//')
            pack --seed 4 --cursor "$cursor"
            """)
        #expect(result.status == 64)
        #expect(
            result.errors.hasPrefix(
                "tok-pack: the cursor belongs to another run: --seed is 0 in the cursor, 4 here\nhint: "))
    }

    /// Numbers near the end of 64 bits are refused before anything is added to them.
    @Test(arguments: ["stream", "npy", "jsonl"]) func absurdCursorsAreRefused(form: String) throws {
        let result = try shell(
            """
            recipe=$(pack --limit 1 | tok-pack inspect --json | head -n 1 | sed 's/.*"recipe":"//; s/".*//')
            zeros=00000000000000000000000000000000 most=9223372036854775807
            for place in $most:0:0:0:0:0:0 0:$most:0:0:0:0:0 0:0:$most:0:0:0:0 0:0:0:$most:0:0:0 0:0:0:0:$most:0:0 \\
                0:0:0:0:0:$most:0 0:0:0:0:0:0:$most 0:0:0:0:288230376151711743:0:9223372036854775776 \\
                0:0:1000000:1:4:0:128; do
                for epochs in 0 1 $most; do
                    pack --to \(form) --epochs $epochs --limit 1 --cursor 1:$recipe:$place:$zeros > out 2> said
                    test $? = 64 && grep -q '^tok-pack: .*cursor' said && { test \(form) = stream || test ! -s out; } \\
                        || { echo "$place, $epochs epochs: $(cat said)"; exit 1; }
                done
            done
            """)
        #expect(result.status == 0, "\(result.text)\(result.errors)")
    }

    /// What --help shows as an example can be pasted and does what it says.
    @Test func examplesRunAsWritten() throws {
        let model = """
            {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 512,
            "rms_norm_eps": 1e-5, "tie_word_embeddings": true}
            """
        try expectWell(
            #"""
            example() { "$@" --help | sed -n '/^Example:/,/^$/p' | sed 's/^Example: *//' > example; test -s example; . ./example; }
            seq 4000 | sed 's/.*5$/---/' > book.txt
            seq 99 > notes.txt
            seq 900 | sed 's/.*/{"text": "page &"}/' > pages.jsonl
            echo '\#(model)' > config.json
            example tok-shard make
            rm -r corpus
            example tok-shard
            test $(tok-shard info --json corpus/train | grep -c '"documents":[34][0-9][0-9],') = 1
            example tok-shard info > shown; grep -q '^tokens ' shown
            example tok-shard cat > shown; grep -q '^26$' shown
            example tok-shard verify
            example tok-pack 2> said; test -L runs/first/latest
            rm -r runs; example tok-pack pack 2> said; test -L runs/first/latest
            example tok-pack inspect > shown; grep -q '|a' shown
            """#)
    }

    @Test func damagedShardsAreNamedAndThereIsNoDone() throws {
        let result = try shell(
            """
            printf 'X' | dd of=data/shard-00000.tok.zst bs=1 seek=200 conv=notrunc 2> /dev/null
            pack > stream; echo "status $?"
            grep -c DONE stream
            """)
        #expect(result.text == "status 65\n0\n")
        #expect(result.errors.contains("tok-pack: 'data/shard-00000.tok.zst', frame 0 at byte 0: "))
    }

    /// On one terminal the trainer's line is the one that is drawn: two would overwrite each other.
    @Test func progressIsNotDrawnBesideAReader() throws {
        let result = try shell(
            """
            python3 -c 'if True:
                import os, pty, subprocess
                for output in subprocess.DEVNULL, subprocess.PIPE:
                    terminal, end = pty.openpty()
                    command = "tok-pack --rows 4 --length 32 data".split()
                    subprocess.Popen(command, stdout=output, stderr=end).communicate()
                    os.write(end, b"|")
                    print(os.read(terminal, 9999).startswith(b"|"))'
            """)
        #expect(result.text == "False\nTrue\n", "\(result.errors)")
    }

    @Test func aFullDeviceIsAnError() throws {
        let result = try shell("pack > /dev/full")
        #expect(result.status == 74)
        #expect(result.errors == "tok-pack: cannot write 'standard output': No space left on device\n")
    }
}
