// ckpt-tool expand from outside: larger models that go on, with moments, state and a record of what was checked.

import TestSupport
import Testing

@Suite struct ExpandTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(ExpandTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        \#(TrainerScript.families(gpt2Layers: 1))
        \#(TrainerScript.refused)

        """#

    @Test(arguments: ["gpt2", "llama", "qwen2", "qwen3"])
    func everyFamilyGrowsInEveryWayAndGoesOn(family: String) throws {
        try expectWell(
            """
            pack | learn --run run --model \(family).json --steps 6 --schedule-steps 12
            policies="layers=4 intermediate=90 hidden=32 vocabulary=300 context=64"
            test \(family) = gpt2 || policies="$policies heads=8,key-value-heads=4"
            ckpt-tool expand run --run larger $policies > lines
            test "$(wc -l < lines)" = "$(echo $policies | wc -w)"
            awk -F '\\t' '$2 !~ /^exact/ || $3 > 1e-12 || $5 < $4 { print; exit 1 }' lines
            test "$(readlink larger/latest)" = step-00000006
            ckpt-tool verify larger
            for key in cursor tokens updates recipe data guard; do
                test "$(ckpt-tool get run/latest state.$key)" = "$(ckpt-tool get larger/latest state.$key)"
            done
            test "$(ckpt-tool get larger/latest state.expansions)" = "$(ckpt-tool get larger/latest manifest.expansions)"
            ckpt-tool get larger/latest state.expansions | grep -q '"step":6,"policy":"layers=4,how=identity,where=even","preserves":"exact"'
            go_on larger --steps 12
            test "$(ckpt-tool get larger/latest step)" = 12
            test "$(ckpt-tool get larger/latest vocab_size)" = 300
            ckpt-tool get larger/latest manifest.expansions | grep -q vocabulary=300
            # Parameters alone, for another run.
            ckpt-tool expand run/latest --output wide --intermediate 100 --how fresh > /dev/null
            ckpt-tool verify wide
            refused 64 'is a checkpoint, not a run' train-step --resume wide < /dev/null
            test ! -e wide/.lock
            pack | learn --run other --from wide --steps 2
            """)
    }

    /// The loss goes on where it stood: what a step of the larger model finds before it has learned anything.
    @Test func theFirstLossIsTheSmallerModels() throws {
        try expectWell(
            """
            pack | learn --run run --model llama.json --steps 20
            ckpt-tool expand run --run larger layers=5 intermediate=48 hidden=48 heads=8 > /dev/null
            cp -R run same
            go_on larger --steps 21
            go_on same --steps 21
            loss() { metrics-cat --to tsv "$1" | awk -F '\\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "train_loss") c = i } END { print $c }'; }
            awk -v a="$(loss larger)" -v b="$(loss same)" 'BEGIN { d = a - b; if (!(b > 0) || d > 1e-5 || d < -1e-5) { print a, b; exit 1 } }'
            """)
    }

    /// Expanding on the way, stopping and expanding by hand, and every interruption around it: the same bytes.
    @Test func wherePeopleOrSignalsStopARunDoesNotShow() throws {
        try expectWell(
            """
            plan="--expand-at 5 layers=3 intermediate=48 --expand-at 8 vocabulary=280"
            steps="--schedule-steps 12 --eval-every 5 --validation validation.batches --save-every 4"
            pack --limit 2 > validation.batches
            pack | learn --run whole --model qwen3.json --steps 12 $steps $plan 2> whole.log
            test "$(grep -c 'parameters, preserves exact' whole.log)" = 3
            last=$(readlink whole/latest)
            test "$(ckpt-tool get whole/latest num_hidden_layers)$(ckpt-tool get whole/latest vocab_size)" = 3280
            same() { diff -r "whole/$last" "$1/$last" && test "$(readlink "$1/best")" = "$(readlink whole/best)"; }
            # Cut after each step; the plan is in the state, and may be said again.
            for cut in 2 4 5 6 8 9; do
                pack | learn --run cut$cut --model qwen3.json --steps $cut $steps $plan 2> /dev/null
                go_on cut$cut --steps 12 $(test $cut = 6 && echo "$plan") 2> /dev/null
                same cut$cut
            done
            # By hand.
            pack | learn --run first --model qwen3.json --steps 5 $steps
            ckpt-tool expand first --run second layers=3 intermediate=48 > /dev/null
            go_on second --steps 8 $steps
            ckpt-tool expand second --run third vocabulary=280 > /dev/null
            go_on third --steps 12 $steps
            diff -r "whole/$last" "third/$last"
            # Another number of threads and micro-batches.
            pack | learn --threads 2 --micro-batches 4 --run threads --model qwen3.json --steps 12 $steps $plan 2> /dev/null
            same threads
            """)
    }

    /// A kill at any write of the expansion leaves the smaller checkpoint or the larger one, and ends in the same bytes.
    @Test func aKillDuringTheExpansionDoesNotShow() throws {
        try expectWell(
            """
            pack | learn --run whole --model llama.json --steps 6 --expand-at 3 hidden=32 2> /dev/null
            pack --limit 6 > stream
            killed=0
            for delay in 1 2 4 7 11 16 22 29; do
                rm -rf run
                train-step --quiet --learning-rate 1e-2 --run run --model llama.json --steps 6 --expand-at 3 hidden=32 \
                    < stream 2> /dev/null &
                process=$!
                # Killed some milliseconds after the checkpoint of step 3 appears.
                for i in $(seq 2000); do test -e run/step-00000003 && break; sleep 0.002; done
                sleep "0.0$(printf %02d $delay)"
                kill -KILL $process 2> /dev/null || true
                if wait $process; then :; else test $? = 137 && killed=$((killed + 1)); fi
                go_on run 2> /dev/null
                diff -r whole/step-00000006 run/step-00000006
            done
            # A kill that came too late proves nothing.
            test $killed -ge 2
            """)
    }

    /// A run that ckpt-tool begins is watched over as the old one was, and has its best checkpoint: what a resume without any
    /// option makes of it is what --expand-at makes.
    @Test(arguments: [("5", "layers=3"), ("6", "layers=3"), ("5", "layers=4,how=stack")])
    func theLargerRunIsWatchedOverAsTheSmallerOne(step: String, policy: String) throws {
        try expectWell(
            """
            watch="--validation validation.batches --eval-every 3 --patience 3 --rollback --save-every 2 --keep-last 9 --schedule-steps 13"
            pack --limit 2 > validation.batches
            pack | learn --run whole --model llama.json --steps 13 $watch --expand-at \(step) \(policy) 2> /dev/null
            pack | learn --run small --model llama.json --steps \(step) $watch
            mkdir away
            (cd away && ckpt-tool expand ../small/latest --run ../big \(policy) > ../lines 2> ../notes)
            test ! -s notes
            test "$(readlink big/best)" = "$(readlink small/best)"
            ckpt-tool get big/best step > /dev/null
            test "$(grep -c num_hidden big/run.json)" = 1
            grep -q "num_hidden_layers.: $(ckpt-tool get big/latest num_hidden_layers)" big/run.json
            (cd away && pack() { tok-pack --rows 4 --length 32 --seed 3 --epochs forever "$@" ../data; } && go_on ../big --steps 13)
            diff -r whole/step-00000013 big/step-00000013
            for link in latest best last-good; do test "$(readlink big/$link)" = "$(readlink whole/$link)"; done
            test -e big/step-00000008
            grep -q validation_loss big/metrics.jsonl
            ckpt-tool verify --deep big
            ckpt-tool verify small
            """)
    }

    @Test func whatALargerRunCannotHaveOfTheSmallerOneIsSaid() throws {
        try expectWell(
            """
            watch="--validation validation.batches --eval-every 3 --save-every 3 --schedule-steps 12"
            pack --limit 2 > validation.batches
            pack | learn --run small --model llama.json --steps 4 $watch
            test "$(readlink small/best)" = step-00000003
            cp -RL small/latest copy
            ckpt-tool expand copy --run lonely layers=3 > /dev/null 2> notes
            grep -q "^ckpt-tool: note: 'copy' is no step of a run" notes
            grep -q "^ckpt-tool: note: 'best' is missing until" notes
            test "$(wc -l < notes)" = 2
            test ! -L lonely/best
            # The larger checkpoint damaged: the smaller one that came along is none to go on from.
            ckpt-tool expand small --run damaged layers=3 > /dev/null
            printf x | dd of=damaged/step-00000004/model.safetensors bs=1 seek=999 conv=notrunc 2> /dev/null
            pack --limit 1 > stream
            again() { train-step --quiet --resume damaged --steps 5 "$@" < stream; }
            { again 2> said && exit 1; } || test $? = 65
            grep -q "passed over 'step-00000004'" said
            grep -q "'damaged': step 3, .* is of the model before it was made larger" said
            grep -q '^hint: --expand-at' said
            pack --cursor "$(ckpt-tool get damaged/step-00000003 cursor)" --limit 9 > stream
            again --expand-at 4 layers=3 2> /dev/null
            test "$(ckpt-tool get damaged/latest num_hidden_layers)" = 3
            printf x | dd of=small/step-00000003/model.safetensors bs=1 seek=999 conv=notrunc 2> /dev/null
            ckpt-tool expand small --run big layers=3 > /dev/null 2> notes
            grep -q "^ckpt-tool: note: 'best' is missing .* at byte 999" notes
            test ! -e big/step-00000003
            rm -r small/best small/step-00000003
            ckpt-tool expand small --run other layers=3 > /dev/null 2> notes
            grep -q "^ckpt-tool: note: 'best' is missing .* cannot open" notes
            """)
    }

    @Test func aPlanThatCannotBeIsToldBeforeTraining() throws {
        try expectWell(
            """
            pack --limit 9 > stream
            refused 64 'expand-at 4: GPT-2' learn --run a --model gpt2.json --steps 9 --expand-at 4 heads=4 < stream
            refused 64 'policy is missing' learn --run a --model gpt2.json --steps 9 --expand-at 4 < stream
            refused 64 'expected a step' learn --run a --model gpt2.json --steps 9 --expand-at layers=3 < stream
            refused 64 'expand-at 5: layers is 3' learn --run a --model gpt2.json --steps 9 --expand-at 5 layers=3 --expand-at 4 layers=4 < stream
            test ! -e a
            learn --run a --model gpt2.json --steps 6 --expand-at 3 layers=2 < stream 2> /dev/null
            refused 64 'at step 6 already' learn --resume a --steps 9 --expand-at 4 layers=3 < stream
            """)
    }

    /// Every optimizer's moments, a moving average, and freezing by name go through a change of all names.
    @Test(arguments: ["adamw", "lion", "muon", "sgd"])
    func everyOptimizerGoesOn(optimizer: String) throws {
        try expectWell(
            """
            options="--optimizer \(optimizer) --ema 0.9 --freeze model.layers.0.*@-4 --freeze model.layers.1.mlp*@3-6 --schedule-steps 12"
            plan="--expand-at 5 layers=4 hidden=32"
            pack | learn --run whole --model llama.json --steps 12 $options $plan 2> /dev/null
            for cut in 3 5 6 9; do
                pack | learn --run cut$cut --model llama.json --steps $cut $options $plan 2> /dev/null
                go_on cut$cut --steps 12 2> /dev/null
                diff -r whole/step-00000012 cut$cut/step-00000012
            done
            pack | learn --run first --model llama.json --steps 5 $options
            ckpt-tool expand first --run second layers=4 hidden=32 > /dev/null
            ckpt-tool get second state.own_updates | grep -q '"model.layers.1.mlp.up_proj.weight":0'
            go_on second --steps 12
            diff -r whole/step-00000012 second/step-00000012
            ckpt-tool verify whole
            """)
    }

    /// What is frozen where an expansion numbers layers anew: others are frozen from there on, and what learns then begins with
    /// moments of zero, wherever the run is cut.
    @Test(arguments: [
        "--optimizer lion --ema 0.9 --freeze *.layers.1.*", "--optimizer sgd --momentum 0 --freeze *.layers.0.*@4-",
        "--optimizer muon --freeze *.layers.1.*@1-6 --ema 0.5", "--freeze *.layers.2.*@2-7 --freeze *.layers.0.*",
    ])
    func frozenLayersThatAreNumberedAnewGoOn(recipe: String) throws {
        try expectWell(
            """
            set -f
            sed 's/"num_hidden_layers": 2/"num_hidden_layers": 3/' qwen3.json > deep.json
            recipe="--schedule-steps 9 --expand-at 5 layers=5 intermediate=48 \(recipe)"
            pack | learn --run whole --model deep.json --steps 9 $recipe 2> /dev/null
            for cut in 3 5 6 8; do
                pack | learn --run cut$cut --model deep.json --steps $cut $recipe 2> /dev/null
                go_on cut$cut --steps 9 2> /dev/null
                diff -r whole/latest/ cut$cut/latest/
            done
            ckpt-tool verify --deep whole
            """)
    }

    @Test func aStackIsToldToChangeTheFunction() throws {
        try expectWell(
            """
            pack | learn --run run --model llama.json --steps 4
            ckpt-tool expand run --output out --layers 4 --how stack > line
            awk -F '\\t' '$1 != "layers=4,how=stack,where=end" || $2 != "none" || $3 < 1e-6 { print; exit 1 }' line
            test "$(ckpt-tool get out manifest.expansions.0.tolerance)" = null
            test "$(ckpt-tool get out manifest.expansions.0.new_layers)" = '[2,3]'
            """)
    }

    @Test func theSameExpansionGivesTheSameBytes() throws {
        try expectWell(
            """
            pack | learn --run run --model qwen2.json --steps 3
            for i in 1 2; do ckpt-tool expand run --output out$i intermediate=60,seed=5 heads=8,how=fresh > /dev/null; done
            diff -r out1 out2
            ckpt-tool expand run --output out3 intermediate=60,seed=6 heads=8,how=fresh > /dev/null
            ! cmp -s out1/model.safetensors out3/model.safetensors
            """)
    }

    /// Of a model in parts: their index is not the larger model's.
    @Test func aModelInPartsBecomesOneFile() throws {
        try expectWell(
            """
            pack | learn --run run --model llama.json --steps 2
            ckpt-tool convert run/latest parts --dtype bf16 --shard-size 4KB
            test -e parts/model.safetensors.index.json
            ckpt-tool expand parts --output larger layers=3 > /dev/null
            test -e larger/model.safetensors
            test ! -e larger/model.safetensors.index.json
            test "$(grep -c index larger/manifest.json)" = 0
            ckpt-tool verify --deep parts larger
            """)
    }

    /// Several policies of one step, whichever comes first: what is checked and kept of each is what one after the other gives.
    @Test(arguments: [
        "heads=8,how=fresh vocabulary=300 layers=3,how=stack", "vocabulary=300 layers=3,how=stack",
        "context=20,how=extend layers=3,how=stack", "layers=3,how=stack vocabulary=300 layers=4,how=stack",
    ])
    func severalPoliciesAreCheckedAsOneAfterTheOther(policies: String) throws {
        try expectWell(
            """
            sed -i 's/"max_position_embeddings": 32/"max_position_embeddings": 16/' llama.json
            pack() { tok-pack --rows 4 --length 16 --seed 3 --epochs forever "$@" data; }
            pack | learn --run whole --model llama.json --steps 8 --schedule-steps 8 --expand-at 6 \(policies) 2> /dev/null
            pack | learn --run small --model llama.json --steps 6 --schedule-steps 8
            ckpt-tool expand small --run larger \(policies) > lines
            go_on larger --steps 8
            diff -r whole/step-00000008 larger/step-00000008
            """)
    }

    @Test func whatCannotBeIsRefusedAndLeavesNothing() throws {
        try expectWell(
            """
            pack | learn --run run --model gpt2.json --steps 2
            refused 64 'no policy' ckpt-tool expand run --output out
            refused 64 'either --output' ckpt-tool expand run layers=2
            refused 64 'either --output' ckpt-tool expand run --output larger --run other layers=2
            refused 64 'layers is 1' ckpt-tool expand run --output larger layers=1
            refused 64 'cannot grow alone' ckpt-tool expand run --output larger heads=4
            refused 64 'go with one option' ckpt-tool expand run --output larger --layers 2 --hidden 32 --how stack
            refused 64 "'depth'\\|expected layers" ckpt-tool expand run --output larger depth=4
            refused 64 'has a run already' ckpt-tool expand run --run run layers=2
            refused 73 'exists already' ckpt-tool expand run --output run layers=2
            refused 66 'no such directory' ckpt-tool expand nowhere --output larger layers=2
            mkdir plain && cp run/latest/config.json run/latest/model.safetensors plain
            refused 64 'no optimizer state\\|no file\\|state' ckpt-tool expand plain --run other layers=2
            ckpt-tool expand plain --output larger layers=2 > /dev/null
            ckpt-tool expand larger --output again vocabulary=300 > /dev/null
            test "$(ckpt-tool get again manifest.expansions.0.policy)" = layers=2,how=identity,where=even
            test "$(ckpt-tool get again manifest.expansions.1.policy)" = vocabulary=300
            # A damaged tensor is named, and nothing is left.
            cp -RL run/latest damaged
            printf x | dd of=damaged/model.safetensors bs=1 seek=$(($(stat -c %s damaged/model.safetensors) - 1)) conv=notrunc 2> /dev/null
            refused 65 'sha256 differs' ckpt-tool expand damaged --output broken layers=2
            test ! -e broken
            cp -R run torn && rm torn/step-00000002/model.safetensors && cp damaged/model.safetensors torn/step-00000002
            refused 65 'sha256 differs' ckpt-tool expand torn/step-00000002 --run broken layers=2
            test ! -e broken
            test -z "$(ls -d ./*.tmp 2> /dev/null)"
            """)
    }
}
