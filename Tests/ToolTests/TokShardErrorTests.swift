// What tok-shard says when something is wrong: one line that names the place, and the exit code for its kind.

import TestSupport
import Testing

struct TokShardErrorTests {
    private func expectError(
        _ arguments: String, input: [(name: String, bytes: [UInt8])] = [], status: Int32, _ message: String
    ) throws {
        try withTemporaryDirectory { path in
            for file in input { try writeFile(file.bytes, to: path + "/" + file.name) }
            let result = try runShell("tok-shard \(arguments)", directory: path)
            #expect(result.status == status, "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").first.map(String.init) == "tok-shard: " + message)
            #expect(result.output.isEmpty)
            #expect(!exists(path + "/d/dataset.json"))
        }
    }

    private func file(_ text: String) -> [(name: String, bytes: [UInt8])] { [("f", Array(text.utf8))] }

    @Test func jsonLinesAreStrict() throws {
        let options = "--tokenizer bytes --output d --format jsonl f"
        let good = "{\"text\": \"a\"}\n"
        for (line, message) in [
            ("{\"text\": 1}", "at byte 14: field 'text' is no string"),
            ("{\"body\": \"x\"}", "at byte 14: no field 'text'"),
            ("[1]", "at byte 14: expected an object"),
            ("{\"text\": \"b\"", "at byte 26: expected ',' or '}' in an object"),
            ("{\"text\": \"a\", \"text\": \"b\"}", "at byte 28: duplicate key 'text'"),
            ("{\"text\": \"\\ud800\"}", "at byte 26: lone surrogate in a string"),
        ] {
            try expectError(
                options, input: file(good + line + "\n" + good), status: 65, "'f', line 2, \(message)")
        }
    }

    @Test func idsAreChecked() throws {
        try expectError(
            "--output d --format ids-u16 --vocab-size 257 f", input: [("f", [1, 0, 0, 1, 1, 1])], status: 65,
            "'f' at byte 4: id 257 is not below the vocabulary size 257")
        try expectError(
            "--output d --format ids-u16 --vocab-size 257 f", input: [("f", [1, 0, 0])], status: 65,
            "'f' at byte 2: expected ids of 2 bytes, found 1 left over at the end")
        // 70000 must not become 4464.
        try expectError(
            "--output d --format ids-u32 --vocab-size 65536 f", input: [("f", [0x70, 0x11, 1, 0])], status: 65,
            "'f' at byte 0: id 70000 is not below the vocabulary size 65536")
        try expectError(
            "--output d --format ids-text --vocab-size 257 f", input: file("1 2\n3 99999999999999999999\n"), status: 65,
            "'f', line 2, at byte 6: id 9007199254740992 is not below the vocabulary size 257")
        try expectError(
            "--output d --format ids-text --vocab-size 257 f", input: file("1 2\n-3\n"), status: 65,
            "'f', line 2, at byte 4: expected decimal ids and blanks, found byte 0x2d")
        try expectError(
            "--output d --format ids-u16 f", input: file("ab"), status: 64,
            "--format ids-u16 needs --vocab-size or --tokenizer")
        try expectError(
            "--tokenizer bytes --output d --format ids-u16 --vocab-size 256 f", input: file("ab"), status: 64,
            "--vocab-size 256: the tokenizer has a vocabulary of 257, expected at least that")
        try expectError(
            "--tokenizer bytes --output d --format ids-u16 f", input: [("f", [1, 0, 1, 1])], status: 65,
            "'f' at byte 2: id 257 is not below the vocabulary size 257")
        try expectError(
            "--tokenizer bytes --output d --format ids-u16 --end-of-document 256 f", input: [("f", [0, 1, 1, 0])],
            status: 65, "'f' at byte 4: expected the end-of-document id 256 at the end of the last document")
    }

