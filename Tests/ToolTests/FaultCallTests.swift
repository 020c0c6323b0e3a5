// System calls that fail at one exact place each: a full disk, a quota, a broken device, at every call that touches the
// output. The error names file and reason, what was there before still is, and the next start goes on to the same bytes.

#if os(Linux)
    import TestSupport
    import Testing

    @Suite struct FaultCallTests {
        /// `work`: a run that goes on from step 12 and saves at 14, 15, 16; `check`: what is left is sound and goes on.
        static let trainer = #"""
            pack | learn --run before --model model.json --steps 12 --schedule-steps 20 --save-every 2
            pack --cursor "$(ckpt-tool get before/latest cursor)" --limit 4 > input
            work=(train-step --quiet --threads 1 --validation validation.batches --eval-every 5 --resume run --steps 20
                --save-every 2)
            reset() { rm -rf run; cp -r before run; }
            check() { sound; [ -e run/step-00000012 ] || fail "the old checkpoint is gone"; complete; }
            tool=train-step touches='[<"]([^>"]*/)?run[/>"]'

            """#

        /// `work`: a run that begins.
        static let beginner = #"""
            pack --limit 2 > input
            work=(train-step --quiet --threads 1 --validation validation.batches --eval-every 5 --run run
                --model model.json --steps 20)
            reset() { rm -rf run; }
            check() { sound; complete; }
            tool=train-step touches='[<"]([^>"]*/)?run[/>"]'

            """#

        /// `work`: a dataset of three shards.
        static let sharder = #"""
            head -60 corpus.txt > input
            work=(tok-shard --tokenizer bytes --threads 1 --shard-tokens 1500 --output made -)
            reset() { rm -rf made; }
            reset; "${work[@]}" < input; cp -r made whole
            check() {
                [ ! -e made/dataset.json ] || tok-shard verify made || fail "a dataset that is none"
                "${work[@]}" --resume < input || fail "cannot go on: $?"
                diff -r whole made || fail "other bytes"
                tidy made
            }
            tool=tok-shard touches='[<"]([^>"]*/)?made[./>"]'

            """#

        private static let changes =
            "write,fsync,openat,?mkdir,mkdirat,?rename,renameat,renameat2,?symlink,symlinkat,?unlink,unlinkat,?rmdir"

        static func kill(every stride: Int) -> String {
            #"""
            places "$touches" \#(changes) > list || fail "the undisturbed run failed: $(cat said)"
            # Tensors are many writes that are all alike: every tenth.
            awk '$1 != "write" || NR % 10 == 0' list | awk 'NR % \#(stride) == 0' > chosen
            [ $(wc -l < chosen) -ge 4 ] || fail "few calls: $(cat list)"
            while read -r name k; do
                inject $name $k signal=KILL 2> /dev/null
                [ $status = 137 ] || fail "$name $k: status $status, not killed"
                check < /dev/null
            done < chosen
            """#
        }

        private static func failures(
            _ fault: String, reason: String, calls: String, where pattern: String, first: Int, every: Int
        ) -> String {
            #"""
            places '\#(pattern)' '\#(calls)' > all || fail "the undisturbed run failed: $(cat said)"
            # The first of each, then a sample.
            awk '++n[$1] <= \#(first) || NR % \#(every) == 0' all > chosen
            [ -s chosen ] || fail "no \#(calls) in: $(cat calls)"
            while read -r name k; do
                inject $name $k error=\#(fault)
                grep -q INJECTED calls || fail "$name $k was not injected"
                ! elsewhere "$touches" || continue
                case $status in
                73 | 74) one_line $tool said; grep -q '\#(reason)' said || fail "$name $k: $(cat said)"
                    grep -v '^hint' said | grep -q "'[^']*'" || fail "$name $k names no file: $(cat said)" ;;
                *) fail "$name $k: status $status: $(cat said) $(grep INJECTED calls)" ;;
                esac
                check < /dev/null
            done < chosen
            """#
        }

        /// Fault, its text, the calls it befalls, what they must touch. A close only matters of what was written; a
        /// file that is only read, opened once more to look at it, and the note in the lock are no outputs.
        private static let befalls: [(fault: String, reason: String, calls: String, pattern: String)] = [
            ("ENOSPC", "No space left on device", "write", "(run|made)/[^>]*>"),
            ("EDQUOT", "quota", "write", "(run|made)/[^>]*[.]tmp>"),
            ("EIO", "Input/output error", "fsync", "(run|made)[/>]"),
            ("ENOSPC", "No space left on device", "?mkdir,mkdirat", "(run|made)[^a-z]"),
            ("EIO", "Input/output error", "?rename,renameat,renameat2", "(run|made)/"),
            ("ENOSPC", "No space left on device", "?symlink,symlinkat", "run/"),
            ("EMFILE", "Too many open files", "openat", "(run|made)/[^>]*O_CREAT"),
            ("EIO", "Input/output error", "close", "(run|made)/[^>]*[.]tmp>"),
            ("EIO", "Input/output error", "write", "(run|made)/[^>]*>"),
            ("ENOSPC", "No space left on device", "fsync", "(run|made)[/>]"),
            ("ENOSPC", "No space left on device", "?rename,renameat,renameat2", "(run|made)/"),
            ("ENOSPC", "No space left on device", "openat", "(run|made)/[^>]*O_CREAT"),
            ("EROFS", "Read-only file system", "openat", "(run|made)/[^>]*O_CREAT"),
        ]

        private static func allFailures(_ calls: (String) -> Bool = { _ in true }) -> String {
            befalls.filter { calls($0.calls) }.map {
                failures(
                    $0.fault, reason: $0.reason, calls: $0.calls, where: $0.pattern,
                    first: Faults.count(quick: 1, long: 3), every: Faults.count(quick: 60, long: 4))
            }.joined(separator: "\n")
        }

        @Test func trainStepSavesOrSaysWhy() throws {
            try Faults.expect(Self.trainer + Self.allFailures())
        }

        @Test func tokShardWritesOrSaysWhy() throws {
            try Faults.expect(Self.sharder + Self.allFailures { !$0.contains("symlink") })
        }

        /// What could not be flushed is not published: the step of a failed fsync does not appear.
        @Test func failedFlushPublishesNothing() throws {
            try Faults.expect(
                Self.trainer + #"""
                    places 'step-00000014[^>]*[.]tmp>' fsync > all
                    [ $(wc -l < all) -ge 5 ] || fail "few: $(cat calls)"
                    while read -r name k; do
                        inject $name $k error=EIO
                        [ $status = 74 ] || fail "status $status"
                        [ ! -e run/step-00000014 ] || fail "published"
                        [ "$(readlink run/latest)" = step-00000012 ] || fail "latest moved"
                        tidy run
                    done < all
                    """#)
        }

        /// Interrupted calls are no errors and change no byte.
        @Test func interruptedCallsAreRepeated() throws {
            // Every second read of standard input (the loader of libraries does not repeat its own), every second write.
            let interrupted = #"""
                interrupted() {
                    reset
                    strace -f -y -qq -o calls -e trace=$1 -e inject=$1:error=EINTR:when=1+2 "${@:2}" \
                        bash -c 'exec "$@"' - "${work[@]}" < input > out 2> said || fail "$1: $? $(cat said)"
                    [ $(grep -c INJECTED calls) -ge 2 ] || fail "few: $(cat calls)"
                }

                """#
            try Faults.expect(
                Self.sharder + interrupted + #"""
                    interrupted read -P "$PWD/input"; diff -r whole made
                    interrupted write; diff -r whole made

                    """# + Self.trainer + #"""
                        pack --cursor "$(ckpt-tool get before/latest cursor)" > input
                        interrupted read -P "$PWD/input"; same run
                        interrupted write; same run
                        """#)
        }

        /// A disk that is really full (a small tmpfs where one may be mounted, else a limit on the size of files).
        @Test func fullDiskIsAnError() throws {
            try Faults.expect(
                #"""
                cat > disk.sh <<'END'
                mkdir disk
                if mount -t tmpfs -o size=2m none disk 2> /dev/null; then echo tmpfs > kind; else
                    trap '' XFSZ; ulimit -f 300; echo limit > kind; fi
                tok-pack --rows 8 --length 48 --seed 3 --epochs 4 data > input
                status=0
                train-step --quiet --run disk/run --model model.json --steps 20 --save-every 1 < input 2> said || status=$?
                echo $status > status
                ckpt-tool verify disk/run; echo $? > verified
                ls disk/run > left
                head -c 3000000 /dev/urandom > noise
                status=0; tok-shard --tokenizer bytes --level 1 --output disk/made2 noise 2> said2 || status=$?
                echo $status > status2
                ls disk/made2 | grep dataset.json > left2
                END
                if unshare -m true 2> /dev/null; then unshare -m bash disk.sh; else bash disk.sh; fi || true
                cat kind status said verified left status2 said2
                grep -q '7[34]' status; one_line train-step said
                grep -q 'No space left on device\|File too large\|the disk has' said
                grep -qx 0 verified
                grep -q '7[34]' status2; one_line tok-shard said2
                grep -q 'No space left on device\|File too large' said2
                [ ! -s left2 ]
                """#)
        }
    }
#endif
