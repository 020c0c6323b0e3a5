// Checkpoints of every version that there has been, kept in Tests/Golden/checkpoints (its README says how they were made): the
// last one is read as it is and rewritten by `ckpt-tool migrate`, older ones are refused by name, and this one is what
// train-step writes, to the byte.

import Foundation
import TestSupport
import Testing
import Training

private let golden =
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Golden/checkpoints"

@Suite struct MigrationTests {
    private static let setUp = #"""
        set -e
        version=$current last=$((current - 1))
        work() { train-step --quiet --validation "$golden/validation.batches" --eval-every 2 --save-every 2 "$@"; }
        begin() { work --run $1 --model "$golden/model.json" --seed 7 --schedule-steps 6 --steps $2; }
        # A run whose latest checkpoint is a golden one.
        run_of() { mkdir $2; cp -r "$golden/v$1" $2/step-00000004; ln -s step-00000004 $2/latest; }

        """#

    private func expectWell(_ script: String) throws {
        try withTemporaryDirectory { directory in
            let result = try runShell(
                Self.setUp + script, environment: ["golden": golden, "current": "\(TrainingState.version)"],
                directory: directory)
            #expect(result.status == 0, "\(result.text)\(result.errors)")
        }
    }

    @Test func thereIsOneOfEveryVersion() throws {
        for version in 1...TrainingState.version { #expect(exists("\(golden)/v\(version)/state.json")) }
        #expect(!exists("\(golden)/v\(TrainingState.version + 1)"))
    }

    @Test func thisVersionIsWhatIsWritten() throws {
        try expectWell(
            """
            begin run 4 < "$golden/stream.batches"
            diff -r "$golden/v$version" run/step-00000004
            ckpt-tool verify "$golden/v$version"
            """)
    }

    @Test func theLastVersionIsMigrated() throws {
        try expectWell(
            """
            ckpt-tool verify "$golden/v$last"
            run_of $last run
            # Alone, as a run, through a link: the same bytes.
            cp -r "$golden/v$last" alone; ckpt-tool migrate alone; diff -r "$golden/v$version" alone
            cp -a run other; ckpt-tool migrate other/latest; diff -r "$golden/v$version" other/step-00000004
            ckpt-tool migrate run; diff -r "$golden/v$version" run/step-00000004
            ckpt-tool verify run alone
            test -z "$(find . -name '*.next' -o -name '*.previous' -o -name '*.tmp')"
            # Again: nothing is touched.
            stat -c '%i %y' run/step-00000004 > before; ckpt-tool migrate run; stat -c '%i %y' run/step-00000004 | cmp before -
            """)
    }

    @Test func theLastVersionIsGoneOnFrom() throws {
        try expectWell(
            """
            begin whole 6 < "$golden/stream.batches"
            for v in $last $version; do
                run_of $v run$v
                work --resume run$v --steps 6 < "$golden/rest.batches"
                diff -r whole/step-00000006 run$v/step-00000006
            done
            """)
    }

    @Test func olderVersionsAreRefusedByName() throws {
        try expectWell(
            """
            # A state of version 0 in a sound checkpoint, with other digests.
            for v in $(seq 1 $((current - 2))); do
                cp -r "$golden/v$v" old$v
                status=0; ckpt-tool migrate old$v 2> said || status=$?
                test $status = 65; grep -q "version $v, this program reads $last and $version" said
                diff -r "$golden/v$v" old$v
            done
            """)
    }

    @Test func damageIsNotMigrated() throws {
        try expectWell(
            """
            run_of $last run
            cp -r run/step-00000004 run/step-00000002
            printf x | dd of=run/step-00000002/optimizer.safetensors bs=1 seek=7000 conv=notrunc 2> /dev/null
            cp -r run/step-00000002 damaged
            status=0; ckpt-tool migrate run 2> said || status=$?
            test $status = 1
            grep -q "^ckpt-tool: 'run/step-00000002/optimizer.safetensors', tensor" said
            diff -r damaged run/step-00000002
            diff -r "$golden/v$version" run/step-00000004
            """)
    }
}
