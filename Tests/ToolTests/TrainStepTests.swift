// train-step from outside, beside the laws: what it keeps, what it refuses, and what it says.

import TestSupport
import Testing

@Suite struct TrainStepTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(TrainStepTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        cat > model.json <<'END'
        {"model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
        END
        \#(TrainerScript.data)
        pack --limit 2 > validation.batches
        learn() { train-step --quiet "$@"; }
        \#(TrainerScript.refused)

        """#

    @Test func onlyTheBestOfThePeriodicEvaluationsStays() throws {
        try expectWell(
            """
            pack | learn --run run --model model.json --steps 12 --validation validation.batches --eval-every 1
            best=$(readlink run/best)
            for name in $(cd run && ls -d step-*); do
                case $name in step-00000000 | step-00000012 | $best) ;; *) echo "left: $name"; exit 1 ;; esac
            done
            """)
    }

    @Test func lastGoodIsTheNewestWithAFiniteLoss() throws {
        try expectWell(
            """
            pack | learn --run run --model model.json --steps 5 --save-every 2
            test "$(readlink run/last-good)" = step-00000005
            # Cut at step 7: step 6 was saved, and step 7's loss was computed with its parameters.
            pack --cursor "$(ckpt-tool get run/latest cursor)" --limit 2 | head -c -40 | learn --resume run --steps 9 && exit 1
            test "$(readlink run/latest)" = step-00000007
            test "$(readlink run/last-good)" = step-00000006
            """)
    }

    /// A row of the embedding that no batch uses: the loss is finite, the checkpoint is not.
    @Test func nothingBeginsFromWhatIsNotFinite() throws {
        try expectWell(
            """
            cat > untied.json <<'END'
            {"model_type": "llama", "vocab_size": 257, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": false}
            END
            learn --run begin --model untied.json --steps 0 < /dev/null
            mkdir wild && cp begin/latest/config.json begin/latest/model.safetensors wild
            python3 -c 'import json, struct
            with open("wild/model.safetensors", "r+b") as file:
                size, = struct.unpack("<Q", file.read(8))
                tensor = json.loads(file.read(size))["model.embed_tokens.weight"]
                file.seek(8 + size + tensor["data_offsets"][0] + 4 * 16 * 200); file.write(struct.pack("<f", float("nan")))'
            pack --limit 9 > input
            refused 65 "'wild': tensor 'model.embed_tokens.weight' has elements that are not finite" \
                learn --run run --from wild --steps 4 --save-every 2 < input
            test ! -e run/latest && test ! -e run/last-good
            """)
    }

    @Test func twoWritersAreOneTooMany() throws {
        try expectWell(
            """
            mkfifo slow
            exec 3<> slow
            train-step --quiet --run run --model model.json --steps 4 < slow & trainer=$!
            pack --limit 1 | head -c -17 >&3
            until grep -q resident_bytes run/metrics.jsonl; do sleep 0.02; done 2> /dev/null
            find run -type f ! -name .lock -exec cksum {} + | sort > before
            refused 73 "'run' is in use by process $trainer" learn --resume run < /dev/null
            refused 73 "'run' is in use by process $trainer" learn --run run --model model.json --steps 2 < /dev/null
            find run -type f ! -name .lock -exec cksum {} + | sort | cmp - before
            kill -9 $trainer; wait $trainer || true
            pack | learn --resume run --steps 4
            test "$(ckpt-tool get run/latest step)" = 4
            """)
    }

    @Test func oldCheckpointsGoAndTheOnesThatMatterStay() throws {
        try expectWell(
            """
            pack | learn --run run --model model.json --steps 12 --save-every 1 --keep-last 2 --keep-every 5
            test "$(cd run && echo step-*)" = 'step-00000000 step-00000005 step-00000010 step-00000011 step-00000012'
            grep -q '"keep_every": 5' run/run.json
            # As the run was begun, so it goes on; --keep is --keep-last.
            pack --cursor "$(ckpt-tool get run/latest cursor)" | learn --resume run --steps 15
            test "$(cd run && echo step-*)" = 'step-00000000 step-00000005 step-00000010 step-00000014 step-00000015'
            pack | learn --run only --model model.json --steps 5 --save-every 1 --keep 1
            test "$(cd only && echo step-*)" = step-00000005
            pack | learn --run every --model model.json --steps 5 --save-every 1 --keep-every 2
            test "$(cd every && echo step-*)" = 'step-00000000 step-00000002 step-00000004 step-00000005'
            refused 64 'keep-last is -1' learn --run new --model model.json --steps 1 --keep-last=-1 < /dev/null
            """)
    }

    /// A save takes long, and the loop does not wait for it; whoever ends the run does, and what was not saved is not told.
    #if os(Linux)
        @Test func savingGoesOnBesideTraining() throws {
            try expectWell(
                """
                pack --limit 9 > input
                learn --run whole --model model.json --steps 8 --save-every 4 < input
                # Every flush takes a third of a second: steps go on meanwhile, and the end waits.
                strace -f -qq -o calls -e trace=fsync -e inject=fsync:delay_enter=300000 \
                    train-step --quiet --run run --model model.json --steps 8 --save-every 4 < input & tracer=$!
                until grep -q '"step":8,' run/metrics.jsonl 2> /dev/null; do sleep 0.01; done
                test ! -e run/step-00000004
                wait $tracer
                diff -r whole/step-00000008 run/step-00000008
                diff -r whole/step-00000004 run/step-00000004
                test "$(readlink run/latest) $(readlink run/last-good)" = 'step-00000008 step-00000008'
                # A checkpoint that cannot be flushed ends the run although the loop was past it; nothing was announced.
                rm -rf run
                status=0
                strace -f -y -qq -o calls -e trace=fsync -e inject=fsync:error=EIO:when=12+ \
                    train-step --quiet --run run --model model.json --steps 8 --save-every 4 < input 2> errors || status=$?
                test $status = 74
                test "$(grep -vc '^hint: ' errors)" = 1
                test "$(readlink run/latest)" = step-00000000
                """)
        }
    #endif

    @Test func aValidationStreamThatBreaksLosesNothing() throws {
        try expectWell(
            """
            head -c -9 validation.batches > torn
            refused 65 torn bash -c 'tok-pack --rows 4 --length 32 --seed 3 --epochs forever data | train-step --quiet \\
                --run run --model model.json --steps 9 --validation torn --eval-every 6'
            grep -q 'step 6 is saved' errors
            test "$(ckpt-tool get run/latest step)" = 6
            """)
    }

    @Test func whatDoesNotFitTheModelIsToldBeforeTraining() throws {
        try expectWell(
            """
            tok-pack --rows 1 --length 33 --limit 1 data > long
            pack --limit 3 > stream
            refused 65 'rows of 33' learn --run a --model model.json --steps 2 --validation long < stream
            refused 65 'rows of 33' learn --run b --model model.json --steps 2 < long
            sed 's/257/256/' model.json > small.json
            refused 65 'ids up to 256' learn --run c --model small.json --steps 2 < stream
            sed 's/"n_embd": 16/"n_embd": 65536/; s/"n_head": 2/"n_head": 1024/' model.json > huge.json
            refused 65 'MiB of memory' learn --run d --model huge.json --steps 2 < stream
            sed 's/"n_embd": 16/"n_embd": 1024/; s/"n_head": 2/"n_head": 16/; s/"n_layer": 1/"n_layer": 6/' model.json > large.json
            refused 65 'MiB of memory' bash -c 'ulimit -v 1000000
                train-step --quiet --run e --model large.json --steps 2 < stream'
            learn --run f --model model.json --steps 0 < /dev/null
            mkdir hollow && cp f/latest/model.safetensors hollow && cp huge.json hollow/config.json
            refused 65 'has shape' ckpt-tool evaluate hollow < stream
            refused 65 'has shape' ckpt-tool sample hollow --ids 1
            """)
    }

    /// Every optimizer, in one go and in two parts, with other threads and instruction sets: one sequence of bytes.
    @Test(arguments: [
        "lion", "sgd", "sgd --momentum 0 --weight-decay 0.1", "sgd --nesterov", "muon",
        "muon --muon-scale original --no-nesterov",
        "adamw --no-decay *.wte.* --decay *.ln_?.* --rate *.mlp.*=0.5 --rate *.c_fc.*=2",
    ])
    func everyOptimizerResumesToTheSameBytes(optimizer: String) throws {
        try expectWell(
            """
            set -f
            recipe="--schedule-steps 6 --learning-rate 0.01 --optimizer \(optimizer)"
            pack | learn --run whole --model model.json --steps 6 --threads 2 $recipe
            pack | MILLRACE_ISA=scalar learn --run parts --model model.json --steps 3 --threads 1 $recipe
            pack --cursor "$(ckpt-tool get parts/latest cursor)" | learn --resume parts --steps 6 --threads 3 $recipe
            diff -r whole/latest/ parts/latest/
            test "$(ckpt-tool get whole/latest recipe.optimizer)" = '\(optimizer.prefix { $0 != " " })'
            if ckpt-tool diff --quiet whole/step-00000000 whole/latest; then exit 1; fi
            """)
    }

    /// The average is that of the parameters after each update, survives a cut, and can be evaluated and taken out.
    @Test func averagedWeightsAreKeptEvaluatedAndTakenOut() throws {
        try expectWell(
            """
            recipe="--schedule-steps 6 --learning-rate 0.01 --ema 0.75"
            watch="--validation validation.batches --eval-every 3"
            pack | learn --run whole --model model.json --steps 6 $recipe $watch --eval-ema
            pack | learn --run parts --model model.json --steps 2 $recipe $watch --eval-ema
            pack --cursor "$(ckpt-tool get parts/latest cursor)" | learn --resume parts --steps 6 $recipe
            diff -r whole/latest/ parts/latest/
            # Without --ema the parameters are the same, and the file is not there.
            pack | learn --run plain --model model.json --steps 6 --schedule-steps 6 --learning-rate 0.01 $watch
            ckpt-tool diff --quiet whole/latest plain/latest
            test ! -e plain/latest/ema.safetensors
            # At the beginning the average is the parameters.
            ckpt-tool ema whole/step-00000000 first
            ckpt-tool diff --quiet whole/step-00000000 first
            ckpt-tool ema whole/latest taken
            ckpt-tool verify taken
            if ckpt-tool diff --quiet whole/latest taken; then exit 1; fi
            # What --eval-ema reports is the loss of what is taken out.
            loss() { metrics-cat --select validation_loss --to tsv "$1" | tail -n 1 | cut -f 2; }
            test "$(loss whole)" = "$(loss parts)"
            test "$(loss whole)" != "$(loss plain)"
            test "$(loss whole)" = "$(ckpt-tool evaluate taken < validation.batches | grep -o '[0-9.e-]*' | grep -Fx "$(loss whole)")"
            refused 73 'taken' ckpt-tool ema whole/latest taken
            refused 66 'has no .ema.safetensors' ckpt-tool ema plain/latest other
            refused 64 'eval-ema needs --ema' learn --run new --model model.json --steps 1 $watch --eval-ema < /dev/null
            refused 64 'ema is 1.0' learn --run new --model model.json --steps 1 --ema 1 < /dev/null
            refused 64 'ema is 0.5, the run.s recipe has 0.75' learn --resume whole --ema 0.5 < /dev/null
            """)
    }

    /// Layers thaw one after the other, the embedding freezes: cut anywhere, the same bytes; moments only of what learned last;
    /// what began later counts its own updates.
    @Test func freezingSurvivesAResume() throws {
        try expectWell(
            """
            set -f
            sed 's/"n_layer": 1/"n_layer": 3/' model.json > deep.json
            cat > policy.json <<'END'
            [{"freeze": "*.h.0.*", "to": 4}, {"freeze": "*.h.1.*", "to": 2}, {"freeze": "*.wte.*", "from": 4}]
            END
            for optimizer in adamw muon; do
                recipe="--schedule-steps 7 --learning-rate 0.01 --optimizer $optimizer --freeze-policy policy.json --freeze *wpe*"
                rm -rf whole parts
                pack | learn --run whole --model deep.json --steps 7 --save-every 1 --threads 2 $recipe
                pack | learn --run parts --model deep.json --steps 1 $recipe
                for step in 2 3 4 7; do
                    pack --cursor "$(ckpt-tool get parts/latest cursor)" | learn --resume parts --steps $step --threads 1
                done
                diff -r whole/latest/ parts/latest/
                absent() { if grep -q "$1"; then echo "unexpected: $1"; exit 1; fi; }
                equal() { (ckpt-tool diff whole/step-0000000$1 whole/step-0000000$2 || true) | grep ^equal | cut -f 5 | sort; }
                # Frozen is untouched, by decay too; everything else moves.
                equal 0 7 > same; test "$(cat same)" = transformer.wpe.weight
                equal 0 4 | grep -v wpe > same
                grep -F .h.0. <(ckpt-tool list whole/latest) | cut -f 1 | sort | cmp - same
                equal 3 7 | grep -q wte
                equal 2 3 | absent wte
                moments() { ckpt-tool list --optimizer whole/step-0000000$1 | cut -f 1; }
                moments 2 | absent '[.]h[.][01][.]'
                moments 3 | grep -q '[.]h[.]1[.]'; moments 4 | absent '[.]h[.]0[.]'; moments 5 | grep -q '[.]h[.]0[.]'
                moments 3 | grep -q wte; moments 4 | absent wte; moments 7 | absent wpe
                test "$(ckpt-tool get whole/latest own_updates.transformer.h.0.ln_1.weight)" = 3
                test "$(ckpt-tool get whole/latest own_updates.transformer.h.1.ln_1.weight)" = 5
                ckpt-tool get whole/latest own_updates.transformer.h.2.ln_1.weight 2> /dev/null && exit 1
                refused 64 'freeze differs' learn --resume parts --freeze '*.h.0.*' < /dev/null
            done
            """)
    }

    @Test func onlyWhatLearnsHasGradientsAndANorm() throws {
        try expectWell(
            """
            set -f
            pack --limit 2 > stream
            learn --run all --model model.json --steps 1 --dump-gradients all.d < stream
            learn --run some --model model.json --steps 1 --dump-gradients some.d --freeze '*' --freeze '!*.mlp.*' < stream
            norm() { metrics-cat --select gradient_norm --to tsv "$1" | tail -n 1 | cut -f 2; }
            test "$(norm all)" != "$(norm some)"
            head -c 4000 some.d/step-00000001.safetensors | tr -d '\\0' | grep -a -o '"transformer[^"]*"' | sort > names
            test "$(wc -l < names)" = 4
            grep -c mlp names | grep -qx 4
            refused 64 'every parameter is frozen in step 1' learn --run none --model model.json --steps 1 --freeze '*' < stream
            refused 64 "freeze: no parameter" learn --run none --model model.json --steps 1 --freeze '*.h.7.*' < stream
            refused 64 "expected GLOB or GLOB@FROM-TO" learn --run none --model model.json --steps 1 --freeze '*@3' < stream
            echo '[{"freeze": "*", "until": 3}]' > policy.json
            refused 65 "rule 0: unknown key 'until'" learn --run none --model model.json --steps 1 --freeze-policy policy.json < stream
            """)
    }

    @Test func optionsOfOtherOptimizersAndPatternsThatFitNothingAreRefused() throws {
        try expectWell(
            """
            new() { pack --limit 3 | train-step --quiet --run new --model model.json --steps 2 "$@"; }
            refused 64 'momentum belongs to sgd, muon; the optimizer is adamw' new --momentum 0.9
            refused 64 'beta1 belongs to' new --optimizer sgd --beta1 0.9
            refused 64 'muon-scale belongs to muon' new --optimizer lion --muon-scale rms
            refused 64 'nesterov is true' new --optimizer sgd --momentum 0 --nesterov
            refused 64 "no-decay: no parameter .* like '.*mpl" new --no-decay '*.mpl.*'
            refused 64 "expected GLOB=FACTOR" new --rate '*.mlp.*'
            refused 64 "rate of '.*' is -1.0" new --rate '*.mlp.*=-1'
            pack | learn --run run --model model.json --schedule-steps 4 --steps 2 --optimizer lion --rate '*.mlp.*=0.5'
            refused 64 'optimizer is sgd, the run.s recipe has lion' learn --resume run --optimizer sgd < /dev/null
            refused 64 'keeps: .*mlp' learn --resume run --rate '*=0.5' < /dev/null
            """)
    }

    @Test func aRecipeMayBeRepeatedButNotChanged() throws {
        try expectWell(
            """
            recipe="--seed 4 --warmup 2 --clip 0 --learning-rate 1e-3"
            pack | learn --run run --model model.json --schedule-steps 4 $recipe
            test "$(ckpt-tool get run/latest step)" = 4
            pack --cursor "$(ckpt-tool get run/latest cursor)" | learn --resume run --steps 6 $recipe
            refused 64 'warmup is 3, the run.s recipe has 2' learn --resume run --warmup 3 < /dev/null
            refused 64 'needs --steps' learn --run new --model model.json < /dev/null
            refused 64 'learning rate' learn --run new --model model.json --steps 1 --learning-rate 1e20 < /dev/null
            refused 64 'weight decay' learn --run new --model model.json --steps 1 --weight-decay 1e300 < /dev/null
            refused 64 'beta2' learn --run new --model model.json --steps 1 --beta2 0.5 < /dev/null
            cp model.json config.json
            refused 64 "named 'config.json'" learn --run new --model model.json --steps 1 --tokenizer config.json < /dev/null
            """)
    }

    @Test func aRunFollowsTheScheduleThatIsPrinted() throws {
        try expectWell(
            """
            for schedule in 'constant' 'linear' 'cosine --restart-every 3' 'wsd --decay-steps 4' 'inverse-sqrt'; do
                recipe="--steps 9 --warmup 3 --learning-rate 0.001 --schedule $schedule"
                train-step --print-schedule $recipe > printed
                rm -rf run
                # In two parts: a rate depends on nothing but the step.
                pack | learn --run run --model model.json $recipe --steps 5 --schedule-steps 9
                pack --cursor "$(ckpt-tool get run/latest cursor)" | learn --resume run $recipe
                # The checkpoint of step 0 has a record, and so a row, without a rate.
                metrics-cat --to tsv --select learning_rate run | awk -F'\t' '$2 != ""' > trained
                cmp printed trained
                train-step --print-schedule --resume run | cmp printed -
            done
            refused 64 'schedule is linear' learn --resume run --schedule linear
            refused 64 'steps is -3' train-step --print-schedule --resume run --steps=-3
            refused 64 'schedule is -3' train-step --print-schedule --schedule-steps=-3
            refused 64 'decay is 9' train-step --print-schedule --steps 10 --warmup 2 --schedule wsd --decay-steps 9
            refused 64 'restart is 2' train-step --print-schedule --steps 10 --schedule constant --restart-every 2
            refused 64 'decay is 2' train-step --print-schedule --steps 10 --decay-steps 2
            """)
    }

    @Test func aStreamThatBeginsElsewhereIsToldTheCursor() throws {
        try expectWell(
            """
            pack | learn --run run --model model.json --steps 2 --save-every 1
            # The latest checkpoint is damaged: an older one is gone back to, whose cursor a shell cannot know.
            printf x | dd of=run/step-00000002/model.safetensors bs=1 conv=notrunc \\
                seek=$(($(stat -c %s run/step-00000002/model.safetensors) - 50)) 2> /dev/null
            pack --cursor "$(ckpt-tool get run/latest cursor)" | learn --resume run --steps 4 2> errors && exit 1
            grep -q 'passed over' errors
            cursor=$(sed -n 's/^hint: tok-pack --cursor \\([^ ]*\\) .*/\\1/p' errors)
            tok-pack --rows 4 --length 32 --seed 3 --epochs forever --cursor "$cursor" data | learn --resume run --steps 4
            test "$(ckpt-tool get run/latest step)" = 4
            """)
    }

    @Test func gradientsAreWrittenUnderTheParametersNames() throws {
        try expectWell(
            """
            pack | learn --run run --model model.json --steps 2 --dump-gradients out/gradients
            test "$(ls out/gradients | tr '\\n' ' ')" = 'step-00000001.safetensors step-00000002.safetensors '
            mkdir as && cp run/latest/config.json as && cp out/gradients/step-00000002.safetensors as/model.safetensors
            ckpt-tool list run/latest > names
            ckpt-tool list as | cmp - names
            head -c 300 out/gradients/step-00000002.safetensors | grep -q '"gradient_norm":"[0-9.]*","loss":"[0-9.]*","step":"2"'
            """)
    }

    #if os(Linux)
        @Test(arguments: [
            "--recompute none", "--recompute layer", "--freeze *.h.* --freeze !*.ln_?.*", "--lora rank=16,targets=all",
        ])
        func theMemoryPlanIsWhatARunTakes(options: String) throws {
            try expectWell(
                """
                sed 's/"n_embd": 16/"n_embd": 256/; s/"n_layer": 1/"n_layer": 4/; s/"n_head": 2/"n_head": 4/' model.json > wide.json
                tok-pack --rows 64 --length 32 --epochs forever --limit 3 data > wide.batches
                python3 -c 'if True:
                    import os, re, subprocess, sys
                    command = "train-step --threads 2 --run run --model wide.json --steps 2 \(options)"
                    run = subprocess.Popen(command.split(), stdin=open("wide.batches"), stderr=subprocess.PIPE, text=True)
                    said = run.stderr.read()
                    _, status, usage = os.wait4(run.pid, 0)
                    number, prefix = re.search("memory ([0-9.]+) ([MG])B", said).groups()
                    plan, peak = float(number) * {"M": 1e6, "G": 1e9}[prefix], usage.ru_maxrss * 1024
                    print(f"plan {plan / 1e6:.1f} MB, peak {peak / 1e6:.1f} MB: {said}")
                    sys.exit(status != 0 or abs(peak / plan - 1) > 0.05)'
                """)
        }
    #endif

    @Test func aModelThatIsNotFiniteIsSaid() throws {
        try expectWell(
            """
            learn --run run --model model.json --steps 0 < /dev/null
            mkdir wild && cp run/latest/config.json run/latest/model.safetensors wild
            python3 -c 'import struct
            with open("wild/model.safetensors", "r+b") as file:
                file.seek(-400, 2); file.write(struct.pack("<100f", *[3.4e38] * 100))'
            refused 65 'not finite' bash -c 'ckpt-tool evaluate wild < validation.batches'
            refused 65 'not finite' bash -c 'ckpt-tool evaluate --json wild < validation.batches'
            refused 65 'not finite' ckpt-tool sample wild --ids 1
            refused 64 'either --prompt or --ids' ckpt-tool sample run --ids 1 --prompt a
            refused 64 'id 999' ckpt-tool sample run --ids 999
            test ! -s out
            """)
    }

    @Test func aPlotOfTheLargestNumbersHasNoNaN() throws {
        try expectWell(
            """
            printf '{"step":1,"train_loss":1.7e308}\\n{"step":2,"train_loss":-1.7e308}\\n' | metrics-cat --to svg - > plot.svg
            grep -q '<svg' plot.svg
            ! grep -qi 'nan\\|inf ' plot.svg
            """)
    }
}
