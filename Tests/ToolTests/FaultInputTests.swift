// Input that lies, through the real tools: cut, flipped, hostile. Each ends with the exit code of bad data, one line that
// begins with the tool's name, no signal, and no more memory than an honest input needs.

#if os(Linux)
    import Bytes
    import TestSupport
    import Testing

    @Suite struct FaultInputTests {
        /// `refused TOOL STATUS COMMAND…`: under a limit on memory that an allocation of a lying size would hit.
        private static let refused = #"""
            refused() {
                local tool=$1 expected=$2 status=0; shift 2
                ( ulimit -v 3000000; timeout 60 "$@" ) > out 2> said || status=$?
                [ $status = $expected ] || fail "$*: status $status, expected $expected: $(cat said)"
                one_line $tool said
                ! LC_ALL=C grep -q $'[\x01-\x08\x0b-\x1f\x7f]' said || fail "control characters: $(cat -v said)"
            }

            """#

        @Test func cutStreamsAreNamed() throws {
            try Faults.expect(
                Self.refused + #"""
                    tok-pack --rows 2 --length 8 --limit 4 data > small
                    size=$(stat -c %s small) cuts=0
                    for ((n = 0; n < size; n += \#(Faults.count(quick: 97, long: 17)))); do
                        head -c $n small > cut
                        refused tok-pack 65 tok-pack inspect cut
                        cuts=$((cuts + 1))
                    done
                    [ $cuts -ge 10 ]
                    for ((n = 0; n < size; n += \#(Faults.count(quick: 397, long: 97)))); do
                        head -c $n small > cut
                        rm -rf new
                        refused train-step 65 train-step --quiet --run new --model model.json --steps 9 < cut
                        [ ! -d new ] || ! ls new | grep -q step || ckpt-tool verify new
                    done
                    """#)
        }

        @Test func flippedBitsAreNamed() throws {
            try withTemporaryDirectory { directory in
                let made = try runShell(
                    "\(LawTests.setUp)\ntok-pack --rows 2 --length 8 --limit 4 data > small", directory: directory)
                #expect(made.status == 0, "\(made.errors)")
                let stream = try readFile(directory + "/small")
                var generator = SystemRandomNumberGenerator()
                for trial in 0..<Faults.count(quick: 24, long: 400) {
                    var bytes = stream
                    let position = Int.random(in: 0..<bytes.count, using: &generator)
                    bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                    let isTrainer = trial % 4 == 0
                    let result =
                        isTrainer
                        ? try runTool(
                            "train-step", ["--quiet", "--run", "new\(trial)", "--model", "model.json", "--steps", "9"],
                            input: bytes, directory: directory)
                        : try runTool("tok-pack", ["inspect"], input: bytes, directory: directory)
                    #expect(result.status == 65 && result.signal == nil, "byte \(position): \(result.errors)")
                    #expect(
                        result.errors.hasPrefix(
                            isTrainer ? "train-step: 'standard input'" : "tok-pack: 'standard input'"))
                }
            }
        }

        /// A batch that is sound in every check but holds an id that the vocabulary does not.
        @Test func idsBeyondTheVocabularyAreRefused() throws {
            try withTemporaryDirectory { directory in
                let made = try runShell(
                    "\(LawTests.setUp)\ntok-pack --rows 2 --length 8 --limit 2 data > small", directory: directory)
                #expect(made.status == 0, "\(made.errors)")
                let source = MemorySource(try readFile(directory + "/small"))
                var reader = FrameReader(source)
                var bytes: [UInt8] = []
                while var frame = try reader.next() {
                    if frame.type.description == "BTCH" {
                        // Index, cursor, rows, length, mask flag; then the inputs.
                        let cursor = Int(frame.payload[8]) | Int(frame.payload[9]) << 8
                        let inputs = 8 + 2 + cursor + 4 + 4 + 1
                        frame.payload[inputs + 4] = 1
                        frame.payload[inputs + 5] = 1  // 257, one too many
                    }
                    bytes += frame.encoded
                }
                for (tool, arguments) in [
                    ("tok-pack", ["inspect"]),
                    ("train-step", ["--run", "new", "--model", "model.json", "--steps", "2", "--quiet"]),
                ] {
                    let result = try runTool(tool, arguments, input: bytes, directory: directory)
                    #expect(result.status == 65, "\(result.errors)")
                    #expect(result.errors.contains("257"), "\(result.errors)")
                }
            }
        }

        @Test func hostileTensorFilesAreRefused() throws {
            let cases: [(name: String, header: String, length: Int?)] = [
                ("longer", "{}", 1 << 40), ("huge", "{}", Int.max), ("negative", "{}", -1), ("text", "no JSON", nil),
                (
                    "twice",
                    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                    nil
                ),
                (
                    "overlap",
                    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                    nil
                ),
                ("hole", #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, nil),
                (
                    "product",
                    #"{"a":{"dtype":"F32","shape":[4194305,4194305,211106198978564],"data_offsets":[0,8]}}"#, nil
                ),
                ("type", #"{"a":{"dtype":"F99\u001b[2J","shape":[2],"data_offsets":[0,8]}}"#, nil),
                ("name", #"{"\u001b]0;x\u0007":{"dtype":"F32","shape":[9],"data_offsets":[0,8]}}"#, nil),
                ("deep", String(repeating: "[", count: 200_000), nil),
                ("float", #"{"a":{"dtype":"F32","shape":[1e99],"data_offsets":[0,8]}}"#, nil),
            ]
            try Faults.expect(
                Self.refused + #"""
                    for file in "$given"/*; do
                        rm -rf model; mkdir model; cp model.json model/config.json; cp $file model/model.safetensors
                        refused ckpt-tool 65 ckpt-tool show model
                        refused train-step 65 train-step --quiet --run new --from model --steps 1 < validation.batches
                        refused ckpt-tool 65 ckpt-tool sample model --prompt x
                    done
                    [ $(ls "$given" | wc -l) -ge 12 ]
                    """#,
                prepare: { directory in
                    for (name, header, length) in cases {
                        var bytes: [UInt8] = []
                        bytes.append(littleEndian: UInt64(bitPattern: Int64(length ?? header.utf8.count)))
                        try writeFile(
                            bytes + Array(header.utf8) + [0, 0, 0, 0, 0, 0, 0, 0], to: directory + "/" + name)
                    }
                    try writeFile(
                        [9, 0, 0, 0, 0, 0, 0, 0] + Array("{\"a\":\"".utf8) + [0xff, 0x22, 0x7d], to: directory + "/utf8"
                    )
                })
        }

        @Test func hostileDatasetsAreRefused() throws {
            try Faults.expect(
                Self.refused + #"""
                    head -c 500000 /dev/urandom | od -An -v -tx1 > noise
                    tok-shard --tokenizer bytes --output big noise
                    # The first frame's place, from its end in the seek table: replaced by another of the same size.
                    replace() {  # replace FRAME: puts it at the start of the shard, padded by a skippable frame
                        rm -rf bad; cp -r big bad
                        size=$(stat -c %s "$1")
                        first=$(python3 - bad/shard-00000.tok.zst <<'END'
                    import struct, sys
                    data = open(sys.argv[1], "rb").read()
                    frames, = struct.unpack("<I", data[-9:-5])
                    entry = 12 if data[-5] & 128 else 8
                    print(struct.unpack("<I", data[-9 - entry * frames:][:4])[0])
                    END
                        )
                        [ $first -gt $((size + 8)) ] || fail "no room: $first, $size"
                        { cat "$1"; printf '\x50\x2a\x4d\x18'; python3 -c "import struct,sys; sys.stdout.buffer.write(struct.pack('<I', $first - $size - 8) + bytes($first - $size - 8))"; } \
                            | dd of=bad/shard-00000.tok.zst conv=notrunc status=none
                    }
                    head -c 2000000000 /dev/zero | zstd -q > bomb
                    replace bomb
                    refused tok-pack 65 tok-pack --rows 2 --length 8 bad
                    refused tok-shard 65 tok-shard cat bad
                    # A frame without its checksum, otherwise right.
                    head -c 262144 <(zstd -dcq big/shard-00000.tok.zst) | zstd -q -19 --no-check > unchecked
                    replace unchecked
                    refused tok-pack 65 tok-pack --rows 2 --length 8 bad
                    # Names that lead elsewhere, counts that lie.
                    for change in 's|shard-00000.tok.zst|../x|' 's|shard-00000.tok.zst|/etc/passwd|' \
                        's|shard-00000.tok.zst|\\u0000|' \
                        's|"tokens": *[0-9]*|"tokens": 9223372036854775807|' 's|"bytes": *[0-9]*|"bytes": -1|' 's|{|{{|' \
                        's|"frames": *[0-9]*|"frames": 4294967296|'; do
                        rm -rf bad; cp -r big bad
                        sed "$change" big/dataset.json > bad/dataset.json
                        ! cmp -s big/dataset.json bad/dataset.json || fail "unchanged: $change"
                        refused tok-pack 65 tok-pack --rows 2 --length 8 bad
                        refused tok-shard 65 tok-shard info bad
                    done
                    # A name that is allowed but not there, and would clear the terminal.
                    sed 's|shard-00000.tok.zst|\\u001b[2J|' big/dataset.json > bad/dataset.json
                    refused tok-pack 66 tok-pack --rows 2 --length 8 bad
                    size=$(stat -c %s big/shard-00000.tok.zst)
                    for n in 0 1 8 9 17 100 $((size / 2)) $((size - 9)) $((size - 1)); do
                        rm -rf bad; cp -r big bad; head -c $n big/shard-00000.tok.zst > bad/shard-00000.tok.zst
                        refused tok-pack 65 tok-pack --rows 2 --length 8 bad
                    done
                    """#)
        }

        @Test func strangeOutputsAreRefused() throws {
            try Faults.expect(
                Self.refused + #"""
                    mkfifo pipe
                    ln -s /dev/null null
                    for place in pipe /dev/null null model.json; do
                        refused train-step 73 train-step --quiet --run $place --model model.json --steps 1 < validation.batches
                        refused tok-shard 73 tok-shard --tokenizer bytes --output $place corpus.txt
                    done
                    [ -p pipe ] && [ -c /dev/null ]
                    cat > full <<'END'
                    #!/bin/bash
                    exec "$@" > /dev/full
                    END
                    chmod +x full
                    refused tok-pack 74 ./full tok-pack --rows 2 --length 8 data
                    refused tok-shard 74 ./full tok-shard cat data
                    refused tok-pack 74 ./full tok-pack inspect validation.batches
                    refused ckpt-tool 74 ./full ckpt-tool show reference
                    refused ckpt-tool 74 ./full ckpt-tool get reference step
                    refused metrics-cat 74 ./full metrics-cat reference
                    refused metrics-cat 73 metrics-cat --to csv --output pipe reference
                    """#)
        }
    }
#endif
