// tok-shard as a parallel ingest: workers that encode, documents that are left out, the offline shuffle. What decides
// nothing (threads, memory, where a run was killed) changes no byte, and what was left out is counted everywhere.

import TestSupport
import Testing

@Suite struct TokShardIngestTests {
    /// A tokenizer of 600 ids in `tk.json`, of the text that `sampleText` makes.
    private static let tokenizer = """
        tok-shard train-tokenizer --vocab-size 600 --split-on=%% --output tk.json text

        """

    /// Runs a script in a directory with `text`; fails with what it said.
    @discardableResult
    private func expect(_ script: String, bytes: Int = 400_000) throws -> String {
        try withTemporaryDirectory { path in
            try writeFile(sampleText(bytes: bytes), to: path + "/text")
            let result = try runShell("set -e\n" + script, directory: path)
            #expect(result.status == 0, "\(result.text) \(result.errors)")
            return result.text
        }
    }

    /// Many small documents, documents of several batches, one without a place to cut, and files in turn.
    @Test func idsDoNotDependOnThreads() throws {
        try expect(
            Self.tokenizer + #"""
                tr -d ' \n%' < text > solid
                for i in 1 2 3 4 5 6; do cat solid solid solid; done > wall
                [ $(wc -c < wall) -gt 3000000 ]
                for t in 1 2 3 7; do
                    tok-shard --tokenizer tk.json --threads $t --output d$t --shard-tokens 300000 text wall tk.json wall
                    tok-shard --tokenizer tk.json --threads $t --output e$t --split-on=%% --validation 0.2 text wall text
                    diff -r d1 d$t; diff -r e1 e$t
                done
                for d in d1 e1/train e1/validation; do tok-shard verify --deep $d; done
                cat text wall tk.json wall > all
                tok-shard cat d1 | cmp - all
                # The same ids as in one piece, on one thread.
                tok-shard encode --tokenizer tk.json --format ids-u16 wall > whole
                tok-shard cat --ids --document 1 d1 | tr ' ' '\n' | head -n -1 > ids
                tok-shard encode --tokenizer tk.json wall | cmp - ids
                """#)
    }

    @Test func shuffleDependsOnTheSeedAlone() throws {
        try expect(
            Self.tokenizer + #"""
                make() { tok-shard --tokenizer tk.json --split-on=%% --shard-tokens 50000 --output "$@" text; }
                make plain
                make a --shuffle
                make b --shuffle --seed 0 --memory 1M --threads 3
                make c --shuffle --seed 0 --memory 64M --threads 1
                make other --shuffle --seed 1
                diff -r a b; diff -r a c
                for d in a other; do
                    tok-shard verify --deep $d
                    ! cmp -s $d/shard-00000.tok.zst plain/shard-00000.tok.zst
                    # The same documents, in another order.
                    tok-shard cat --ids $d | sort > $d.sorted; tok-shard cat --ids plain | sort | cmp - $d.sorted
                done
                ! diff -q a/shard-00000.tok.zst other/shard-00000.tok.zst
                [ "$(ls -A a | grep -v -e shard -e json)" = "" ]
                """#)
    }

    /// 12 MB of ids in 1 MiB of memory: buckets are dealt again, one document is larger than memory.
    @Test func shuffleGoesThroughTheDisk() throws {
        try expect(
            #"""
            for i in $(seq 12); do cat text; done > many
            head -c 2000000 many | tr -d '%\n' > large; [ $(wc -c < large) -gt 1500000 ]; printf '\n%%%%\n' >> large
            for m in 1M 2M 1G; do
                tok-shard --tokenizer bytes --split-on=%% --shuffle --seed 3 --memory $m --output d$m --validation 0.3 many large many
                diff -r d1M d$m
            done
            for side in train validation; do
                tok-shard verify --deep d1M/$side
                tok-shard cat --ids d1M/$side
            done | sort > shuffled
            tok-shard --tokenizer bytes --split-on=%% --output plain many large many
            tok-shard cat --ids plain | sort | cmp - shuffled
            """#, bytes: 500_000)
    }

    /// Source position beside position in the dataset, in a 16 × 16 table, and the same of neighbours.
    @Test func shuffleIsUniform() throws {
        let text = try expect(
            #"""
            seq 0 9999 | awk '{ print "{\"text\": \"" $1 "\"}" }' > numbers
            for seed in 1 2 3 4; do
                tok-shard --tokenizer bytes --format jsonl --shuffle --seed $seed --output d$seed numbers
                tok-shard cat --separator ' ' d$seed | tr ' ' '\n' | grep .
            done
            """#)
        let numbers = text.split(separator: "\n").compactMap { Int($0) }
        try #require(numbers.count == 40_000)
        var table = [Double](repeating: 0, count: 256)
        var gaps = [Double](repeating: 0, count: 256)
        for run in 0..<4 {
            let order = Array(numbers[10_000 * run..<10_000 * (run + 1)])
            #expect(order.sorted() == Array(0..<10_000))
            for (place, source) in order.enumerated() { table[place * 16 / 10_000 * 16 + source * 16 / 10_000] += 1 }
            for (first, second) in zip(order, order.dropFirst()) {
                gaps[first * 16 / 10_000 * 16 + second * 16 / 10_000] += 1
            }
        }
        for (name, counts) in [("places", table), ("neighbours", gaps)] {
            let mean = counts.reduce(0, +) / 256
            let ratio = counts.reduce(0) { $0 + ($1 - mean) * ($1 - mean) / mean } / 225
            #expect((0.75...1.25).contains(ratio), "\(name): chi² is \(ratio) of its degrees of freedom")
        }
    }

    @Test func theFirstOfCopiesStays() throws {
        try expect(
            #"""
            for t in 1 3; do
                printf '{"text":"%s"}\n' a b a c c "" b a d > lines
                tok-shard --tokenizer bytes --format jsonl --dedup exact --threads $t --output d$t lines 2> said
                diff -r d1 d$t
            done
            [ "$(tok-shard cat --separator , d1 | tr -d '\n')" = a,b,c,d ]
            grep -qx 'tok-shard: 4 documents, 8 tokens stored; 1 empty documents, 4 duplicates (8 tokens) left out' said
            jq -e '.left_out == {empty: {documents: 1}, duplicate: {documents: 4, tokens: 8}}' d1/dataset.json
            jq -e '.left_out == {empty: {documents: 1}, duplicate: {documents: 4, tokens: 8}}' d1/shard-00000.json
            tok-shard info d1 | grep -q 'left out  *4 duplicates, 8 tokens'
            tok-shard info --json d1 | jq -e '.left_out.duplicate.documents == 4'
            tok-shard repair --output saved d1 2> said
            cmp <(jq .left_out d1/dataset.json) <(jq .left_out saved/dataset.json)
            cmp <(jq .left_out d1/shard-00000.json) <(jq .left_out saved/shard-00000.json)
            # Copies of what is longer than one piece, and of what waits in a file.
            head -c 300000 text > long; for i in $(seq 45); do cat text; done > longer
            tok-shard --tokenizer bytes --dedup exact --output e long longer long text longer 2> said
            [ "$(jq .totals.documents e/dataset.json)" = 3 ]; cat long longer text > want; tok-shard cat e | cmp - want
            """#)
    }

    @Test func documentsOutsideTheLengthsAreCounted() throws {
        try expect(
            #"""
            printf '{"text":"%s"}\n' a bb ccc dddd eeeee ffffff > lines
            run() { tok-shard --tokenizer bytes --format jsonl --output "$@" lines 2> said; }
            run d --min-tokens 3 --max-tokens 6 --shard-tokens 1
            [ "$(tok-shard cat --separator , d | tr -d '\n')" = bb,ccc,dddd,eeeee ]
            grep -qx 'tok-shard: 4 documents, 18 tokens stored; 1 below 3 tokens (2 tokens), 1 above 6 tokens (7 tokens) left out' said
            # What comes after the last shard is counted with it.
            jq -e '.left_out == {too_short: {documents: 1, tokens: 2}}' d/shard-00000.json
            jq -e '.left_out == null' d/shard-00001.json
            jq -e '.left_out == {too_long: {documents: 1, tokens: 7}}' d/shard-00003.json
            jq -e '.left_out == {too_short: {documents: 1, tokens: 2}, too_long: {documents: 1, tokens: 7}}' d/dataset.json
            run e --max-tokens 1; [ "$(jq .totals.documents e/dataset.json)" = 0 ]; jq -e '.left_out.too_long.documents == 6' e/dataset.json
            # What waited in a file is too long after all.
            for i in $(seq 40); do cat text; done > longer
            tok-shard --tokenizer bytes --max-tokens 15000000 --min-tokens 500000 --output f text longer text 2> said
            jq -e '.totals.documents == 0 and .left_out.too_long.documents == 1 and .left_out.too_short.documents == 2' f/dataset.json
            """#)
    }

    /// A part is shuffled and searched for copies on its own; a merge adds up what was left out, also of empty parts.
    @Test func mergeAddsUpWhatWasLeftOut() throws {
        try expect(
            #"""
            printf '{"text":"%s"}\n' a b a > x; printf '{"text":"%s"}\n' b b longer "" > y; printf '{"text":"%s"}\n' longer > z
            for i in 0 1 2; do
                tok-shard --tokenizer bytes --format jsonl --shard $i/3 --output p$i --dedup exact --max-tokens 5 --shuffle x y z 2> said
            done
            [ "$(jq .totals.shards p2/dataset.json)" = 0 ]
            tok-shard merge --output whole p2 p0 p1
            want='{empty: {documents: 1}, duplicate: {documents: 2, tokens: 4}, too_long: {documents: 2, tokens: 14}}'
            jq -e ".left_out == $want" whole/dataset.json
            [ "$(cat whole/shard-*.json | jq -s '[.[].left_out.too_long.documents] | add')" = 2 ]
            [ "$(tok-shard cat --separator , whole | tr -d '\n' | tr , '\n' | sort | tr -d '\n')" = abb ]
            # Again, and in place, from the sidecars.
            tok-shard merge --output whole p2 p0 p1
            tok-shard merge --output again whole; cmp whole/dataset.json again/dataset.json
            rm again/dataset.json; tok-shard merge --output again again; cmp whole/dataset.json again/dataset.json
            # A manifest that says something else is refused.
            jq '.left_out.too_long.documents = 3' again/dataset.json > changed; mv changed again/dataset.json
            ! tok-shard merge --output bad again 2> said
            grep -q "says something else of what was left out than its sidecars do" said
            """#)
    }

    /// Kill -9 and SIGTERM at several moments of a shuffled, filtered run: no dataset, no temporary file, and the same
    /// bytes in the end.
    @Test(arguments: [9, 15]) func killedShufflesGoOn(signal: Int) throws {
        try expect(
            #"""
            make="tok-shard --tokenizer bytes --split-on=%% --shuffle --dedup exact --min-tokens 100 --max-tokens 2000
                --memory 1M --level 15 --shard-tokens 20000 --validation 0.3"
            # Read slowly, so that there are moments: the input is a pipe that stays open after half of it.
            cat text text > twice
            cat twice | $make --output whole - 2> whole.said
            hits=0
            for moment in dealing writing; do
                mkfifo pipe
                $make --output d --resume - < pipe 2> said & pid=$!
                exec 3> pipe
                if [ $moment = dealing ]; then
                    head -c 500000 twice >&3; sleep 0.3
                else
                    cat twice >&3; exec 3>&-
                    until [ -e d/train/shard-00002.json ]; do sleep 0.01; done
                fi
                kill -\#(signal) $pid; status=0; wait $pid || status=$?
                exec 3>&-; rm pipe
                case $status in 137|75) hits=$((hits + 1)) ;; *) echo "status $status"; cat said; exit 1 ;; esac
                [ ! -e d/train/dataset.json ]
                [ $status = 137 ] || [ "$(find . -name '*.tmp')" = "" ]
                [ "$(find . -name '*spill*')" = "" ]
            done
            [ $hits = 2 ]
            cat twice | $make --output d --resume - 2> said
            diff -r whole d; cmp whole.said said
            """#, bytes: 500_000)
    }

    /// Kill -9 while documents are left out in the order of the input: what was counted before is counted once.
    @Test func killedRunsCountOnce() throws {
        try expect(
            #"""
            for dedup in '' '--dedup exact'; do
                make="tok-shard --tokenizer bytes --split-on=%% --min-tokens 300 --max-tokens 900 $dedup
                    --level 15 --shard-tokens 20000 --validation 0.3"
                rm -rf whole d
                $make --output whole text text 2> whole.said
                $make --output d text text 2> said & pid=$!
                until [ -e d/train/shard-00003.json ]; do sleep 0.002; done
                kill -9 $pid; status=0; wait $pid || status=$?
                [ $status = 137 ]; [ ! -e d/train/dataset.json ]
                $make --output d --resume text text 2> said
                diff -r whole d; cmp whole.said said
            done
            """#, bytes: 900_000)
    }

    @Test(arguments: [
        ("--seed 1", "--seed is for --shuffle"), ("--memory 1G", "--memory is for --shuffle"),
        ("--min-tokens 0", "--min-tokens 0: expected at least 1"),
        ("--min-tokens 5 --max-tokens 4", "--max-tokens 4: expected at least 5, which is --min-tokens"),
        ("--max-tokens 0", "--max-tokens 0: expected at least 1"),
        ("--shuffle --memory 512K", "the memory of a shuffle is at least 1 MiB"),
        ("--shuffle --memory 3X", "The value '3X' is invalid for '--memory <size>'"),
        (
            "--shuffle --memory 99999999999999999999",
            "The value '99999999999999999999' is invalid for '--memory <size>'"
        ),
        ("--dedup fuzzy", "The value 'fuzzy' is invalid for '--dedup <how>'"),
    ]) func badOptionsAreRefused(options: String, message: String) throws {
        try withTemporaryDirectory { path in
            try writeFile("abc", to: path + "/t")
            let result = try runShell("tok-shard --tokenizer bytes --output d \(options) t", directory: path)
            #expect(result.status == 64, "\(result.errors)")
            #expect(result.errors.hasPrefix("tok-shard: " + message), "\(result.errors)")
            #expect(!exists(path + "/d"))
        }
    }

    /// No room for the temporary file is an error that names it, and leaves nothing.
    @Test func aFullDiskEndsTheShuffle() throws {
        try withTemporaryDirectory { path in
            try writeFile(sampleText(bytes: 3_000_000), to: path + "/t")
            let result = try runShell(
                "trap '' XFSZ; ulimit -f 512; tok-shard --tokenizer bytes --split-on=%% --shuffle --memory 1M --output d t",
                directory: path)
            #expect(result.status == 74)
            #expect(
                result.errors.hasPrefix("tok-shard: cannot write 'temporary file in d'"), "\(result.errors)")
            #expect(!exists(path + "/d"))
        }
    }
}
