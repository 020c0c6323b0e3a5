// Growing and freezing together: rules about layers that do not exist yet, and new blocks alone learning, on the way or in a
// run of its own.

import TestSupport
import Testing

@Suite struct ExpandFreezeTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(ExpandFreezeTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        \#(TrainerScript.families(gpt2Layers: 1))
        \#(TrainerScript.refused)
        # learned A B: the tensors that differ, without their layers' insides
        learned() {
            ckpt-tool diff "$1" "$2" | awk '$1 == "different" { sub(/.*model/, "model", $5); print $5 }' \
                | sed -E 's/(layers\.[0-9]+)\..*/\1/' | sort -u | paste -sd ' '
        }

        """#

    /// As LLaMA-Pro trains: the blocks that an expansion on the way puts in, and nothing else from there on.
    @Test func onlyNewBlocksLearnAfterAnExpansion() throws {
        try expectWell(
            """
            set -f
            recipe="--schedule-steps 10 --expand-at 6 layers=4 --freeze *@7- --freeze !model.layers.1.*@7- --freeze !model.layers.3.*@7-"
            recipe="$recipe --rate model.layers.3.*=2 --decay model.layers.3.*norm* --no-decay model.layers.3.*proj*"
            pack | learn --run whole --model llama.json --steps 10 --save-every 7 $recipe 2> /dev/null
            test "$(ckpt-tool get whole/latest state.expansions.0.new_layers)" = '[1,3]'
            test "$(learned whole/step-00000006 whole/step-00000010)" = "model.layers.1 model.layers.3"
            for cut in 4 6 8; do
                pack | learn --run cut$cut --model llama.json --steps $cut $recipe 2> /dev/null
                go_on cut$cut --steps 10 2> /dev/null
                diff -r whole/step-00000010 cut$cut/step-00000010
            done
            """)
    }

    @Test func rulesAreHeldAgainstEveryModelToCome() throws {
        try expectWell(
            """
            pack --limit 12 > stream
            plan="--steps 9 --expand-at 6 layers=4,where=end"
            # In step 7 the larger model learns with layers that the smaller one does not have.
            learn --run a --model llama.json $plan --freeze '*@7-' --freeze '!model.layers.2.*@7-' < stream 2> /dev/null
            refused 64 "freeze: no parameter of the model has a name like 'model.layers.4" \\
                learn --run b --model llama.json $plan --freeze 'model.layers.4.*' < stream
            refused 64 "rate: no parameter of the model has a name like 'model.layers.4" \\
                learn --run b --model llama.json $plan --rate 'model.layers.4.*=2' < stream
            refused 64 "decay: no parameter of the model has a name like 'model.layers.4" \\
                learn --run b --model llama.json $plan --no-decay 'model.layers.4.*' < stream
            refused 64 'every parameter is frozen in step 6' \\
                learn --run b --model llama.json $plan --freeze '*@6-' --freeze '!model.layers.2.*@6-' < stream
            refused 64 'every parameter is frozen in step 7' \\
                learn --run b --model llama.json $plan --freeze '*@7-' < stream
            test ! -e b/latest
            """)
    }

    /// The same in a run of its own: the rules of a recipe are its beginning's.
    @Test func onlyNewBlocksLearnInANewRun() throws {
        try expectWell(
            """
            pack | learn --run small --model llama.json --steps 6
            ckpt-tool expand small/latest --output grown layers=4 > /dev/null
            test "$(ckpt-tool get grown manifest.expansions.0.new_layers)" = '[1,3]'
            pack --cursor "$(ckpt-tool get small/latest cursor)" | learn --run blocks --from grown --steps 4 \\
                --freeze '*' --freeze '!model.layers.1.*' --freeze '!model.layers.3.*'
            test "$(learned grown blocks/latest)" = "model.layers.1 model.layers.3"
            # A resumed run keeps its rules.
            ckpt-tool expand small/latest --run larger layers=4 > /dev/null
            pack --limit 9 > stream
            refused 64 'freeze differs' train-step --quiet --resume larger --steps 9 --freeze '*' --freeze '!model.layers.1.*' < stream
            grep -q 'begins a new run' errors
            """)
    }
}