    @Test func argumentsAreChecked() throws {
        try expectError("--output d f", input: file("x"), status: 64, "--format text needs --tokenizer")
        try expectError("--tokenizer bytes --output d", status: 64, "no input files")
        try expectError(
            "--tokenizer bytes --output d none", status: 66, "cannot open 'none': No such file or directory")
        try expectError(
            "--tokenizer f --output d f", input: file("{}"), status: 65, "'f': model: expected an object")
        try expectError(
            "--tokenizer bytes --output d --level 20 f", input: file("x"), status: 64, "a compression level is 1 to 19")
        try expectError(
            "--tokenizer bytes --output d --validation 1 f", input: file("x"), status: 64,
            "a validation part lies between 0 and 1")
        try expectError(
            "--tokenizer bytes --output f f", input: file("x"), status: 73,
            "cannot create 'f': it exists and is no directory")
        try expectError("cat none", status: 66, "cannot open 'none': no such dataset directory")
    }

    /// With descriptor 2 closed, messages once went into the first file that was opened.
    @Test func closedDescriptorsAreNobodysFile() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                #"""
                mkfifo pipe; exec 3<> pipe
                tok-shard --tokenizer bytes --output d pipe 0<&- 1>&- 2>&- & shard=$!
                until [ -e d/ingest.json ]; do sleep 0.01; done
                for number in 0 1 2; do readlink /proc/$shard/fd/$number; done
                kill $shard; wait $shard
                echo x > f
                tok-shard --tokenizer bytes --output e - 0<&-; echo $?
                tok-shard --tokenizer bytes --output g f && tok-shard cat g 1>&-; echo $?
                """#, directory: path)
            #expect(result.text == "/dev/null\n/dev/null\n/dev/null\n74\n74\n")
            #expect(result.errors.contains("cannot read 'standard input': Bad file descriptor"))
            #expect(result.errors.contains("cannot write 'standard output': Bad file descriptor"))
        }
    }

    @Test(arguments: ["---", "--", "-", "--output", "-x", "===", "--split-on"])
    func anyLineIsASeparator(separator: String) throws {
        try withTemporaryDirectory { path in
            try writeFile("a\n\(separator)\nb\n", to: path + "/t")
            let result = try runShell(
                """
                tok-shard --tokenizer bytes --output d --split-on \(separator) t && tok-shard verify d || exit
                test $(tok-shard cat --ids d | wc -l) = 2 || exit
                tok-shard cat --separator \(separator) d | cmp - t
                """, directory: path)
            #expect(result.status == 0, "\(result.text) \(result.errors)")
        }
    }

    /// The hint of a slip names the help that shows the options, the default subcommand's included.
    @Test func theHintNamesAHelpThatHelps() throws {
        for (arguments, help, option) in [
            ("tok-shard --nope", "tok-shard --help", "--split-on <line>"),
            ("tok-shard cat --nope", "tok-shard cat --help", "--separator <line>"),
            ("tok-pack --nope", "tok-pack --help", "--cross-document"),
            ("tok-pack inspect --nope", "tok-pack inspect --help", "--batch <k>"),
        ] {
            let slip = try runShell(arguments)
            #expect(slip.status == 64)
            #expect(slip.errors.hasSuffix("\nhint: '\(help)' shows the options\n"))
            let shown = try runShell(help)
            #expect(shown.status == 0)
            #expect(shown.text.contains("\n  " + option))
            #expect(shown.text.contains("USAGE: \(help.dropLast(7)) ") && !shown.text.contains("<subcommand> "))
        }
        #expect(try runShell("tok-pack --help").text.contains("\nSUBCOMMANDS:\n  pack (default) "))
    }

    /// A FIFO in place of a file once hung for ever.
    @Test func whatIsNoFileIsRefusedAtOnce() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                #"""
                mkfifo pipe; echo x > t
                timeout 5 tok-shard --tokenizer pipe --output d t; echo $?
                timeout 5 tok-shard --tokenizer bytes --output d t; echo $?
                for name in dataset.json shard-00000.tok.zst; do
                    rm d/$name; mkfifo d/$name
                    timeout 5 tok-pack --rows 1 --length 1 d > out; echo $?
                    rm d/$name; ln -s /dev/zero d/$name
                    timeout 5 tok-shard info d; echo $?
                    rm -r d; tok-shard --tokenizer bytes --output d t
                done
                """#, directory: path)
            #expect(result.text == "66\n0\n66\n65\n66\n65\n", "\(result.errors)")
            #expect(result.errors.contains("cannot open 'd/dataset.json': not a regular file"))
        }
    }

    @Test func oneWriterAtATime() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                """
                echo x > t
                mkfifo pipe; exec 3<> pipe
                tok-shard --tokenizer bytes --output d pipe & first=$!
                until [ -e d/ingest.json ]; do sleep 0.01; done
                tok-shard --tokenizer bytes --output d t; echo $?
                tok-shard --tokenizer bytes --output d --resume t; echo $?
                # The lock goes with its process, however that ends.
                kill -9 $first; wait $first; exec 3>&-
                echo y > pipe & tok-shard --tokenizer bytes --output d --resume pipe; echo $?
                tok-shard cat d
                """, directory: path)
            #expect(result.text == "73\n73\n0\ny\n", "\(result.errors)")
            #expect(result.errors.contains("tok-shard: 'd' is in use by another process\nhint: "))
        }
    }

    /// The record of a run that failed on its first lines was once in the way of the corrected one.
    @Test(arguments: ["", "--resume", "--validation 0.5", "--validation 0.5 --resume"])
    func aFailedRunLeavesNothingInTheWay(options: String) throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                """
                seq 9 | sed 's/.*/{"text": "&"}/' > good
                (cat good; echo '{') > bad
                shard() { tok-shard --tokenizer bytes --format jsonl --output $1 \(options) $2; echo $?; }
                shard d bad; ls
                shard d good
                # A directory that was there stays, and so does what somebody has put into it meanwhile.
                mkdir e; shard e bad; ls e
                shard e good
                # What is finished stays, to be resumed or looked at.
                tok-shard --tokenizer bytes --format jsonl --shard-tokens 2 --output f \(options) bad; echo $?
                find f -name '*00000.tok.zst' | wc -l
                """, directory: path)
            let sides = options.contains("validation") ? 2 : 1
            #expect(result.text == "65\nbad\ngood\n0\n65\n0\n65\n\(sides)\n", "\(result.errors)")
        }
    }

    @Test func anEmptySideIsSaid() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                """
                echo one > a; echo two > b
                tok-shard --tokenizer bytes --validation 0.000001 --output d a b && tok-shard cat d/train
                tok-shard --tokenizer bytes --validation 0.999999 --output e a b && tok-shard cat e/validation
                """, directory: path)
            #expect(result.text == "one\ntwo\none\ntwo\n")
            let lines = result.errors.split(separator: "\n")
            try #require(lines.count == 4)
            #expect(lines[0] == "tok-shard: no document of 2 fell to 'd/validation'")
            #expect(lines[1].hasPrefix("hint: a larger --validation"))
            #expect(lines[2] == "tok-shard: no document of 2 fell to 'e/train'")
            #expect(lines[3].hasPrefix("hint: a smaller --validation"))
        }
    }

    /// A byte order mark at the start of each input is no part of its first line; anywhere else it is no JSON.
    @Test func aByteOrderMarkIsPassedOver() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                #"""
                printf '\xef\xbb\xbf{"text": "a"}\n{"text": "b"}\n' > f
                printf '\xef\xbb\xbf' > g
                printf '\xef\xbb\xbf[]\n' > h
                printf '{"text": "a"}\n\xef\xbb\xbf{"text": "b"}\n' > i
                tok-shard --tokenizer bytes --format jsonl --output d f g f && tok-shard cat --separator , d
                tok-shard --tokenizer bytes --format jsonl --output e h; echo $?
                tok-shard --tokenizer bytes --format jsonl --output e i; echo $?
                tok-shard --tokenizer bytes --output e g; tok-shard cat e | wc -c
                """#, directory: path)
            #expect(result.text == "a,\nb,\na,\nb65\n65\n3\n")
            let lines = result.errors.split(separator: "\n").map(String.init)
            #expect(lines.first == "tok-shard: 'h', line 1, at byte 3: expected an object")
            #expect(lines.last?.hasPrefix("tok-shard: 'i', line 2, at byte 14: ") == true)
        }
    }

    @Test func idsComeBackInEveryFormat() throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                #"""
                set -e
                printf '1 2 3\n70000\n4 5\n' > ids
                tok-shard --format ids-text --vocab-size 70001 --output a ids
                tok-shard cat --ids a | cmp - ids
                zstd -dc a/shard-00000.tok.zst > raw
                tok-shard --format ids-u32 --vocab-size 70001 --output b raw
                [ "$(tok-shard cat --ids b)" = '1 2 3 70000 4 5' ]
                tok-shard --format ids-u32 --vocab-size 70001 --end-of-document 70000 --output c raw
                [ "$(tok-shard cat --ids c)" = "$(printf '1 2 3 70000\n4 5')" ]
                tok-shard info --json c | grep -q '"end_of_document":70000'
                tok-shard verify a; tok-shard verify b; tok-shard verify c
                """#, directory: path)
            #expect(result.status == 0, "\(result.text) \(result.errors)")
        }
    }

    /// The tokenizer of ids gives their number and makes them text again; padding of the vocabulary is allowed.
    @Test(arguments: ["", "--vocab-size 257", "--vocab-size 512"])
    func idsOfATokenizerAreTextAgain(size: String) throws {
        try withTemporaryDirectory { path in
            let result = try runShell(
                """
                set -e
                printf 'first\nsecond\n' > t
                tok-shard --tokenizer bytes --output a --split-on '' t t
                zstd -dc a/shard-00000.tok.zst > raw
                tok-shard --tokenizer bytes --format ids-u16 --end-of-document 256 \(size) --output b raw
                tok-shard verify b
                tok-shard cat b | cmp - <(cat t t)
                test $(tok-shard cat --ids b | wc -l) = 2
                tok-shard --tokenizer bytes --format ids-u16 \(size) --output c raw
                tok-shard verify c
                tok-shard cat c | cmp - <(cat t t)
                tok-shard cat --ids a | tok-shard --tokenizer bytes --format ids-text \(size) --output d -
                tok-shard cat --document 1 d | cmp - t
                """, directory: path)
            #expect(result.status == 0, "\(result.text) \(result.errors)")
        }
    }

    @Test func emptyDocumentsAreCountedNotStored() throws {
        try withTemporaryDirectory { path in
            try writeFile("", to: path + "/empty")
            try writeFile("--\na\n--\n--\r\nb", to: path + "/t")
            let result = try runShell("tok-shard --tokenizer bytes --output d --split-on=-- t empty", directory: path)
            #expect(result.status == 0)
            #expect(result.errors == "tok-shard: 2 documents, 5 tokens stored; 2 empty documents left out\n")
            #expect(try runShell("tok-shard cat --ids d", directory: path).text == "97 10 256\n98 256\n")
        }
    }

    @Test func aClosedReaderIsNoError() throws {
        try withTemporaryDirectory { path in
            try writeFile(sampleText(bytes: 2_000_000), to: path + "/t")
            let result = try runShell(
                "tok-shard --tokenizer bytes --level 1 --output d t && tok-shard cat d | head -c 10 | wc -c",
                directory: path)
            #expect(result.status == 0)
            #expect(result.text.filter(\.isNumber) == "10")
            #expect(result.errors == "")
        }
    }

    @Test func verifyAnswersNo() throws {
        try withTemporaryDirectory { path in
            try writeFile("hello", to: path + "/t")
            let result = try runShell(
                """
                tok-shard --tokenizer bytes --output d t
                printf X | dd of=d/shard-00000.tok.zst bs=1 seek=10 conv=notrunc 2> /dev/null
                tok-shard verify d
                """, directory: path)
            #expect(result.status == 1)
            let lines = result.errors.split(separator: "\n")
            #expect(lines.count == 3)
            #expect(lines[0].hasPrefix("tok-shard: bad sha256 of 'd/shard-00000.tok.zst': expected "))
            #expect(lines[1].hasPrefix("tok-shard: 'd/shard-00000.tok.zst', frame 0 at byte 0: "), "\(lines[1])")
            #expect(lines[2] == "tok-shard: 'd' is damaged: 2 findings")
        }
    }
}
