// The command line of train-step taken at its word: every hint is followed, options that would do nothing are refused, and what
// was refused leaves no trace.

import TestSupport
import Testing

@Suite struct TrainStepOptionTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(TrainStepOptionTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        cat > model.json <<'END'
        {"model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
        END
        \#(TrainerScript.data)
        pack --limit 2 > validation.batches
        learn() { train-step --quiet "$@"; }
        watched() { learn --validation validation.batches --eval-every 2 "$@"; }
        go_on() { pack --cursor "$(ckpt-tool get "$1/latest" cursor)" | learn --resume "$@"; }
        step() { ckpt-tool get "$1/latest" step; }
        # `!` is no reason for `set -e` to end a script.
        never() { if grep -q -e "$1" "$2"; then echo "'$1' in:"; cat "$2"; exit 1; fi; }
        \#(TrainerScript.refused)

        """#

    /// The first step of a decay still has the peak, so one of a single step would be none.
    @Test func withoutDecayStepsWSDDecaysAllTheSame() throws {
        try expectWell(
            """
            # decays NUMBER OPTIONS…: so many rates behind the warm-up are below the peak
            decays() {
                train-step --print-schedule --schedule wsd --learning-rate 1 "${@:2}" > printed
                found=$(tail -n +2 printed | awk -v warmup=$warmup '$1 > warmup && $2 < 1' | wc -l)
                [ $found = $1 ] || { echo "$found decay, not $1: ${*:2}"; cat printed; exit 1; }
            }
            warmup=0
            decays 9 --steps 100
            for steps in 2 3 9 10 19; do decays 1 --steps $steps; done
            decays 0 --steps 1
            warmup=30
            decays 9 --steps 100 --warmup 30
            # Seventy steps in cycles of twenty: each ends with a decay, whatever the warm-up.
            decays 3 --steps 100 --warmup 30 --restart-every 20
            test "$(awk -F'\\t' '$2 < 1 && $1 > 30 { printf "%s ", $1 }' printed)" = '50 70 90 '
            warmup=0
            decays 3 --steps 6 --restart-every 2
            # There is room for nothing, or for what the warm-up leaves.
            warmup=8
            decays 0 --steps 8 --warmup 8
            decays 1 --steps 10 --warmup 8
            # What a run was begun with stays, and is what the checkpoint holds.
            pack | learn --run run --model model.json --schedule wsd --schedule-steps 6 --steps 3
            test "$(ckpt-tool get run/latest recipe.decay_steps)" = 2
            go_on run --steps 30 --schedule-steps 30 --schedule wsd
            test "$(ckpt-tool get run/latest recipe.decay_steps)" = 2
            """)
    }

    @Test func theHintOfAStoppedRunIsTrue() throws {
        try expectWell(
            """
            pack | watched --run run --model model.json --steps 20 --patience 2 --min-delta 1000 2> said
            test "$(step run)" = 6
            patience=$(sed -n 's/^hint: --resume with --patience \\([0-9]*\\) or more goes on; --patience 0 asks for none$/\\1/p' said)
            test "$patience" = 3
            # What the hint does not name does not help.
            for other in '--min-delta 0' '--patience 1' '--patience 2' '--target-loss 5'; do
                learn --resume run $other < /dev/null 2> said
                grep -q "^hint: --resume with --patience $patience or more goes on" said
            done
            go_on run --patience $patience 2> said
            test "$(step run)" = 8
            grep -q '^hint: --resume with --patience 4 or more goes on' said
            go_on run --patience 0 2> said
            never hint said
            test "$(step run) $(ckpt-tool get run/latest status)" = '20 complete'

            for lower in yes no; do
                pack | watched --run target$lower --model model.json --steps 8 --target-loss 5.9 --learning-rate 0.01 2> said
                test "$(step target$lower)" -lt 8
                loss=$(sed -n 's/^hint: --resume with a --target-loss below \\([0-9.]*\\) goes on; -inf asks for none$/\\1/p' said)
                test -n "$loss"
                learn --resume target$lower --target-loss "$loss" < /dev/null 2> said
                grep -q '^hint: --resume with a --target-loss below' said
                limit=-inf
                test $lower = no || limit=$(python3 -c "import math, sys; print(math.nextafter(float(sys.argv[1]), 0))" $loss)
                before=$(step target$lower)
                go_on target$lower --target-loss $limit 2> said
                test "$(step target$lower)" -gt "$before"
                test $lower = yes || test "$(step target$lower) $(ckpt-tool get target$lower/latest status)" = '8 complete'
            done
            """)
    }

    @Test func theHintsOfTheGuardAreTrue() throws {
        try expectWell(
            """
            # Every update is an outlier by this measure, once the window is full.
            for how in window z; do
                pack | learn --run $how --model model.json --steps 20 --guard-window 2 --guard-z 1e-9 --max-skips 1 2> said \\
                    && exit 1
                grep -q '^hint: .*train-step --resume with --guard-window 0 or a larger --guard-z leaves out' said
            done
            go_on window --guard-window 0
            test "$(step window)" = 20
            go_on z --guard-z 1e9
            test "$(step z)" = 20
            # A batch in whose sums fp32 overflows: a model whose parameters are huge and finite.
            learn --run begin --model model.json --steps 0 < /dev/null
            mkdir wild && cp begin/latest/config.json begin/latest/model.safetensors wild
            python3 -c 'import json, struct
            with open("wild/model.safetensors", "r+b") as file:
                size, = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size))
                name = next(name for name in header if name.endswith("wte.weight"))
                start, end = header[name]["data_offsets"]
                file.seek(8 + size + start)
                file.write(struct.pack("<f", 3e38) * ((end - start) // 4))'
            pack | learn --run run --from wild --steps 9 --max-skips 2 2> said && exit 1
            grep -q 'steps in a row were skipped' said
            from=$(sed -n 's/^hint: .*train-step --run DIR --from \\([^ ]*\\) begins anew from them, with a lower --learning-rate$/\\1/p' said)
            test "$from" = run/latest
            learn --run anew --from "$from" --steps 0 --learning-rate 1e-6 < /dev/null
            cmp anew/latest/model.safetensors wild/model.safetensors
            """)
    }

    @Test func namesAreShownWhereThereIsNoCheckpoint() throws {
        try expectWell(
            """
            new() { pack --limit 1 | learn --run new --model model.json --steps 1 "$@"; }
            for option in '--freeze *.mpl.*' '--no-decay *.mpl.*' '--decay *.mpl.*' '--rate *.mpl.*=0.5'; do
                refused 64 "no parameter of the model has a name like '.*mpl" new $option
                never ckpt-tool errors
                # Each of the names that are shown is one, or a pattern that fits some.
                grep '^hint: ' errors | grep -o "'[^']*'" | tr -d "'" > names
                grep -qx 'transformer.h.\\*.mlp.c_fc.weight' names || grep -qx 'h.\\*.mlp.c_fc.weight' names
            done
            while read -r name; do names+=(--no-decay "$name"); done < names
            test ${#names[@]} -ge 20
            new "${names[@]}"
            """)
    }

    @Test func whatAResumeKeepsIsShownWhereThereIsSome() throws {
        try expectWell(
            """
            pack | learn --run bare --model model.json --steps 1
            refused 64 'freeze differs from the run.s recipe' learn --resume bare --freeze '*.h.0.*' < /dev/null
            never 'ckpt-tool get' errors
            refused 64 'lora .* differs' learn --resume bare --lora rank=2,targets=all < /dev/null
            never 'ckpt-tool get' errors
            pack | learn --run rich --model model.json --steps 1 --freeze '*.ln_f.*' --lora rank=2,targets=all
            refused 64 'freeze differs from the run.s recipe' learn --resume rich --freeze '*.h.0.*' < /dev/null
            grep -q 'ckpt-tool get CKPT recipe.freeze shows it' errors
            ckpt-tool get rich/latest recipe.freeze | grep -q ln_f
            refused 64 'lora .* differs' learn --resume rich --lora rank=3,targets=all < /dev/null
            grep -q 'ckpt-tool get CKPT lora shows them' errors
            ckpt-tool get rich/latest lora | grep -q rank
            """)
    }

    @Test func aNumberMayBeginWithAMinus() throws {
        try expectWell(
            """
            new() { learn --run new --model model.json --steps 4 "$@" < /dev/null; }
            for option in clip patience steps schedule-steps warmup learning-rate weight-decay decay-steps restart-every momentum \\
                epsilon lanes micro-batches threads guard-window guard-z max-skips hook-timeout eval-every save-every keep-last \\
                keep-every norms-every minimum-learning-rate beta1 beta2 ema seed; do
                refused 64 "[-]1" new --optimizer muon --schedule wsd --$option -1
                never 'Missing value' errors
            done
            watch() { watched --run new --model model.json --steps 4 "$@" < /dev/null; }
            refused 64 'min delta is -1.0' watch --patience 1 --min-delta -1
            refused 64 "invalid for '--clip <norm>'" new --clip --quiet
            refused 64 'Missing value' new --clip
            pack | watched --run run --model model.json --steps 4 --target-loss -inf
            test "$(step run)" = 4
            pack | watched --run other --model model.json --steps 4 --target-loss -3.5
            test "$(ckpt-tool get other/latest stopping.target_loss)" = -3.5
            """)
    }

    @Test func anOptionThatWouldDoNothingIsRefused() throws {
        try expectWell(
            """
            new() { learn --run new --model model.json --steps 4 "$@" < /dev/null; }
            refused 64 'hook-timeout needs --on-checkpoint' new --hook-timeout 3
            refused 64 'guard-z needs a window' new --guard-window 0 --guard-z 3
            refused 64 'minimum-learning-rate belongs to a schedule that falls' \\
                new --schedule constant --minimum-learning-rate 1e-5
            refused 64 'minimum-learning-rate belongs to a schedule that falls' \\
                train-step --print-schedule --steps 3 --schedule constant --minimum-learning-rate 1e-5
            refused 64 'min-delta needs --patience' watched --run new --model model.json --steps 4 --target-loss 1 --min-delta 1
            test ! -e new
            # Begun without, gone on with.
            pack | learn --run run --model model.json --steps 1 --schedule constant
            refused 64 'hook-timeout needs --on-checkpoint' learn --resume run --hook-timeout 3
            refused 64 'guard-z needs a window' learn --resume run --guard-window 0 --guard-z 3
            go_on run --steps 2 --hook-timeout 3 --on-stop true --guard-z 3 --schedule constant
            """)
    }

    @Test func aPatternOfAFileIsReportedUnderItsName() throws {
        try expectWell(
            """
            new() { pack --limit 1 | learn --run new --model model.json --steps 4 "$@"; }
            echo '[{"freeze": "*.wte.*"}, {"freeze": "*.h.7.*"}]' > policy.json
            refused 64 "freeze-policy 'policy.json': no parameter .* like '.*h.7" new --freeze-policy policy.json
            echo '[{"freeze": "*"}]' > policy.json
            refused 64 "freeze-policy 'policy.json': every parameter is frozen in step 1" new --freeze-policy policy.json
            refused 64 "freeze-policy 'policy.json' with --freeze: every parameter is frozen" \\
                new --freeze-policy policy.json --freeze '!*.h.0.*' --freeze '*.h.0.*'
            refused 64 "freeze: no parameter .* like '.*h.8" new --freeze-policy policy.json --freeze '*.h.8.*'
            test ! -e new
            new --freeze-policy policy.json --freeze '!*.h.0.*'
            echo '[{"freeze": "*.h.1.*"}]' > other.json
            refused 64 "freeze-policy 'other.json' differs" learn --resume new --freeze-policy other.json < /dev/null
            # A file may be about layers that are to come.
            echo '[{"freeze": "*.h.3.*", "from": 3}]' > policy.json
            rm -r new
            new --freeze-policy policy.json --expand-at 2 layers=4
            """)
    }

    @Test func aRunThatNeverBeganLeavesNothing() throws {
        try expectWell(
            """
            new() { learn --run "$1" --model model.json --steps 4 "${@:2}"; }
            pack --limit 1 > stream
            refused 64 'no parameter' new a/b/run --freeze '*.h.7.*' < stream
            test ! -e a
            echo nonsense > wrong
            refused 65 '' new run < wrong
            test ! -e run
            # What was there stays: a directory, and files in it.
            mkdir a
            refused 64 'no parameter' new a/b/run --freeze '*.h.7.*' < stream
            test "$(find a)" = a
            refused 64 'no parameter' new a --freeze '*.h.7.*' < stream
            test "$(find a)" = a
            echo mine > a/notes
            refused 64 'no parameter' new a --freeze '*.h.7.*' < stream
            test "$(cat a/notes)" = mine
            rm a/.lock
            # A lock that another made stays.
            mkdir held; : > held/.lock
            refused 64 'no parameter' new held --freeze '*.h.7.*' < stream
            test -e held/.lock
            # While a run waits for its first batch, another is kept out, and takes nothing away when it is refused.
            mkfifo pipe
            new waiting < pipe & runner=$!
            exec 9> pipe
            until [ -e waiting/.lock ]; do sleep 0.02; done
            refused 73 'in use by' new waiting < stream
            test -e waiting/.lock
            cat stream >&9
            exec 9>&-
            wait $runner
            test "$(step waiting)" = 1
            """)
    }

    @Test func aCheckpointIsToldOnce() throws {
        try expectWell(
            """
            names() { jq -r 'select(.checkpoint) | .checkpoint' "$1/metrics.jsonl"; }
            # The last evaluation is the best, at the end and where the target is reached.
            pack | watched --run run --model model.json --steps 6 --learning-rate 0.01 --on-checkpoint 'echo >> told'
            test "$(readlink run/best)" = step-00000006
            test "$(readlink run/latest)" = step-00000006
            test "$(names run | sort | uniq -d)" = ''
            test "$(names run | wc -l)" = "$(wc -l < told)"
            target=$(jq -s 'map(select(.validation_loss and .step == 4))[0].validation_loss' run/metrics.jsonl)
            pack | watched --run early --model model.json --steps 6 --learning-rate 0.01 --target-loss "$target"
            test "$(readlink early/best) $(readlink early/latest)" = 'step-00000004 step-00000004'
            test "$(names early | sort | uniq -d)" = ''
            """)
    }

    @Test func whatIsTypedCannotDriveTheTerminal() throws {
        try expectWell(
            """
            harmless() { ! LC_ALL=C grep -q $'[^\\x20-\\x7e]' errors || { od -c errors; exit 1; }; }
            bad=$'\\e[31mX\\nY\\r\\u202ez'
            refused 64 'schedule' train-step --schedule "$bad"
            harmless
            grep -qF '\\u{1b}[31mX\\u{a}Y' errors
            refused 64 'nope' train-step "--nope$bad"
            harmless
            refused 64 'Unexpected argument' train-step "$bad"
            harmless
            refused 66 'no run in' train-step --resume "$bad"
            harmless
            for tool in tok-shard tok-pack ckpt-tool metrics-cat; do
                refused 64 '' $tool "--nope$bad"
                harmless
            done
            pack | learn --run "$bad" --model model.json --steps 1
            refused 64 'has a run already' learn --run "$bad" --model model.json --steps 1 < /dev/null
            harmless
            """)
    }
}
