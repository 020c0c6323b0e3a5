// ckpt-tool where runs are under way, damaged, or on a disk with limits: what it says of a run is true, what it removes is
// not the last good copy, and what it was told to stop writing is gone.

#if os(Linux)
    import TestSupport
    import Testing

    @Suite struct CkptHazardTests {
        /// A run `run` of steps 1 to 4, `damage FILE`, and `refused`.
        private static let setUp = #"""
            cat > model.json <<'END'
            {"model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
            END
            \#(TrainerScript.data)
            learn() { train-step --quiet "$@"; }
            # Flips a byte in the midst of a file.
            damage() {
                local at=$(($(stat -c %s $1) * 2 / 3))
                local old=$(od -An -tu1 -j $at -N 1 $1)
                printf "\\x$(printf %x $((old ^ 255)))" | dd of=$1 bs=1 seek=$at conv=notrunc status=none
            }
            \#(TrainerScript.refused)
            # One more line and no match is an error: said PATTERN
            said() { grep -q "$1" errors || { echo "expected '$1':"; cat errors; exit 1; }; }

            """#
        private static let run = "pack | learn --run run --model model.json --steps 4 --save-every 1\n"

        private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
            try TrainerScript.expectWell(Self.setUp, script, sourceLocation: sourceLocation)
        }

        /// The command of docs/deployment.md that begins a run and goes on with it: killed before `latest` is there, with a
        /// damaged tensor or state in the latest checkpoint, with a link that dangles, repeated until it is done.
        @Test func oneCommandIsRepeatedWhateverHappened() throws {
            try expectWell(
                #"""
                batches() { tok-pack --rows 4 --length 32 --seed 3 --epochs forever --limit 8 "$@" data; }
                again() {
                    if cursor=$(ckpt-tool get run cursor 2> /dev/null); then
                        batches --cursor "$cursor" | $1 train-step --quiet --resume run
                    else
                        batches | $1 train-step --quiet --run run --model model.json --steps 8 --save-every 2
                    fi
                }
                again; mv run whole
                same() { diff -r whole/step-00000008 run/step-00000008; }
                ! again "strace -f -qq -o calls -e inject=symlink,symlinkat:signal=KILL:when=1"
                [ ! -e run/latest ] && ls -d run/step-00000000 > list
                again; same
                for file in model.safetensors state.json config.json manifest.json; do
                    damage run/step-00000008/$file
                    again 2> errors; said "passed over 'step-00000008'"; same
                done
                ln -sfn step-00000099 run/latest; again 2> errors; same
                """#)
        }

        /// The newest checkpoint is damaged inside of a tensor: the newest valid one is spared, aloud.
        @Test func pruningReadsWhatStays() throws {
            try expectWell(
                Self.run + #"""
                    rm run/best run/last-good 2> /dev/null || true
                    damage run/step-00000004/model.safetensors
                    ckpt-tool prune run --keep-last 1 --dry-run > gone 2> errors
                    said "ckpt-tool: 'step-00000004' is damaged: .*model.safetensors', tensor '"
                    [ "$(cut -f 1 gone | tr '\n' ' ')" = "step-00000000 step-00000001 step-00000002 " ]
                    ckpt-tool prune run --keep-last 1 > gone 2> errors
                    said "ckpt-tool: 'step-00000004' is damaged: "
                    [ "$(ls -d run/step-* | tr '\n' ' ')" = "run/step-00000003 run/step-00000004 " ]
                    pack --cursor "$(ckpt-tool get run/step-00000003 cursor)" | learn --resume run --steps 5
                    # Of a sound run nothing is said, and nothing spared.
                    ckpt-tool prune run --keep-last 1 > gone 2> errors
                    [ ! -s errors ]
                    # Nothing is valid: nothing goes.
                    pack --cursor "$(ckpt-tool get run cursor)" | learn --resume run --steps 7 --save-every 1
                    rm run/best run/last-good 2> /dev/null || true
                    ls run > before
                    for step in run/step-*; do damage $step/model.safetensors; done
                    status=0; ckpt-tool prune run --keep-last 1 > gone 2> errors || status=$?
                    [ $status = 65 ]
                    said "ckpt-tool: 'run' has no valid checkpoint: nothing is removed"
                    ls run | cmp before -
                    """#)
        }

        /// A run that stands for an older step than its latest says so, whichever command asks.
        @Test func whatIsPassedOverIsSaid() throws {
            try expectWell(
                Self.run + #"""
                    ckpt-tool convert run sound.gguf 2> errors
                    ! grep 'passed over' errors
                    damage run/latest/manifest.json
                    rm -f run/last-good
                    for command in 'convert run x.gguf' 'convert run x' 'average run run --output soup' 'stats run' \
                        'stats --optimizer run' 'show run' 'show --tree run' 'get run cursor' 'list --optimizer run' \
                        'diff run sound.gguf --quiet' 'logits run --ids 1,2' 'prune run --output pruned' \
                        'expand run --layers 2 --output deep'; do
                        ckpt-tool $command > out 2> errors || [ $? = 1 ]
                        said "^ckpt-tool: passed over 'step-00000004': 'run/step-00000004/manifest.json'"
                        said "^ckpt-tool: 'run' stands for step 3$"
                    done
                    pack | learn --run new --from run --steps 1 2> errors
                    said "^train-step: passed over 'step-00000004': "
                    """#)
        }

        @Test func linksThatLeadElsewhereAreFound() throws {
            try expectWell(
                Self.run + """
                    ln -sfn /etc run/best
                    status=0; ckpt-tool verify --quick run 2> errors || status=$?
                    [ $status = 1 ]
                    said "^ckpt-tool: 'run/best': leads to '/etc', expected a link to a checkpoint of the run$"
                    [ $(wc -l < errors) = 1 ]
                    """)
        }

        /// Checkpoints that come and go while they are looked at are not damaged.
        @Test func aRunUnderWayIsWhole() throws {
            try expectWell(
                #"""
                # The trainer itself, for the signal: no function's shell around it.
                pack | train-step --quiet --run run --model model.json --steps 100000 --save-every 1 --keep-last 1 &
                trainer=$!
                until [ -e run/latest ]; do sleep 0.02; done
                fail() { echo "$*"; cat errors; kill $trainer; exit 1; }
                for i in $(seq 40); do
                    ckpt-tool verify run > out 2> errors || fail "verify: $?"
                    ckpt-tool verify --deep run > out 2> errors || fail "verify --deep: $?"
                    ckpt-tool verify run/latest > out 2> errors || fail "verify latest: $?"
                    ckpt-tool list run > out 2> errors || fail "list: $?"
                    ! grep -v 'ok$' out || fail "list found damage"
                    ckpt-tool get run cursor > out 2> errors || fail "get: $?"
                    [ ! -s errors ] || fail "get said"
                    ckpt-tool get run/latest cursor > out 2> errors || fail "get latest: $?"
                    ckpt-tool show run > out 2> errors || fail "show: $?"
                done
                kill $trainer
                status=0; wait $trainer || status=$?
                [ $status = 75 ] || { echo "trainer: $status"; exit 1; }
                """#)
        }

        /// A limit on the size of files is an error like a full disk, and leaves nothing unpublished.
        @Test func aFileSizeLimitIsAnError() throws {
            try expectWell(
                #"""
                pack --limit 9 > input
                status=0
                (ulimit -f 20; learn --run run --model model.json --steps 8 --save-every 4 < input 2> errors) || status=$?
                [ $status = 74 ] || { echo "status $status"; cat errors; exit 1; }
                said "^train-step: cannot write .*: File too large$"
                [ -z "$(find run -name '*.tmp')" ] || { find run; exit 1; }
                learn --run sound --model model.json --steps 8 < input
                status=0; (ulimit -f 20; ckpt-tool convert sound x.gguf 2> errors) || status=$?
                [ $status = 74 ] || { echo "status $status"; cat errors; exit 1; }
                [ -z "$(find . -name '*.tmp')" ]
                """#)
        }

        /// A FIFO in the place of the metrics would be waited for.
        @Test func aFIFOAsMetricsIsRefused() throws {
            try expectWell(
                Self.run + """
                    rm run/metrics.jsonl; mkfifo run/metrics.jsonl
                    resume() { pack --cursor "$(ckpt-tool get run cursor)" | timeout -k 1 20 train-step --quiet --resume run --steps 5; }
                    refused 73 "metrics.jsonl': something that is no regular file is in its place" resume
                    """)
        }

        @Test func aDashIsNoFile() throws {
            try expectWell(
                Self.run + """
                    for command in 'convert run - --to gguf' 'convert - x' 'show -' 'show --tree -' 'list -' 'get - step' \
                        'stats -' 'stats --optimizer -' 'verify -' 'diff - run' 'diff run -' 'average run --output -' \
                        'average - --output x' 'average --last 1 - --output x' 'ema run -' 'ema - x' 'merge-lora - -o x' \
                        'prune - --keep-last 1' 'prune run --output -' 'prune - --output x' 'expand - --layers 2 --output x' \
                        'expand run --layers 2 --output -' 'expand run --layers 2 --run -' 'migrate -' 'sample -' \
                        'logits - --ids 1' 'convert run x.gguf --config -' 'convert run x --tokenizer -'; do
                        refused 64 "'-' is standard input or output" ckpt-tool $command
                    done
                    [ ! -e ./- ] && [ ! -e x ] && [ ! -e x.gguf ]
                    ckpt-tool convert run ./- --to gguf
                    ckpt-tool show ./- > shown
                    """)
        }

        /// Asked to stop while it writes, it leaves nothing; asked twice, it ends at once.
        @Test func interruptedWritesAreRemoved() throws {
            try expectWell(
                Self.run + #"""
                    pack | learn --run lora --model model.json --steps 2 --lora rank=2,targets=c_attn --ema 0.9
                    mkdir out
                    # Every write takes a while: time to ask.
                    begin() {
                        rm -f calls
                        strace -f -qq -o calls -e trace=write,pwrite64 -e inject=write,pwrite64:delay_enter=300000 \
                            ckpt-tool "$@" > said 2> errors & tracer=$!
                        until [ -s calls ] && [ -n "$(ls out)" ]; do
                            kill -0 $tracer || { echo "too early: $*"; cat errors; exit 1; }
                            sleep 0.02
                        done
                        tool=$(awk '{ print $1; exit }' calls)
                    }
                    for signal in INT TERM HUP; do
                        for command in 'convert run out/x.gguf' 'convert run out/x.npz' 'convert run out/x' \
                            'average run run --output out/x' 'prune run --output out/x' 'ema lora out/x' \
                            'merge-lora lora -o out/x' 'expand run --layers 2 --output out/x'; do
                            [ $signal = INT ] || [ "${command%gguf}" != "$command" ] || [ "${command#expand}" != "$command" ] \
                                || continue
                            begin $command
                            kill -$signal $tool
                            status=0; wait $tracer || status=$?
                            [ $status = 75 ] || { echo "$signal, $command: status $status"; cat errors; exit 1; }
                            said "^ckpt-tool: interrupted"
                            [ -z "$(ls out)" ] || { echo "$command left:"; ls -R out; exit 1; }
                        done
                    done
                    begin convert run out/x.gguf
                    # Two of a kind that wait for the same call to end would be one.
                    kill -TERM $tool; kill -INT $tool
                    status=0; wait $tracer || status=$?
                    [ $status = 143 ] || [ $status = 130 ] || { echo "second: status $status"; cat errors; exit 1; }
                    # What nohup asked for stays.
                    rm -rf out; mkdir out
                    trap '' HUP
                    begin convert run out/x.gguf
                    kill -HUP $tool
                    wait $tracer
                    [ "$(ls out)" = x.gguf ]
                    """#)
        }
    }
#endif
