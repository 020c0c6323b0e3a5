// Looking into a dataset and saving what is left of a damaged one: every whole document comes back, in order, and what did
// not is counted.

import TestSupport
import Testing

struct TokShardRepairTests {
    /// Documents of 60,000 to 200,000 bytes in shards of a few frames, and `damage FILE OFFSET`.
    private let setUp = #"""
        for i in $(seq 12); do
            head -c $((60000 + i * 12000)) /dev/zero | tr '\0' "$(printf "\\$(printf %o $((96 + i)))")" > t$i
        done
        tok-shard --tokenizer bytes --shard-tokens 500000 --output d $(for i in $(seq 12); do echo t$i; done)
        damage() { printf '\xff\xfe\xfd' | dd of=$1 bs=1 seek=$2 conv=notrunc 2> /dev/null; }
        frame() { tok-shard verify $1 2>&1 | sed -n 's/.*frame \([0-9]*\) at.*/\1/p' | sort -un | tr '\n' ' '; }

        """#

    @Test func aSoundDatasetIsCopied() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                setUp + """
                    tok-shard repair --output r d && tok-shard verify --deep r && tok-shard verify --deep d || exit
                    cmp <(tok-shard cat --ids r) <(tok-shard cat --ids d) || exit
                    ls d/*.zst | wc -l; tok-shard repair --output r d; echo $?
                    """, directory: path)
            #expect(result.text.filter { $0 != " " } == "3\n73\n", "\(result.errors)")
        }
    }

    /// One bad frame costs the documents that lie in it, in part or whole, and no other.
    @Test func documentsOutsideTheBadFrameAreSaved() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                setUp + #"""
                    # Frame 1 of shard 0 begins where frame 0 ends: find it by its magic.
                    at=$(python3 -c 'print(open("d/shard-00000.tok.zst", "rb").read().find(b"\x28\xb5\x2f\xfd", 4))')
                    damage d/shard-00000.tok.zst $((at + 10))
                    frame d; echo
                    tok-shard repair --output r d; echo $?
                    tok-shard verify --deep r || exit
                    # Tokens 131,072 to 262,143 lie in it: the end of document 1, document 2, the beginning of document 3.
                    tok-shard cat --ids --document 0 r | wc -w
                    for i in 1 5 6 7 8 9 10 11 12; do cat t$i; done > expected
                    tok-shard cat r | cmp - expected && tok-shard cat --ids r | wc -l
                    """#, directory: path)
            #expect(result.text.filter { $0 != " " } == "1\n1\n72001\n9\n", "\(result.text) \(result.errors)")
            let lines = result.errors.split(separator: "\n").map(String.init)
            try #require(lines.count == 3, "\(result.errors)")
            #expect(lines[0].contains("'d/shard-00000.tok.zst', frame 1 at byte"))
            #expect(
                lines[1] == "tok-shard: 'shard-00000.tok.zst': lost 3 of 6 documents, 288003 of 612006 tokens",
                "\(lines[1])")
            #expect(
                lines[2]
                    == "tok-shard: 9 documents, 1368009 tokens saved in 'r'; 3 documents, 288003 tokens lost",
                "\(lines[2])")
        }
    }

    /// Without the tables at its end a shard still has its frames, and `bytes` says where documents end.
    @Test(arguments: ["truncate -s -100", "truncate -s -1", "damage-index", "truncate -s 60", "rm"])
    func aShardWithoutItsIndexIsWalked(how: String) throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                setUp + #"""
                    tail -c 40 d/shard-00001.tok.zst > tail
                    case '\#(how)' in
                        damage-index) damage d/shard-00001.tok.zst $(($(stat -c %s d/shard-00001.tok.zst) - 30)) ;;
                        *) \#(how) d/shard-00001.tok.zst ;;
                    esac
                    tok-shard repair --output r d; echo $?
                    tok-shard verify --deep r || exit
                    tok-shard cat r > saved
                    cat t? t1? > whole
                    tok-shard cat --ids r | wc -l
                    tok-shard cat r | cmp - <(for i in $(seq 12); do cat t$i; done) 2>&1 | grep -c EOF
                    """#, directory: path)
            let saved = result.text.filter { $0 != " " }.split(separator: "\n")
            try #require(saved.count == 3, "\(result.text) \(result.errors)")
            if how.hasPrefix("truncate -s 60") || how == "rm" {
                #expect(saved[0] == "1" && Int(saved[1]) ?? 99 < 12, "\(result.text)")
                #expect(result.errors.contains("'shard-00001.tok.zst': lost "))
            } else {
                #expect(saved[0] == "0" && saved[1] == "12" && saved[2] == "0", "\(result.text) \(result.errors)")
            }
        }
    }

    @Test func withoutIndexAndTokenizerTheLossIsSaid() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                """
                seq 9 | tok-shard --format ids-text --vocab-size 10 --shard-tokens 3 --output d -
                truncate -s -1 d/shard-00001.tok.zst
                tok-shard repair --output r d; echo $?
                tok-shard verify r && tok-shard cat --ids r | tr '\\n' ' '
                """, directory: path)
            #expect(result.text == "1\n1 2 3 7 8 9 ", "\(result.errors)")
            #expect(
                result.errors.contains(
                    "tok-shard: 'd/shard-00001.tok.zst': without its index nothing says where documents end; "
                        + "the whole shard is lost\n"
                        + "tok-shard: 'shard-00001.tok.zst': lost 3 of 3 documents, 3 of 3 tokens\n"
                        + "tok-shard: 6 documents, 6 tokens saved in 'r'; 3 documents, 3 tokens lost\n"),
                "\(result.errors)")
        }
    }

    @Test func deepFindsIdsThatMeanNothing() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                """
                ids() { tok-shard --tokenizer bytes --format ids-text --vocab-size 300 --output $1 -; }
                echo 97 98 260 99 | ids hole; tok-shard verify hole && tok-shard verify --deep hole; echo $?
                echo 97 98 256 | ids fine; tok-shard verify --deep fine; echo $?
                printf '97 256\\n98 256\\n' > lines
                tok-shard --tokenizer bytes --output text lines; tok-shard verify --deep text; echo $?
                printf '\\x61\\0\\0\\1\\x62\\0\\0\\1' > raw
                tok-shard import --from nanogpt --tokenizer bytes --end-of-document 256 --output cut raw
                tok-shard verify --deep cut; echo $?
                printf '[97, 256, 98, 256]\\n' > inner
                tok-shard import --from jsonl --tokenizer bytes --end-of-document 256 --output inner.d inner
                tok-shard verify inner.d && tok-shard verify --deep inner.d; echo $?
                """, directory: path)
            #expect(result.text == "1\n0\n0\n0\n1\n", "\(result.errors)")
            #expect(
                result.errors.contains(
                    "frame 0 at byte 0: token 2 is id 260, for which the tokenizer has no token\n"))
            #expect(
                result.errors.contains(
                    "frame 0 at byte 0: token 1 is the end-of-document id 256 inside a document\n"), "\(result.errors)")
        }
    }

    @Test func infoCountsTokens() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                #"""
                printf 'abracadabra' > t
                tok-shard --tokenizer bytes --output d t
                tok-shard info --top 2 d | tail -n 3
                tok-shard info --json --top 3 d | grep -o '"distinct_tokens.*'
                tok-shard info d | grep -c distinct
                tok-shard info --top 0 d; echo $?
                echo 5 | tok-shard --format ids-text --vocab-size 4000000000 --output wide -
                tok-shard info --top 1 wide; echo $?
                tok-shard cat --document 0 --text d; echo; tok-shard cat --text --ids d; echo $?
                """#, directory: path)
            #expect(
                result.text == """
                                id         count      part  text
                                97             5   41.67 %  'a'
                                98             2   16.67 %  'b'
                    "distinct_tokens":6,"top_tokens":[{"id":97,"count":5,"text":"a"},{"id":98,"count":2,"text":"b"},{"id":114,"count":2,"text":"r"}]}
                    0
                    64
                    64
                    abracadabra
                    64

                    """, "\(result.text) \(result.errors)")
        }
    }
}
