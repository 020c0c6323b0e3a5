// Parts that many runs made become one dataset: the same as one run would have made, from sidecars alone, or not at all.

import TestSupport
import Testing

struct TokShardMergeTests {
    /// Ten inputs in three parts, and the same in one run.
    private let parts = """
        for i in $(seq 0 9); do for k in $(seq 50); do echo "document $i $k"; done > in$i; done
        shard() { tok-shard --tokenizer bytes --shard-tokens 100 "$@"; }
        for i in 0 1 2; do shard --shard $i/3 --output p$i in?; done
        shard --output whole in?

        """

    @Test(arguments: ["link", "copy"])
    func partsAreTheWhole(method: String) throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                parts + """
                    tok-shard merge --method \(method) --output all p2 p0 p1 && tok-shard verify all || exit
                    for i in 0 1 2; do tok-shard cat --ids p$i | wc -l; done
                    cmp <(tok-shard cat all) <(tok-shard cat whole) || exit
                    # Again: nothing to do. Parts may go.
                    cp all/dataset.json d.json; rm whole/ingest.json
                    tok-shard merge --method \(method) --output all p2 p0 p1 && cmp all/dataset.json d.json || exit
                    rm -r p0 p1 p2; tok-shard verify all && diff -r all whole
                    """, directory: path)
            #expect(result.status == 0, "\(result.text) \(result.errors)")
            #expect(result.text.filter { $0 != " " } == "3\n3\n4\n")
        }
    }

    /// A directory of sidecars gets its manifest; the shard files are looked at, and only with 'none' taken on trust.
    @Test func sidecarsAreEnough() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                parts + """
                    cp whole/dataset.json d.json; rm whole/dataset.json whole/ingest.json
                    tok-shard merge --output whole whole && cmp whole/dataset.json d.json || exit
                    rm whole/shard-*.zst whole/dataset.json
                    tok-shard merge --output whole whole; echo $?
                    tok-shard merge --method none --output whole whole && cmp whole/dataset.json d.json
                    """, directory: path)
            #expect(result.text == "66\n", "\(result.errors)")
            #expect(result.status == 0)
            #expect(
                result.errors.hasPrefix("tok-shard: cannot open 'whole/shard-00000.tok.zst': no such file\n"),
                "\(result.errors)")
        }
    }

    @Test(arguments: [
        ("p0 p2", "a gap: part 1 of 3 is missing"),
        ("p0 p1", "a gap: part 2 of 3 is missing"),
        ("p0 p1 p2 copy", "'p1' and 'copy' are both part 1 of 3"),
        ("p0 holed p2", "'holed': a gap: there is 'shard-00001.json' and no 'shard-00000.json'"),
        ("p0 short p2", "'short': 'dataset.json' has 3 shards, there are 2 sidecars"),
        ("p0 bare p2", "'bare': 'shard-00002.tok.zst' has no sidecar 'shard-00002.json'"),
        ("p0 p1 whole", "'p0' and 'whole' differ in number of parts: 3 and not numbered"),
        ("whole wide", "'whole' and 'wide' differ in dtype: u16 and u32"),
        ("whole ids", "'whole' and 'ids' differ in tokenizer: 'bytes' and 'ids'"),
        ("whole padded", "'whole' and 'padded' differ in vocabulary size: 257 and 300"),
        ("whole mixed", "'mixed/shard-00000.json' and 'mixed/shard-00001.json' differ in vocabulary size: 257 and 258"),
        ("whole truncated", "'truncated/shard-00000.tok.zst': expected "),
        ("whole swapped", "'swapped/shard-00001.json': expected the sidecar of 'shard-00001.tok.zst'"),
        ("whole escape", "'escape/shard-00000.json': shard.name: expected a file name without '/' or NUL"),
        ("whole lie", "the sums over its shards leave 63 bits"),
        ("whole dead", "'dead': the run that makes it has not finished: there is no 'dataset.json'"),
    ])
    func whatDoesNotFitIsRefused(arguments: String, message: String) throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                parts + #"""
                    cp -r p1 copy
                    cp -r p1 holed; rm holed/shard-00000.json
                    cp -r p1 short; rm short/shard-00002.*
                    cp -r p1 bare; rm bare/shard-00002.json bare/dataset.json bare/ingest.json
                    echo 1 2 3 | tok-shard --format ids-text --vocab-size 70000 --output wide -
                    echo 1 2 3 | tok-shard --format ids-text --vocab-size 257 --output ids -
                    echo 1 2 3 | tok-shard --tokenizer bytes --format ids-text --vocab-size 300 --output padded -
                    bare() { cp -r whole $1; rm $1/dataset.json $1/ingest.json; }
                    bare mixed; sed -i 's/"vocabulary_size": 257/"vocabulary_size": 258/' mixed/shard-00001.json
                    bare truncated; truncate -s -1 truncated/shard-00000.tok.zst
                    bare swapped; cp swapped/shard-00000.json swapped/shard-00001.json
                    bare escape; sed -i 's,shard-00000.tok.zst,../whole/shard-00000.tok.zst,' escape/shard-00000.json
                    bare lie; sed -i 's/"tokens": .*/"tokens": 9223372036854775807,/' lie/shard-0000*.json
                    cp -r whole dead; rm dead/dataset.json dead/shard-00009.*
                    tok-shard merge --output all \#(arguments); echo $?
                    ls | grep -c -e all -e tmp
                    """#, directory: path)
            #expect(result.text == "65\n0\n", "\(result.errors)")
            #expect(result.errors.hasPrefix("tok-shard: ") && result.errors.contains(message), "\(result.errors)")
        }
    }

    @Test func anotherDatasetIsNotReplaced() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                parts + """
                    tok-shard merge --output p0 p1 p2 p0; echo $?
                    mkdir full; touch full/file; tok-shard merge --output full p0 p1 p2; echo $?
                    mkdir empty; tok-shard merge --output empty p0 p1 p2; echo $?
                    cp -r whole other; tok-shard merge --output other p0 p1 p2; echo $?
                    tok-shard --tokenizer bytes --shard 1/2 --output none in0 && tok-shard cat none | wc -l
                    tok-shard --tokenizer bytes --shard 0/2 --output no in0; tok-shard cat no | wc -c
                    for i in 0 1; do tok-shard --tokenizer bytes --shard $i/2 --resume --output e$i in0; done
                    for i in 0 1; do tok-shard --tokenizer bytes --shard $i/2 --resume --output e$i in0; done
                    tok-shard merge --output e e0 e1 && cmp <(tok-shard cat e) in0; echo $?
                    for bad in 2/2 -1/2 1 0/0 a/b 0/2/3; do
                        tok-shard --tokenizer bytes --shard $bad --output f in0; echo $?
                    done
                    """, directory: path)
            #expect(
                result.text.filter { $0 != " " }
                    == "64\n73\n0\n0\n50\n0\n0\n" + String(repeating: "64\n", count: 6),
                "\(result.text) \(result.errors)")
        }
    }

    /// Killed while it links: the parts are as they were, the output is absent, and the same command does it.
    @Test func aKilledMergeLeavesNothing() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                parts + """
                    strace -f -qq -o /dev/null -e trace=link,linkat -e inject=link,linkat:signal=KILL:when=4 \\
                        tok-shard merge --output all p0 p1 p2; echo $?
                    ls -d all 2> /dev/null
                    strace -f -qq -o /dev/null -e trace=syncfs -e inject=syncfs:error=EIO \\
                        tok-shard merge --output all p0 p1 p2; echo $?
                    ls -d all 2> /dev/null
                    tok-shard merge --output all p0 p1 p2 && tok-shard verify all; echo $?
                    """, directory: path)
            #expect(result.text == "137\n74\n0\n", "\(result.errors)")
        }
    }
}
