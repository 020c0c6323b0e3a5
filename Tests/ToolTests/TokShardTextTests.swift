// encode, decode and train-tokenizer as their users meet them: golden ids, bad input, closed readers, standard input.

import TestSupport
import Testing

@Suite struct TokShardTextTests {
    /// Ids 0 to 255 are the bytes, 256 is 'he', 257 'll', 258 'hell', 259 ' w', 260 'é'.
    private static let ranks = #"""
        python3 - > r.tiktoken <<'END'
        import base64
        for rank, token in enumerate([bytes([b]) for b in range(256)] + [b"he", b"ll", b"hell", b" w", b"\xc3\xa9"]):
            print(base64.b64encode(token).decode(), rank)
        END

        """#

    private func run(_ script: String) throws -> ToolResult {
        try withTemporaryDirectory { try runShell("set -e\n" + Self.ranks + script, directory: $0) }
    }

    private static let options = "--tokenizer r.tiktoken --pattern gpt2"

    @Test(arguments: [
        (#"printf 'hello world'"#, "", "258 111 259 111 114 108 100"),
        (#"printf 'h\303\251ll\377'"#, "", "104 260 257 255"),
        (#"printf ''"#, "", ""),
        (#"printf 'hello'"#, "--format ids-u16", "0201 6f00"),
        (#"printf 'll'"#, "--format ids-u32", "0101 0000"),
    ]) func encodesGolden(text: String, options: String, ids: String) throws {
        let raw = options.isEmpty ? "tr '\\n' ' '" : "od -An -v -t x1 | tr -d ' \\n' | sed 's/..../& /g'"
        // From standard input, from a file, and a byte at a time.
        let result = try run(
            #"""
            \#(text) > t
            encode() { tok-shard encode \#(Self.options) \#(options) "$@"; }
            encode t > a; \#(text) | encode - > b; dd if=t bs=1 2> /dev/null | encode - > c
            cmp a b; cmp a c; cat a | \#(raw)
            tok-shard decode \#(Self.options) \#(options) a | cmp - t
            tok-shard decode \#(Self.options) \#(options) - < a | cmp - t
            dd if=a bs=1 2> /dev/null | tok-shard decode \#(Self.options) \#(options) - | cmp - t
            """#)
        #expect(result.status == 0 && result.errors == "", "\(result.text) \(result.errors)")
        let found = result.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        // u16 pairs of bytes are written as they lie.
        let expected = options == "--format ids-u16" ? "0201 6f00" : ids
        #expect(found == expected, "\(text) \(options)")
    }

    /// Several files are several texts.
    @Test func filesAreTexts() throws {
        let result = try run("printf he > a; printf ll > b; tok-shard encode \(Self.options) a b a | tr '\\n' ' '")
        #expect(result.text == "256 257 256 ")
        let bytes = try run("printf 'a\\0\\377' | tok-shard encode --tokenizer bytes - | tr '\\n' ' '")
        #expect(bytes.text == "97 0 255 ")
    }

    @Test func specialTokensAreTextUnlessAllowed() throws {
        let result = try run(
            #"""
            for i in $(seq 60); do echo "the other $i"; done > text
            tok-shard train-tokenizer --vocab-size 270 --special '<s>' --special '<|end|>' --output tk.json text
            printf 'a<s>' > t
            tok-shard encode --tokenizer tk.json t | wc -l
            tok-shard encode --tokenizer tk.json --allow-special t | wc -l
            tok-shard encode --tokenizer tk.json --allow-special t | tail -n 1
            tok-shard encode --tokenizer tk.json --allow-special t | tok-shard decode --tokenizer tk.json - | cmp - t
            """#)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.text == "4\n2\n0\n")
    }

    @Test(arguments: [
        ("encode t", 64, "encode needs --tokenizer"),
        ("decode t", 64, "decode needs --tokenizer"),
        ("encode \(options)", 64, "no input files"),
        ("encode \(options) missing", 66, "cannot open 'missing': No such file or directory"),
        ("encode --tokenizer r.tiktoken t", 64, nil),
        ("encode --tokenizer bytes --pattern gpt2 t", 64, "--pattern is for rank files, not for 'bytes'"),
        ("encode --tokenizer bytes --allow-special t", 64, "--allow-special is for tokenizer files"),
        ("encode --tokenizer missing t", 66, "cannot open 'missing': No such file or directory"),
        ("encode --tokenizer empty t", 65, nil),
        ("decode \(options) t", 65, "'t': expected id 0 as a decimal number, found 'text'"),
        ("decode \(options) high", 65, "'high': id 261 is none of the tokenizer's"),
        ("decode \(options) signed", 65, "'signed': expected id 1 as a decimal number, found '+2'"),
        ("decode \(options) negative", 65, "'negative': expected id 0 as a decimal number, found '-1'"),
        ("decode \(options) huge", 65, "'huge': expected id 0 as a decimal number, found '4294967296'"),
        ("decode \(options) wide", 65, "'wide': expected decimal ids, found a word of more than 20 bytes"),
        ("decode \(options) --format ids-u16 odd", 65, "'odd': expected ids of 2 bytes, found 1 left over at the end"),
        ("decode \(options) --format ids-u32 odd", 65, "'odd': expected ids of 4 bytes, found 3 left over at the end"),
        ("decode --tokenizer bytes high", 65, "'high': id 261 is none of the tokenizer's"),
        ("train-tokenizer --output o missing", 66, "cannot open 'missing': No such file or directory"),
        ("train-tokenizer --output o --format ids-u16 t", 64, "--format ids-u16: a tokenizer is made from text"),
        ("train-tokenizer --output o --format jsonl --split-on x t", 64, "--split-on is for --format text"),
        ("train-tokenizer --output o --min-frequency -1 t", 64, nil),
        ("train-tokenizer --output o --vocab-size 100 t", 64, nil),
        ("train-tokenizer --output o --format jsonl t", 65, nil),
        ("train-tokenizer --output /dev/null t", 73, nil),
    ]) func badInputIsNamed(arguments: String, status: Int32, message: String?) throws {
        let result = try run(
            #"""
            printf 'text' > t; : > empty; echo 261 > high; echo '1 +2' > signed; echo -1 > negative; echo 4294967296 > huge
            printf '%050d' 7 > wide; printf 'a\0\0' > odd
            status=0; tok-shard \#(arguments) || status=$?
            [ ! -e o ] || echo "an output was left"
            exit $status
            """#)
        #expect(result.status == status, "\(arguments): \(result.errors)")
        #expect(result.output.isEmpty)
        #expect(result.errors.hasPrefix("tok-shard: "))
        if let message {
            #expect(result.errors.split(separator: "\n").first.map(String.init) == "tok-shard: " + message)
        }
    }

    @Test func aClosedReaderIsNoError() throws {
        let result = try run(
            #"""
            for i in $(seq 40000); do echo "hello world $i"; done > t
            tok-shard encode \#(Self.options) t | head -n 1
            tok-shard encode \#(Self.options) --format ids-u16 t > ids
            tok-shard decode \#(Self.options) --format ids-u16 ids | head -n 1
            """#)
        #expect(result.status == 0 && result.errors == "", "\(result.errors)")
        #expect(result.text == "258\nhello world 1\n")
    }

    /// The merges of a text that can be done by hand: 'ab' comes 6 times, then ' ab' 5 times, ' abc' 3 times, 'xy' and ' xy' twice.
    @Test func trainsGolden() throws {
        let result = try run(
            #"""
            printf 'abc abc abc abc ab ab xy xy' > t
            train() { tok-shard train-tokenizer --output "$@"; }
            train a --vocab-size 262 t
            jq -c '.model.merges, .added_tokens[0].content, (.model.vocab | length)' a
            # From standard input, in parts, as JSON Lines: the same file.
            train b --vocab-size 262 - < t; cmp a b
            printf '{"body": "abc abc abc abc ab ab xy xy"}\n' | train c --vocab-size 262 --format jsonl --field body -; cmp a c
            # Pairs across documents are none; rare pairs stay apart.
            train d --vocab-size 300 --min-frequency 3 t 2> said
            jq -c '.model.merges' d; cat said
            """#)
        #expect(result.status == 0 && result.errors == "", "\(result.errors)")
        #expect(
            result.text == """
                ["a b","Ġ ab","Ġab c","x y","Ġ xy"]
                "<|endoftext|>"
                262
                ["a b","Ġ ab","Ġab c"]
                tok-shard: the text has merges for a vocabulary of 260, less than 300

                """)
    }
}
