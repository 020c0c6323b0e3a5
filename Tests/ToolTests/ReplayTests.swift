import Bytes
import TestSupport
import Testing

/// Replay across interruptions, as a matrix: a run that SIGTERM ends after step 1, 7 or 50 and that goes on with other
/// threads, another instruction set and another cut into micro-batches ends in the bytes of the run that nobody disturbed.
/// Two models and recipes stand for the rest: Llama with one lane, GPT-2 with four.
@Suite struct ReplayTests {
    private static let setUp = """
        awk 'BEGIN { for (i = 1; i <= 400; i++) {
            line = "document " i ":"; for (k = i; k <= i + i % 23; k++) line = line " " k; print line "\\n" } }' \
            | tok-shard --tokenizer bytes --split-on '' --output data -
        cat > llama.json <<'END'
        {"model_type": "llama", "vocab_size": 257, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
         "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": true}
        END
        cat > gpt2.json <<'END'
        {"model_type": "gpt2", "vocab_size": 257, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32}
        END
        pack() { tok-pack --rows 8 --length 24 --seed 5 --epochs forever "$@" data; }
        pack --limit 60 > whole
        # Where the frame after batch N begins: at the first byte in which a stream of N batches differs.
        for step in 1 7 50; do
            { pack --limit $step | cmp - whole || true; } | sed 's/.*byte \\([0-9]*\\),.*/\\1/' > cut$step
        done
        model() { if [ $1 = 1 ]; then echo llama.json; else echo gpt2.json; fi; }
        for lanes in 1 4; do
            train-step --quiet --run whole$lanes --model $(model $lanes) --lanes $lanes --steps 60 --warmup 5 < whole
        done
        ! cmp -s whole1/latest/model.safetensors whole4/latest/model.safetensors

        # replay STEP LANES, then ISA THREADS MICRO-BATCHES of the first part and of the second
        replay() {
            local run=run-$1-$2-$3-$4-$5 fifo=fifo-$1-$2-$3-$4-$5 status=0
            mkfifo $fifo
            exec 3<> $fifo
            head -c $(($(cat cut$1) - 1)) whole >&3 &
            MILLRACE_ISA=$3 train-step --quiet --run $run --model $(model $2) --lanes $2 --steps 60 --warmup 5 \
                --threads $4 --micro-batches $5 < $fifo 3>&- &
            local trainer=$!
            until [ "$(grep -c train_loss $run/metrics.jsonl 2> /dev/null)" = $1 ]; do
                kill -0 $trainer || break
                sleep 0.01
            done
            kill -TERM $trainer
            wait $trainer || status=$?
            exec 3>&-
            test $status = 75
            test "$(ckpt-tool get $run/latest step)" = $1
            pack --cursor "$(ckpt-tool get $run/latest cursor)" --limit $((60 - $1)) \
                | MILLRACE_ISA=$6 train-step --quiet --resume $run --threads $7 --micro-batches $8
            cmp whole$2/step-00000060/manifest.json $run/step-00000060/manifest.json
            diff -r whole$2/step-00000060 $run/step-00000060
            rm -r $run $fifo
            echo "$@" >> replayed
        }
        """

    private static let splits = [1, 2, 8]

    /// The instruction sets of this machine, by asking the tool.
    private static let instructionSets: [String] = ["scalar", "avx2", "avx512", "neon"].filter { name in
        let result = try? withTemporaryDirectory { directory in
            try runShell(
                "echo '\(model)' > m.json && MILLRACE_ISA=\(name) train-step --quiet --run r --model m.json --steps 0",
                directory: directory)
        }
        return result?.status == 0
    }
    private static let model =
        #"{"model_type": "gpt2", "vocab_size": 2, "n_embd": 2, "n_layer": 1, "n_head": 1, "n_positions": 2}"#

    /// Every pair of values in two of the columns stands in some line of the short list; the long one is the product.
    private static func lines(lanes: Int) -> [String] {
        let sets = instructionSets
        var lines: [String] = []
        for (cut, step) in [1, 7, 50].enumerated() {
            for (s, set) in sets.enumerated() {
                for threads in 1...3 {
                    for (k, split) in splits.enumerated() {
                        let isShort = (cut + s + threads) % 3 == 0 && (cut + 2 * s + k) % 3 == 0
                        if !Faults.isLong && !isShort { continue }
                        let next = "\(sets[(s + 1) % sets.count]) \(threads % 3 + 1) \(splits[(k + 1) % 3])"
                        lines.append("replay \(step) \(lanes) \(set) \(threads) \(split) \(next)")
                    }
                }
            }
        }
        return lines
    }

    @Test(arguments: [1, 4]) func interruptedRunsEndInTheSameBytes(lanes: Int) throws {
        let lines = ReplayTests.lines(lanes: lanes)
        #expect(lines.count >= (Faults.isLong ? 27 : 3) * ReplayTests.instructionSets.count)
        try withTemporaryDirectory { directory in
            let script = "set -e\n\(ReplayTests.setUp)\n\(lines.joined(separator: "\n"))\nwc -l < replayed"
            let result = try runShell(script, directory: directory)
            #expect(result.status == 0, "\(result.text)\(result.errors)")
            // A matrix that stops early proves nothing.
            #expect(result.text.split(separator: "\n").last.flatMap { Int($0) } == lines.count)
        }
    }
}
