// Streams beyond the plain one, from outside: mixes, ranks, lanes, masks, lengths that change, and what the trainer makes
// of each of them.

import TestSupport
import Testing

@Suite struct StreamKindsTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(StreamKindsTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        cat > model.json <<'END'
        {"model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
        END
        make() { for i in $(seq $2); do echo "$1 $i> $(seq $i $((i + i % 40)) | tr '\n' ' ')"; echo; done \
            | tok-shard --tokenizer bytes --split-on '' --output $1 -; }
        make train 200 || exit
        make code 60 || exit
        pack() { tok-pack --rows 4 --length 32 --seed 3 "$@"; }
        learn() { train-step --quiet "$@"; }
        cursor() { ckpt-tool get "$1/latest" cursor; }
        done_of() { tok-pack inspect --json "$1" | tail -n 1; }
        \#(TrainerScript.refused)

        """#

    /// A run over a mix, its shares changed on the way: the same checkpoint as from one pipe per stage, wherever it was cut.
    @Test func aMixedRunGoesOn() throws {
        try expectWell(
            """
            mix() { pack --epochs forever "$@"; }
            mix train=0.7 code=0.3 | learn --run run --model model.json --schedule-steps 8 --steps 5
            mix --cursor "$(cursor run)" train=0.2 code=0.8 | learn --resume run --steps 8
            cp -rL run/latest a
            mix train=0.7 code=0.3 | learn --run other --model model.json --schedule-steps 8 --steps 2
            mix --cursor "$(cursor other)" train=0.7 code=0.3 | learn --resume other --steps 5
            mix --cursor "$(cursor other)" train=0.2 code=0.8 | learn --resume other --steps 7
            mix --cursor "$(cursor other)" train=1 code=4 | learn --resume other --steps 8
            cmp a/model.safetensors other/latest/model.safetensors
            test "$(ckpt-tool get a cursor)" = "$(cursor other)"
            mix --limit 5 train=0.7 code=0.3 | tok-pack inspect > shown
            grep -q '^mix         70.00 % of [0-9a-f]*$' shown
            grep -q '^            30.00 % of [0-9a-f]*$' shown
            """)
    }

    @Test func weightsAreRead() throws {
        try expectWell(
            """
            pack train code > together
            mkdir a=1 && cp -r train/* a=1
            pack a=1 > plain; pack train | cmp - plain
            pack a=1=0.5 | cmp - plain
            refused 64 'some datasets have a weight' pack train=1 code
            refused 64 "no weight" pack train=x code=1
            refused 64 'all weights are 0' pack train=0 code=0
            refused 64 'are the same dataset' pack train=1 a=1=2
            refused 66 'nowhere' pack train=1 nowhere=1
            refused 64 'mixed run' pack --to npy train=1 code=1
            pack --to npy --epochs forever --limit 3 train=1 code=1 > array
            test $(head -c 120 array | grep -c "'shape': (12, 2, 32)") = 1
            """)
    }

    /// Longer rows on the way, with the trainer: it knows its stream again, and no token is lost.
    @Test func aCurriculumOfLengths() throws {
        try expectWell(
            """
            tokens=$(tok-shard info --json train | grep -o '"tokens": *[0-9]*' | head -n 1 | grep -o '[0-9]*')
            tok-pack --rows 8 --length 16 train | learn --run run --model model.json --schedule-steps 999 --steps 20
            tok-pack --rows 4 --length 32 --cursor "$(cursor run)" train | learn --resume run --steps 35
            tok-pack --rows 2 --length 64 --cursor "$(cursor run)" train > last
            learn --resume run --steps 999 < last || true
            test "$(ckpt-tool get run/latest tokens)" = "$tokens"
            done_of last | grep -q '"tokens_in":'$tokens',"emitted":'$tokens','
            done_of last | grep -q '"left_over":0'
            """)
    }

    @Test func ranksTogetherAreTheStream() throws {
        try expectWell(
            """
            pack --to jsonl train > whole
            for rank in 0 1; do pack --rank $rank --world 2 --to jsonl train > part$rank; done
            python3 -c 'if True:
                import json
                whole, *parts = ([json.loads(line) for line in open(name)] for name in ("whole", "part0", "part1"))
                for batch, *own in zip(whole, *parts, strict=True):
                    for key in "inputs", "targets", "segments":
                        assert [own[j % 2][key][j // 2] for j in range(4)] == batch[key], key
                    assert own[0]["cursor"] == own[1]["cursor"] == batch["cursor"]'
            pack train > whole.batches
            digest=$(done_of whole.batches | grep -o '"order_digest":"[0-9a-f]*"')
            for rank in 0 1; do
                pack --rank $rank --world 2 train > part.batches
                done_of part.batches | grep -q "\\"run\\":.*$digest"
            done
            refused 65 'the stream of rank 1 of 2' learn --run run --model model.json --steps 2 < part.batches
            refused 64 'multiple of the 3 ranks' pack --world 3 train
            refused 64 'rank 2 of 2' pack --rank 2 --world 2 train
            """)
    }

    @Test func lanesAreTheTrainers() throws {
        try expectWell(
            """
            pack --lanes 2 train > laned
            learn --run run --model model.json --steps 4 --lanes 2 < laned
            refused 65 'rows in 2 lanes, the run.s recipe has 1' learn --run other --model model.json --steps 4 < laned
            refused 64 'lanes is 2 in the cursor, 1 here' pack --cursor "$(cursor run)" train
            pack --lanes 2 --cursor "$(cursor run)" train | learn --resume run --steps 6
            """)
    }

    /// The trainer learns from the targets behind the separator and from no other.
    @Test func masksAreHonoured() throws {
        try expectWell(
            """
            # 62 is '>': documents look like 'train 7> 7 8 9'.
            pack --mask-before 62 --limit 6 train > masked
            learn --run run --model model.json --steps 6 < masked
            counted=$(tok-pack inspect --json masked | sed -n 's/.*"loss_positions":\\([0-9]*\\).*/\\1/p' | awk '{ s += $1 } END { print s }')
            test "$(ckpt-tool get run/latest tokens)" = "$counted"
            all=$(pack --limit 6 train | tok-pack inspect --json | sed -n 's/.*"loss_positions":\\([0-9]*\\).*/\\1/p' | awk '{ s += $1 } END { print s }')
            test "$counted" -lt "$all"
            # The same from a sidecar.
            zstd -dcq train/shard-00000.tok.zst | python3 -c 'if True:
                import array, sys
                behind, marks = False, bytearray()
                for token in array.array("H", sys.stdin.buffer.read()):
                    marks.append(behind)
                    behind = token != 256 and (behind or token == 62)
                sys.stdout.buffer.write(marks)' > marks
            refused 66 'has no loss mask' pack --loss-mask train
            tok-pack mask train marks
            pack --loss-mask --limit 6 --to jsonl train > sidecar
            pack --mask-before 62 --limit 6 --to jsonl train > separator
            test "$(sed 's/,"cursor.*//' sidecar)" = "$(sed 's/,"cursor.*//' separator)"
            head -c 100 marks > short
            refused 65 "'short' at byte 100: expected .* bytes, one a token" tok-pack mask train short
            refused 66 'has no loss mask' pack --loss-mask train
            { cat marks; echo; } > long
            refused 65 'more than one byte' tok-pack mask train long
            refused 64 'below the vocabulary size' pack --mask-before 257 train
            """)
    }

    @Test func wasteIsThatOfTheStream() throws {
        try expectWell(
            """
            tok-pack waste --length 32 --json train > report
            test $(wc -l < report) = 4
            for packing in best-fit concat pad; do
                pack --pack $packing --rows 1 train > stream
                padded=$(grep "\\"$packing\\"" report | sed 's/.*"padded":\\([0-9]*\\).*/\\1/')
                done_of stream | grep -q "\\"padded\\":$padded,"
                cuts=$(grep "\\"$packing\\"" report | sed 's/.*"cuts":\\([0-9]*\\).*/\\1/')
                tok-pack inspect stream | grep -q "positions wasted, documents cut $cuts times"
            done
            tok-pack waste --length 32 train | grep -q '^first-fit '
            """)
    }
}
