// How train-step is watched over, from outside: the guard's options, stopping early and staying stopped, hooks that are told
// and cannot interfere, and what a fatal error leaves.

import TestSupport
import Testing

@Suite struct TrainStepWatchTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(TrainStepWatchTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        cat > model.json <<'END'
        {"model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
        END
        \#(TrainerScript.data)
        pack --limit 2 > validation.batches
        learn() { train-step --quiet "$@"; }
        watched() { learn --validation validation.batches --eval-every 2 "$@"; }
        cursor() { ckpt-tool get "$1/latest" cursor; }
        \#(TrainerScript.refused)

        """#

    @Test func aRunThatHasStoppedStaysStopped() throws {
        try expectWell(
            """
            # Nothing improves by a thousand nats: the first evaluation counts, two more do not.
            pack | watched --run run --model model.json --steps 20 --patience 2 --min-delta 1000 --save-every 5 2> said
            grep -q 'stopped at step 6 of 20: 2 evaluations in a row did not improve' said
            test "$(ckpt-tool get run/latest status)" = stopped
            test "$(ckpt-tool get run/latest stopping.reason)" = patience
            test "$(ckpt-tool get run/latest step)" = 6
            tail -1 run/metrics.jsonl | grep -q '"stop":"patience"'
            find run -name state.json | sort | xargs cat > before
            # A resume trains no further, says why, reads nothing, and is no error; nor is it with more steps to go.
            for more in '' '--steps 40'; do
                learn --resume run $more < /dev/null 2> said
                grep -q 'stopped at step 6 of .*did not improve' said
            done
            find run -name state.json | sort | xargs cat | cmp - before
            # With other limits it goes on.
            pack --cursor "$(cursor run)" | learn --resume run --patience 3 2> said
            grep -q 'stopped at step 8' said
            pack --cursor "$(cursor run)" | learn --resume run --patience 0
            test "$(ckpt-tool get run/latest status)" = complete
            test "$(ckpt-tool get run/latest step)" = 20
            """)
    }

    @Test func aTargetLossIsAnEnd() throws {
        try expectWell(
            """
            pack | watched --run run --model model.json --steps 20 --learning-rate 0.01
            target=$(jq -s 'map(select(.validation_loss and .step == 8))[0].validation_loss' run/metrics.jsonl)
            pack | watched --run other --model model.json --steps 20 --learning-rate 0.01 --target-loss "$target" 2> said
            grep -q 'stopped at step 8 of 20: the validation loss .* has reached the target' said
            cmp run/step-00000008/model.safetensors other/latest/model.safetensors || test ! -e run/step-00000008
            """)
    }

    @Test func whereARunIsCutDoesNotDecideWhenItStops() throws {
        try expectWell(
            """
            policy="--patience 3 --min-delta 0.5 --guard-window 4 --guard-z 20"
            begin() { watched --run $1 --model model.json --schedule-steps 40 --learning-rate 0.003 --warmup 2 "${@:2}"; }
            pack | begin whole $policy --steps 40 2> said
            last=$(ckpt-tool get whole/latest step)
            for cut in 3 4 7; do
                pack | begin cut$cut $policy --steps $cut 2> said
                pack --cursor "$(cursor cut$cut)" | learn --resume cut$cut --steps 40 2> said
                diff -r whole/latest/ cut$cut/latest/
            done
            test "$last" -lt 40
            """)
    }

    @Test func optionsWithoutEffectAreRefused() throws {
        try expectWell(
            """
            new() { learn --run new --model model.json --steps 4 "$@" < /dev/null; }
            refused 64 'patience needs --eval-every' new --patience 3
            refused 64 'target-loss needs --eval-every' new --target-loss 3
            refused 64 'min-delta needs --patience' new --min-delta 3
            refused 64 'rollback needs --save-every' new --rollback
            refused 64 'max-skips is 0' new --max-skips 0
            refused 64 'guard window is 1' new --guard-window 1
            refused 64 'guard z is -1' new --guard-z=-1
            refused 64 'min delta is -1' new --validation validation.batches --eval-every 1 --patience 1 --min-delta=-1
            refused 64 'hook-timeout is 0' new --hook-timeout 0
            test ! -e new/latest
            """)
    }

    @Test func hooksAreToldWhatIsRecorded() throws {
        try expectWell(
            #"""
            tell='cat >> "$MILLRACE_RUN/../told"; echo "$MILLRACE_HOOK" >> "$MILLRACE_RUN/../names"; echo from the hook'
            pack | watched --run run --model model.json --steps 4 --save-every 3 \
                --on-checkpoint "$tell" --on-evaluation "$tell" --on-stop "$tell" > out 2> said
            test ! -s out
            grep -q 'from the hook' said
            grep -E '"(checkpoint|validation_loss|stop)":' run/metrics.jsonl > records
            cmp records told
            jq -r 'if .checkpoint then "on-checkpoint" elif .stop then "on-stop" else "on-evaluation" end' records | cmp - names
            test "$(jq -r .stop records | tail -1)" = complete
            test "$(jq -r 'select(.checkpoint) | .checkpoint' records | sort -u | tr '\n' ' ')" \
                = 'step-00000000 step-00000002 step-00000003 step-00000004 '
            for name in $(jq -r 'select(.checkpoint) | "\(.checkpoint):\(.checkpoint_bytes)"' records); do
                echo ${name#*:} > bytes-${name%:*}
            done
            # The best that is best no more has gone, and the last one was saved anew as that.
            for name in step-00000000 step-00000003 step-00000004; do
                test "$(cat run/$name/* | wc -c)" = "$(cat bytes-$name)"
            done
            # A resume does not inherit commands.
            pack --cursor "$(cursor run)" | learn --resume run --steps 6
            cmp records told
            """#)
    }

    @Test func hooksCannotInterfere() throws {
        try expectWell(
            #"""
            train() { pack | watched --run $1 --model model.json --steps 6 --save-every 2 "${@:2}"; }
            train quiet
            # They read the stream if they can, fail, are killed, write much, change directory, and leave a child behind.
            train loud --on-checkpoint 'cat > /dev/null; cat <&0; exit 3' --on-evaluation 'kill -9 $$' \
                --on-stop 'head -c 100000 /dev/zero | tr "\0" x; cd /; exec 0<&-; exit 1' 2> said
            diff -r quiet/latest/ loud/latest/
            grep -q 'command of --on-checkpoint failed: exit status 3' said
            grep -q 'command of --on-evaluation failed: killed by signal 9' said
            grep -q 'command of --on-stop failed: exit status 1' said
            grep -c '"hook":"on-checkpoint","hook_failure":"exit status 3"' loud/metrics.jsonl | grep -qx '[2-5]'
            # Neither do ones that never end.
            begin=$(date +%s)
            train slow --on-evaluation 'sleep 100 & echo $! >> children; sleep 100' --hook-timeout 0.2 2> said
            test $(($(date +%s) - begin)) -lt 30
            diff -r quiet/latest/ slow/latest/
            grep -q 'on-evaluation failed: ended after 0.2 seconds' said
            test -s children
            for child in $(cat children); do ! kill -0 $child 2> /dev/null || grep -q '^State:.Z' /proc/$child/status; done
            """#)
    }

    @Test func aSignalDuringAHookSavesAtOnce() throws {
        try expectWell(
            #"""
            for hook in on-checkpoint on-evaluation; do
                rm -rf run in
                pack > stream --limit 20
                train-step --quiet --validation validation.batches --eval-every 2 --save-every 2 --run run --model model.json \
                    --steps 12 --$hook 'trap "" TERM; test -e run/latest; touch in; sleep 30; sleep 30' \
                    --on-stop 'trap "" TERM; cat > stopped; sleep 30' < stream 2> said & trainer=$!
                until [ -e in ]; do sleep 0.02; done
                begin=$(date +%s%N)
                kill -TERM $trainer
                status=0; wait $trainer || status=$?
                took=$((($(date +%s%N) - begin) / 1000000))
                test $status = 75 || { echo "status $status"; cat said; exit 1; }
                test $took -lt 2000 || { echo "took $took ms"; exit 1; }
                grep -q '"stop":"interrupted"' stopped
                pack --cursor "$(cursor run)" | learn --resume run
                test -e whole || pack | watched --save-every 2 --run whole --model model.json --steps 12
                diff -r whole/latest/ run/latest/
            done
            """#)
    }

    @Test func aFatalErrorSavesWhatWasApplied() throws {
        try expectWell(
            #"""
            # At the evaluation of step 4 the place for gradients becomes a file: step 5 is applied, its gradient cannot be written.
            status=0
            pack | watched --run run --model model.json --steps 12 --dump-gradients out \
                --on-evaluation 'if grep -q "\"step\":4,"; then rm -r out; touch out; fi' 2> said || status=$?
            test $status = 73 || test $status = 74 || { cat said; exit 1; }
            grep -q '^hint: step 5 is saved' said
            test "$(ckpt-tool get run/latest step)" = 5
            tail -1 run/metrics.jsonl | grep -q '"stop":"failed","stop_reason":"'
            rm out
            pack --cursor "$(cursor run)" | learn --resume run
            pack | watched --run whole --model model.json --steps 12
            diff -r whole/latest/ run/latest/
            """#)
    }

    @Test func everyKeyOfARunIsDocumented() throws {
        try withTemporaryDirectory { directory in
            // The page lies in the sources, beside which the tests were built.
            let page =
                String(#filePath.dropLast("Tests/ToolTests/TrainStepWatchTests.swift".utf8.count)) + "docs/formats/"
            let result = try runShell(
                TrainStepWatchTests.setUp + #"""
                    set -e
                    pack | watched --run run --model model.json --steps 9 --save-every 3 --patience 1 --min-delta 9 \
                        --guard-window 2 --guard-z 0.001 --rollback --max-skips 2 --on-checkpoint 'exit 1' --norms-by-layer \
                        --ema 0.9 --eval-ema || true
                    for option in $(jq -r '.options | keys[]' run/run.json); do
                        grep '^| `options`' "$PAGES/metrics.md" | grep -q "\`$option\`" || { echo "not in metrics.md: $option"; exit 1; }
                    done
                    python3 - "$PAGES/metrics.schema.json" <<'END'
                    import json, re, sys
                    schema = json.load(open(sys.argv[1]))
                    properties = schema["properties"]
                    kinds = set()
                    for line in open("run/metrics.jsonl"):
                        for key, value in json.loads(line).items():
                            if key.endswith("_nonfinite"): continue
                            patterns = [rule for name, rule in schema["patternProperties"].items() if re.search(name, key)]
                            assert key in properties or patterns, key
                            assert not patterns or type(value) is float and value >= 0, (key, value)
                            rule = properties.get(key, {})
                            if "enum" in rule: assert value in rule["enum"], (key, value)
                            kinds.add(key)
                    assert {"guard", "checkpoint", "resident_bytes", "stop", "hook", "perplexity", "data_wait_seconds", "epoch", "fraction_of_peak",
                        "flops_per_second", "peak_flops_per_second", "update_norm", "gradient_outlier_group_layer_0",
                        "update_to_weight_ratio_group_attention", "activation_outlier_group_embedding"} <= kinds, kinds
                    END
                    """#, environment: ["PAGES": page], directory: directory)
            #expect(result.status == 0, "\(result.text)\(result.errors)")
        }
    }
}
