import TestSupport
import Testing

/// What an embedder builds is a run like any other: it survives kills to the same bytes, and the tools read it.
@Suite struct ExampleTests {
    private func expect(_ script: String) throws { try TrainerScript.expectWell(TrainerScript.data + "\n", script) }

    @Test func aModelOfOnesOwnLearns() throws {
        try expect(
            """
            ngram data run 200 > said
            grep -q 'complete at step 200 of 200' said; grep -q 'step 50: saved run/step-00000050' said
            metrics-cat --check 'monotonic step' 'train_loss < 2.5' 'no nonfinite' run
            ckpt-tool verify run/latest
            ckpt-tool list run/latest | grep -q 'hidden.weight'
            ckpt-tool stats run/latest | grep -q 'output.bias'
            [ "$(ckpt-tool get run/latest step)" = 200 ]
            ckpt-tool verify --deep run 2> notes; grep -q "note: .*'ngram'.*shapes are not checked" notes
            ckpt-tool convert run/latest run.npz; ckpt-tool diff --quiet run/latest run.npz
            ckpt-tool sample run/latest 2> errors && exit 1
            grep -q "'model_type' is 'ngram'" errors
            """)
    }

    @Test func aModelOfOnesOwnEndsInTheSameBytes() throws {
        try expect(
            """
            ngram data whole 160 > said
            ngram data cut 160 > said & child=$!
            until [ -e cut/step-00000050 ]; do sleep 0.01; done
            kill -9 $child; wait $child || true
            ngram data cut 160 > said
            diff -r whole/step-00000160 cut/step-00000160
            MILLRACE_ISA=scalar ngram data scalar 160 > said
            diff -r whole/step-00000160 scalar/step-00000160
            """)
    }

    @Test func aCheckpointOfAnotherModelIsRefused() throws {
        try expect(
            """
            ngram data run 2 > said
            pack --limit 1 | train-step --quiet --resume run --steps 3 2> errors && exit 1
            grep -q "model_type" errors
            copy-task run 3 2> errors && exit 1
            grep -q "model_type" errors
            """)
    }

    @Test func aSourceOfOnesOwnIsLearnedFrom() throws {
        try expect(
            """
            copy-task whole 150 > said; grep -q 'complete' said
            copy-task cut 150 > said & child=$!
            until [ -e cut/step-00000100 ] || ! kill -0 $child 2> /dev/null; do sleep 0.01; done
            kill -TERM $child 2> /dev/null || true; wait $child || true
            copy-task cut 150 > said
            diff -r whole/step-00000150 cut/step-00000150
            """)
    }
}
