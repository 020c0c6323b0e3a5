// Signals that ask, and pipes that trickle: a run that is told to stop saves and goes on to the same bytes, whatever it
// was doing; stopping and continuing processes, or one byte at a time, change nothing.

#if os(Linux)
    import TestSupport
    import Testing

    @Suite struct FaultSignalTests {
        /// SIGTERM at the entry of one exact call of the trainer: `pattern` says where.
        private static func terminate(in pattern: String, call: String) -> String {
            #"""
            places '\#(pattern)' \#(call) > list || fail "undisturbed: $(cat said)"
            read -r name k < <(awk 'NR == 2' list)
            [ -n "$k" ] || fail "no such call: $(cat calls)"
            inject $name $k signal=TERM
            grep -q 'SIGTERM' calls || fail "no signal"
            # Both threads may be at their K-th call: a run that is asked twice ends at once.
            [ $status != 143 ] || [ $(grep -c -e '--- SIGTERM' calls) -ge 2 ] || fail "aborted"
            [ $status = 75 ] || [ $status = 143 ] || [ -e run/step-00000016 ] || fail "status $status: $(cat said)"
            [ $status = 0 ] || [ $status = 143 ] || grep -q '^train-step: interrupted at step 1[2-6]; saved' said || fail "$(cat said)"
            check < /dev/null
            """#
        }

        @Test func terminatedWhileSaving() throws {
            try Faults.expect(
                FaultCallTests.trainer + Self.terminate(in: "step-00000014[^>]*[.]tmp>", call: "write") + "\n"
                    + Self.terminate(in: "step-00000014", call: "fsync"))
        }

        @Test func terminatedWhileEvaluating() throws {
            try Faults.expect(FaultCallTests.trainer + Self.terminate(in: "validation.batches>", call: "read"))
        }

        @Test func terminatedWhileWaiting() throws {
            try Faults.expect(
                #"""
                mkfifo stalled
                for bytes in 0 1 3000 12000; do
                    rm -rf run
                    { pack | head -c $bytes || true; exec sleep 30; } > stalled & feeder=$!
                    train-step --quiet --validation validation.batches --eval-every 5 --run run --model model.json \
                        --steps 20 < stalled & trainer=$!
                    until [ -e run/.lock ]; do sleep 0.02; done
                    sleep 0.4
                    kill -TERM $trainer
                    status=0; wait $trainer || status=$?
                    kill $feeder; wait $feeder || true
                    [ $status = 75 ] || fail "$bytes: status $status"
                    complete
                done
                """#)
        }

        /// The first signal asks; the second one does not.
        @Test func secondSignalAborts() throws {
            try Faults.expect(
                FaultCallTests.trainer + #"""
                    # Every flush takes half a second: time to ask twice during one save.
                    for second in TERM INT; do
                        reset
                        rm -f calls
                        strace -f -qq -o calls -e trace=fsync -e inject=fsync:delay_enter=500000 "${work[@]}" < input 2> said &
                        tracer=$!
                        until [ -s calls ]; do sleep 0.02; done
                        trainer=$(awk '{ print $1; exit }' calls)
                        kill -TERM $trainer; sleep 0.1; kill -$second $trainer
                        status=0; wait $tracer || status=$?
                        [ $status = 143 ] || [ $status = 130 ] || fail "status $status: $(cat said)"
                        check < /dev/null
                    done
                    """#)
        }

        @Test func stoppedAndContinued() throws {
            try Faults.expect(
                #"""
                mkfifo stream
                pack > stream & feeder=$!
                learn --run run --model model.json --steps 20 --save-every 1 < stream & trainer=$!
                stops=0
                for i in 1 2 3 4 5 6; do
                    for one in $feeder $trainer; do
                        if kill -STOP $one 2> /dev/null; then stops=$((stops + 1)); sleep 0.03; kill -CONT $one; fi
                    done
                    sleep 0.02
                done
                wait $trainer || fail "status $?"
                wait $feeder || true
                [ $stops -ge 2 ] || fail "$stops stops"
                same run
                """#)
        }

        @Test func oneByteAtATime() throws {
            try Faults.expect(
                #"""
                tok-pack --rows 1 --length 16 --limit 3 data > small
                train-step --quiet --run whole --model model.json --steps 3 < small
                dd if=small bs=1 2> count | train-step --quiet --run run --model model.json --steps 3
                grep -q "^$(stat -c %s small)+0 records out" count
                diff -r whole/step-00000003 run/step-00000003
                tok-pack inspect small > a
                dd if=small bs=1 2> count | tok-pack inspect > b
                cmp a b
                """#)
        }
    }
#endif
