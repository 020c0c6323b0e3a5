// What is planned by --expand-at and what somebody does meanwhile: a plan that can no longer be followed is told at once, and
// can be given up.

import TestSupport
import Testing

@Suite struct ExpandPlanTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(ExpandPlanTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        \#(TrainerScript.families(gpt2Layers: 1))
        \#(TrainerScript.refused)

        """#

    @Test func anExpansionByHandThatThePlanCannotFollowIsRefused() throws {
        try expectWell(
            """
            pack | learn --run planned --model llama.json --steps 4 --schedule-steps 12 --expand-at 8 layers=3 2> /dev/null
            refused 64 'larger model cannot go through planned_expansions of state.json, step 8: layers is 3' \\
                ckpt-tool expand planned --run larger layers=4
            grep -q '^hint: --drop-planned' errors
            test ! -e larger
            # A plan that can be followed stays.
            ckpt-tool expand planned --run wider intermediate=48 > /dev/null
            ckpt-tool get wider/latest state.planned_expansions | grep -q layers=3
            ckpt-tool expand planned --run larger --drop-planned layers=4 > /dev/null
            refused 65 "planned_expansions" ckpt-tool get larger/latest state.planned_expansions
            go_on larger --steps 12
            test "$(ckpt-tool get larger/latest num_hidden_layers)" = 4
            """)
    }

    @Test func aPlanCanBeGivenUp() throws {
        try expectWell(
            """
            options="--model llama.json --schedule-steps 12"
            pack | learn --run plain $options --steps 12
            pack | learn --run planned $options --steps 4 --expand-at 8 layers=3 2> /dev/null
            go_on planned --steps 12 --expand-at none
            diff -r plain/step-00000012 planned/step-00000012
            pack | learn --run new $options --steps 12 --expand-at none
            diff -r plain/step-00000012 new/step-00000012
            # Rules about layers that never came stay in the recipe, and are no reason not to go on.
            pack | learn --run rules $options --steps 4 --expand-at 8 layers=3 --rate 'model.layers.2.*=2' 2> /dev/null
            go_on rules --steps 12 --expand-at none
            """)
    }

    /// Whoever resumes is told of the state, not of an option that was not given.
    @Test func aResumeNamesTheStateAndTheWayOut() throws {
        try expectWell(
            """
            pack | learn --run planned --model llama.json --steps 4 --schedule-steps 12 --expand-at 8 layers=3 2> /dev/null
            pack --limit 12 > stream
            refused 64 "planned_expansions in state.json, step 8: layers is 2, expected" \\
                train-step --quiet --resume planned --steps 12 --expand-at 8 layers=2 < stream
            grep -q '^hint: .*--expand-at none drops them' errors
            """)
    }

    @Test func aPlanBehindTheEndIsSaid() throws {
        try expectWell(
            """
            pack | learn --run run --model llama.json --steps 5 --schedule-steps 9 --expand-at 5 layers=3 2> said
            grep -q "^train-step: 'layers=3,how=identity,where=even' is planned for step 5; the run goes to step 5" said
            test "$(wc -l < said)" = 1
            test "$(ckpt-tool get run/latest num_hidden_layers)" = 2
            go_on run --steps 9 2> said
            ! grep 'is planned' said || exit 1
            test "$(ckpt-tool get run/latest num_hidden_layers)" = 3
            """)
    }

    /// What is made larger before the first step may have rows and ids that only the larger model takes.
    @Test func theFirstBatchIsForTheModelThatLearnsFromIt() throws {
        try expectWell(
            """
            sed 's/"max_position_embeddings": 32/"max_position_embeddings": 16/' llama.json > short.json
            sed -i 's/"vocab_size": 257/"vocab_size": 100/' short.json
            pack --limit 2 > validation.batches
            watch="--validation validation.batches --eval-every 2"
            plan="--expand-at 0 context=32 vocabulary=257"
            pack | learn --run run --model short.json --steps 4 $watch $plan 2> said
            grep -c preserves said | grep -qx 2
            test "$(ckpt-tool get run/latest max_position_embeddings)" = 32
            pack | learn --run cut --model short.json --steps 0 --schedule-steps 4 $watch $plan 2> /dev/null
            go_on cut --steps 4 2> /dev/null
            diff -r run/step-00000004 cut/step-00000004
            pack --limit 9 > stream
            refused 65 "the model has 100" learn --run later --model short.json --steps 4 --expand-at 2 context=32 vocabulary=257 < stream
            """)
    }
}
