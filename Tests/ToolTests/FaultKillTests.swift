// Kill -9 at random moments: whatever dies and whenever, what is left is whole, and the resumed work ends in the same
// bytes as work that nobody disturbed. Every kill is counted; one that came too late does not count.

#if os(Linux)
    import TestSupport
    import Testing

    @Suite struct FaultKillTests {
        /// Kills at random moments of a run until enough of them have hit, finishing and starting over in between.
        private static func kills(_ count: Int, start: String) -> String {
            #"""
            begin=$(date +%s%N); complete; span=$(( ($(date +%s%N) - begin) / 1000000 ))
            rm -rf run
            hits=0 misses=0
            while [ $hits -lt \#(count) ]; do
                \#(start)
                sleep $(awk -v r=$RANDOM -v span=$span 'BEGIN { print r / 32768 * span / 1000 }')
                # By number: the process, or the group when it is negative.
                kill -9 -- $victim 2> /dev/null || true
                status=0; wait $child 2> /dev/null || status=$?
                [ ! -e run/.lock ] || flock --timeout 20 run/.lock true
                sound
                case $status in
                137) hits=$((hits + 1)) ;;
                0) misses=$((misses + 1)); same run; rm -rf run ;;
                *) fail "status $status" ;;
                esac
                [ $misses -le $((hits + 10)) ] || fail "$hits kills of $((hits + misses)) hit"
            done
            complete
            """#
        }

        @Test func trainStepIsKilled() throws {
            try Faults.expect(
                Self.kills(
                    Faults.count(quick: 5, long: 50),
                    start: """
                        feed > input
                        train-step --quiet --validation validation.batches --eval-every 5 $(target) --steps 20 $options < input &
                            child=$! victim=$!
                        """))
        }

        @Test func pipelineIsKilled() throws {
            try Faults.expect(
                "export -f pack learn begun feed target go_on; export options\n"
                    + Self.kills(
                        Faults.count(quick: 5, long: 50), start: "setsid bash -c go_on & child=$! victim=-$!"))
        }

        @Test func tokShardIsKilled() throws {
            try Faults.expect(
                """
                for i in 1 2 3 4 5 6 7 8; do cat corpus.txt; done > text
                shard() { tok-shard --tokenizer bytes --level 12 --shard-tokens 3000 --threads 2 --output "$@" text; }
                begin=$(date +%s%N); shard whole; span=$(( ($(date +%s%N) - begin) / 1000000 ))
                hits=0 misses=0
                while [ $hits -lt \(Faults.count(quick: 3, long: 40)) ]; do
                    tok-shard --tokenizer bytes --level 12 --shard-tokens 3000 --threads 2 --output killed --resume text &
                    sleep $(awk -v r=$RANDOM -v span=$span 'BEGIN { print r / 32768 * span / 1000 }')
                    kill -9 $! 2> /dev/null || true
                    status=0; wait $! 2> /dev/null || status=$?
                    case $status in
                    137) hits=$((hits + 1)) ;;
                    0) misses=$((misses + 1)); diff -r whole killed; rm -rf killed ;;
                    *) fail "status $status" ;;
                    esac
                    [ $misses -le $((hits + 10)) ] || fail "$hits kills of $((hits + misses)) hit"
                done
                shard killed --resume
                diff -r whole killed
                """)
        }

        /// Killed before every single call that changes the run's directory, one after the other.
        @Test func trainStepIsKilledAtEveryCall() throws {
            try Faults.expect(FaultCallTests.trainer + FaultCallTests.kill(every: Faults.count(quick: 20, long: 2)))
        }

        /// The same from nothing: the run's very first files.
        @Test func newRunIsKilledAtEveryCall() throws {
            try Faults.expect(FaultCallTests.beginner + FaultCallTests.kill(every: Faults.count(quick: 12, long: 1)))
        }

        @Test func tokShardIsKilledAtEveryCall() throws {
            try Faults.expect(FaultCallTests.sharder + FaultCallTests.kill(every: Faults.count(quick: 4, long: 1)))
        }
    }
#endif
