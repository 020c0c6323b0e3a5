// Peak memory does not grow with time: the same small run, long and longer, holds as much at its end. `make longrun` looks at the
// slope over 5,000 steps of a larger model.

import TestSupport
import Testing

@Suite struct TrainStepMemoryTests {
    /// Each read of the stream left two objects of 32 bytes behind.
    @Test func stepsLeaveNothingBehind() throws {
        try TrainerScript.expectWell(
            TrainerScript.data + "\n",
            """
            echo '{"model_type": "gpt2", "vocab_size": 257, "n_embd": 2, "n_layer": 1, "n_head": 1, "n_positions": 8}' > model.json
            tok-pack --rows 1 --length 8 --epochs forever --limit 9000 data > batches
            # The bytes that a run of so many steps holds at its end.
            held() {
                train-step --quiet --threads 1 --run "run-$1" --model model.json --steps "$1" < batches
                grep '"resident_bytes"' "run-$1/metrics.jsonl" | tail -n 1 | sed 's/.*"resident_bytes":\\([0-9]*\\).*/\\1/'
            }
            short=$(held 1000) long=$(held 9000)
            # 64 bytes a read, two reads a batch: a megabyte.
            [ $((long - short)) -lt 500000 ] || { echo "$short bytes after 1000 steps, $long after 9000"; exit 1; }
            """)
    }
}
