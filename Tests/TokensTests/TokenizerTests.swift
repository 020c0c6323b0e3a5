// Tokenizers on vocabularies small enough to be checked by hand. What real ones do is compared with tiktoken and
// tokenizers by `make tokenizers`.

import Bytes
import TestSupport
import Testing
import Tokens

/// A rank file of all bytes (ranks 0 … 255) and of `tokens`, ranks from 256 on.
private func rankFile(_ tokens: [[UInt8]]) -> [UInt8] {
    let all = (0..<256).map { [UInt8($0)] } + tokens
    return Array(all.enumerated().map { "\(base64($1)) \($0)\n" }.joined().utf8)
}

private func base64(_ bytes: [UInt8]) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var text = ""
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let part = bytes[start..<min(start + 3, bytes.count)]
        let word = part.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - part.count))
        for index in 0..<4 {
            text.append(index <= part.count ? digits[word >> (18 - 6 * index) & 63] : "=")
        }
    }
    return text
}

private func ranks(_ tokens: [[UInt8]], pattern: PretokenPattern? = .gpt2) throws -> BytePairTokenizer {
    try BytePairTokenizer(content: rankFile(tokens), name: "t.tiktoken", file: "t.tiktoken", pattern: pattern)
}

private func ranks(_ tokens: [String], pattern: PretokenPattern? = .gpt2) throws -> BytePairTokenizer {
    try ranks(tokens.map { Array($0.utf8) }, pattern: pattern)
}

/// The rule of merges, word for word: the lowest rank, of equal ones the first. What is a token is one.
private func naiveMerge(_ text: [UInt8], _ tokens: [[UInt8]]) -> [UInt32] {
    if let whole = tokens.firstIndex(of: text) { return [UInt32(256 + whole)] }
    var parts = text.map { [$0] }
    while true {
        var best: (rank: Int, at: Int)?
        for at in 0..<(parts.count - 1) {
            guard let rank = tokens.firstIndex(of: parts[at] + parts[at + 1]) else { continue }
            if best.map({ rank < $0.rank }) ?? true { best = (rank, at) }
        }
        guard let best else { break }
        parts[best.at] += parts.remove(at: best.at + 1)
    }
    return parts.map { part in
        part.count == 1 ? UInt32(part[0]) : UInt32(256 + (tokens.firstIndex(of: part) ?? 0))
    }
}

/// tokenizer.json with all bytes (ids 0 … 255), `merges` in order (ids from 256 on), one change of the file's text.
private func jsonFile(
    merges: [(String, String)], added: String = "", change: (from: String, to: String)? = nil
) -> [UInt8] {
    var vocabulary = JSONObject()
    for byte in 0..<256 { vocabulary[ByteLevel.encode([UInt8(byte)])] = .integer(byte) }
    var pairs: [JSON] = []
    for (index, (left, right)) in merges.enumerated() {
        let (left, right) = (ByteLevel.encode(left.utf8), ByteLevel.encode(right.utf8))
        vocabulary[left + right] = .integer(256 + index)
        pairs.append(.string(left + " " + right))
    }
    var text = String(
        decoding: JSONTokenizerFile.write(
            vocabulary: .object(vocabulary), merges: pairs, special: [], expressions: nil),
        as: UTF8.self)
    if !added.isEmpty { text.replace("\"added_tokens\":[]", with: "\"added_tokens\":[\(added)]") }
    if let change {
        precondition(text.contains(change.from), "nothing to change: \(change.from)")
        text.replace(change.from, with: change.to)
    }
    return Array(text.utf8)
}

private func json(_ content: [UInt8]) throws -> BytePairTokenizer {
    try BytePairTokenizer(content: content, name: "tokenizer.json", file: "f", pattern: nil)
}

/// What cuts may be made of: letters of several scripts, marks, numbers, contractions, white space, invalid bytes.
private let cutMaterial: [[UInt8]] =
    [
        "a", "Z", "word", "'s", "'ll", "ſ", " ", "  ", "\n", "\r\n", "\t", "\u{a0}", "1", "2345", "é", "e\u{301}",
        "\u{301}",
        "Привет", "я", "\u{483}", "你", "好", "、", "。", "，", "！", "か", "カ", "한", "!", "/", "...", "\u{1f600}", "\u{200d}",
        "<|x|>",
        "ǅ", "ª", "_",
    ].map { Array($0.utf8) } + [[0xff], [0xd0], [0xe5, 0x80], [0xe3, 0x80], [0x80]]

@Suite struct SafeCutTests {
    /// The promise of `safeCut`: both sides have the ids of the whole, whatever pattern, form and bytes.
    @Test(arguments: PretokenPattern.allCases) func bothSidesHaveTheIdsOfTheWhole(pattern: PretokenPattern) throws {
        let tokenizer = try ranks(
            ["th", " w", "or", " wor", "word", " \n", "\n\n", "。\n", "好。", "s ", "'s", "  "], pattern: pattern)
        var noise: UInt64 = 7
        var cuts = 0
        for _ in 0..<4000 {
            var text: [UInt8] = []
            for _ in 0..<12 {
                noise = noise &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                text += cutMaterial[Int(noise >> 33) % cutMaterial.count]
            }
            guard let place = tokenizer.safeCut(in: text, from: 0, allowSpecial: false) else { continue }
            cuts += 1
            #expect(place > 0 && place < text.count)
            let (left, right) = (Array(text[..<place]), Array(text[place...]))
            #expect(
                try tokenizer.ids(of: text) == tokenizer.ids(of: left) + tokenizer.ids(of: right),
                "\(String(decoding: left, as: UTF8.self))|\(String(decoding: right, as: UTF8.self))")
        }
        #expect(cuts > 1000)
    }

    /// A token that reaches over a place where text could be cut forbids all cuts.
    @Test func addedTokensAreNotCut() throws {
        let merges = [("a", "b")]
        let added =
            #"{"id":300,"content":"x y","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false}"#
        #expect(
            try json(jsonFile(merges: merges)).safeCut(in: Array("ab x y z".utf8), from: 0, allowSpecial: false) == 6)
        let tokenizer = try json(jsonFile(merges: merges, added: added))
        #expect(tokenizer.safeCut(in: Array("ab x y z".utf8), from: 0, allowSpecial: false) == nil)
    }
}

private func cut(_ text: String, _ pattern: PretokenPattern) -> [String] {
    let bytes = Array(text.utf8)
    var start = 0
    return pattern.ends(in: bytes).map { end in
        defer { start = end }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }
}

struct TokenizerTests {
    @Test func patternsCutAsTheirExpressionsDo() {
        // What Python's `regex` finds with the expressions of docs/formats/tokenizer.md.
        let cases: [(PretokenPattern, String, [String])] = [
            (.gpt2, "Don't  go\n\n 12345ab", ["Don", "'t", " ", " go", "\n\n", " 12345", "ab"]),
            (.gpt2, "DON'T'll ", ["DON", "'", "T", "'ll", " "]),
            (.cl100k, "DON'T (hi)\r\n\n x", ["DON", "'T", " (", "hi", ")\r\n\n", " x"]),
            (.cl100k, "a'ſb 1234567", ["a", "'ſ", "b", " ", "123", "456", "7"]),
            (.cl100k, "x \n\n  ", ["x", " \n\n", "  "]),
            (.cl100kTiktoken, "x \n\n  ", ["x", " \n\n  "]),
            (.qwen, "ab123", ["ab", "1", "2", "3"]),
            (.o200k, "HTMLParser's camelCase/\n/x", ["HTMLParser's", " camel", "Case", "/\n/", "x"]),
            (.o200k, "ªABC \u{301}ABC", ["ª", "ABC", " \u{301}", "ABC"]),
            (.tekken, "It's 42", ["It", "'s", " ", "4", "2"]),
            (.deepseek, "2024年カ・タ a.b\u{1}\u{2}c", ["202", "4", "年カ", "・", "タ", " a", ".b", "\u{1}", "\u{2}c"]),
        ]
        for (pattern, text, expected) in cases { #expect(cut(text, pattern) == expected, "\(pattern) \(text)") }
    }

    @Test func ranksMergeTheLowestFirst() throws {
        let tokenizer = try ranks(["bc", "ab", "abc", "abcd", " a"])
        #expect(tokenizer.vocabularySize == 261)
        // "ab" has the higher rank, so "bc" merges first; then a + bc is a token.
        #expect(try tokenizer.ids(of: Array("abcx".utf8)) == [258, 120])
        // A whole pre-token that is a token, though no merge leads to it: abc + d would.
        #expect(try tokenizer.ids(of: Array("abcd".utf8)) == [259])
        // Of equal pairs the first.
        #expect(try ranks(["aa"]).ids(of: Array("aaa".utf8)) == [256, 97])
    }

    @Test func mergesFollowTheirOrder() throws {
        let merges = [("a", "b"), ("b", "c"), ("ab", "c")]
        #expect(try json(jsonFile(merges: merges)).ids(of: Array("abc bc".utf8)) == [258, 32, 257])
        // Without its merge a token is not found, except where the file says so.
        let (from, to) = (",\"Ġ b\"]", "]")
        let unreachable = [("a", "b"), (" ", "b")]
        let plain = jsonFile(merges: unreachable, change: (from, to))
        #expect(try json(plain).ids(of: Array(" b".utf8)) == [32, 98])
        let whole = String(decoding: plain, as: UTF8.self)
            .replacing("\"ignore_merges\":false", with: "\"ignore_merges\":true")
        #expect(try json(Array(whole.utf8)).ids(of: Array(" b".utf8)) == [257])
    }

    @Test func longPretokensMergeLikeShortOnes() throws {
        let tokens = ["aa", "aaaa", "ab", "ba", "aab", "abab"].map { Array($0.utf8) }
        let tokenizer = try ranks(tokens)
        var state: UInt64 = 7
        for length in [2, 3, 15, 16, 31, 32, 47, 48, 49, 50, 100, 301] {
            let text = (0..<length).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(97 + state >> 63)
            }
            for _ in 0..<2 { #expect(try tokenizer.ids(of: text) == naiveMerge(text, tokens), "length \(length)") }
        }
    }

    /// Long pre-tokens and those of scripts without spaces are taken in parts, at borders that no token goes over: also when
    /// tokens begin and end inside characters.
    @Test func partsOfAPretokenMergeLikeTheWhole() throws {
        var state: UInt64 = 11
        func random(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % below
        }
        let characters = Array("你好也世かな한é").map { Array(String($0).utf8) }
        func text(_ count: Int) -> [UInt8] { (0..<count).flatMap { _ in characters[random(characters.count)] } }
        for _ in 0..<40 {
            var tokens: [[UInt8]] = []
            while tokens.count < 24 {
                let source = text(4)
                let begin = random(source.count - 2)
                let token = Array(source[begin..<min(begin + 2 + random(6), source.count)])
                if !tokens.contains(token) { tokens.append(token) }
            }
            let tokenizer = try ranks(tokens)
            for _ in 0..<60 {
                let text = text(1 + random(24))
                let ids = try tokenizer.ids(of: text)
                #expect(ids == naiveMerge(text, tokens), "\(tokens) \(text)")
            }
        }
    }

    @Test func idsDoNotDependOnTheCut() throws {
        var text = Array(
            "It's “quoted”,  12345678 \r\n\r\n  tail ÀÉ naïve 中文字 カタカナ・ａ e\u{301}x 🎉🎉 <|x|> AAAAb   \n ".utf8)
        text += [0xe2, 0x82, 0x20, 0xff, 0xf0, 0x9f, 0x41, 0xed, 0xa0, 0x80]
        text += text
        for pattern in PretokenPattern.allCases {
            let tokenizer = try ranks(["It", "12", " t", "AA", "\n\n", "  "], pattern: pattern)
            let whole = try tokenizer.ids(of: text)
            #expect(tokenizer.decode(whole) == text)
            for size in [1, 2, 3, 7, 64] {
                let encoder = try tokenizer.makeEncoder(allowSpecial: false)
                for _ in 0..<2 {
                    var stored: [UInt8] = []
                    for start in stride(from: 0, to: text.count, by: size) {
                        stored += try encoder.encode(
                            Array(text[start..<min(start + size, text.count)]), endsDocument: false)
                    }
                    stored += try encoder.encode([], endsDocument: true)
                    #expect([UInt16](littleEndianBytes: stored[...]).map(UInt32.init) == whole, "\(pattern), \(size)")
                }
            }
        }
    }

    @Test func normalFormsAreThoseOfUnicode() throws {
        func normal(_ form: String, _ text: String, size: Int = 1000) throws -> String {
            let tokenizer = try json(
                jsonFile(merges: [], change: ("\"normalizer\":null", "\"normalizer\":{\"type\":\"\(form)\"}")))
            let encoder = try tokenizer.makeEncoder(allowSpecial: false)
            var stored: [UInt8] = []
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: size) {
                stored += try encoder.encode(Array(bytes[start..<min(start + size, bytes.count)]), endsDocument: false)
            }
            stored += try encoder.encode([], endsDocument: true)
            return String(
                decoding: tokenizer.decode([UInt16](littleEndianBytes: stored[...]).map(UInt32.init)), as: UTF8.self)
        }
        let cases = [
            ("e\u{301}", "é", "é"), ("a\u{327}\u{301}", "á\u{327}", "á\u{327}"), ("\u{1112}\u{1161}\u{11ab}", "한", "한"),
            ("ﬁ ２ ①", "ﬁ ２ ①", "fi 2 1"), ("\u{212b}\u{2126}", "\u{c5}\u{3a9}", "\u{c5}\u{3a9}"),
            ("q\u{307}\u{323}", "q\u{323}\u{307}", "q\u{323}\u{307}"), ("\u{958}", "\u{915}\u{93c}", "\u{915}\u{93c}"),
            ("x\u{301}\u{301}", "x\u{301}\u{301}", "x\u{301}\u{301}"), ("ﾊﾞ", "ﾊﾞ", "バ"),
        ]
        for (text, nfc, nfkc) in cases {
            for size in [1, 2, 1000] {
                #expect(Array(try normal("NFC", text, size: size).utf8) == Array(nfc.utf8), "\(text)")
                #expect(Array(try normal("NFKC", text, size: size).utf8) == Array(nfkc.utf8), "\(text)")
            }
        }
    }

    @Test func specialTokensAreTextUnlessAllowed() throws {
        let added = """
            {"id":300,"content":"<|end|>","special":true},{"id":301,"content":"<|end|>>","special":true},\
            {"id":302,"content":"<w>","special":false,"single_word":false}
            """
        let tokenizer = try json(jsonFile(merges: [("<", "|")], added: added))
        #expect(tokenizer.vocabularySize == 303)
        let text = Array("a<|end|>>b<w>c<|end|>".utf8)
        let asText = Array("a<|end|>>b".utf8).map(UInt32.init)
        let plain = try tokenizer.ids(of: text)
        #expect(plain == [97, 256] + asText[3...] + [302, 99, 256] + Array("end|>".utf8).map(UInt32.init))
        #expect(try tokenizer.ids(of: text, allowSpecial: true) == [97, 301, 98, 302, 99, 300])
        #expect(tokenizer.decode([97, 301, 98, 302, 99, 300]) == text)
        // The longest wins also when it arrives byte by byte, and what only begins like one is text.
        let encoder = try tokenizer.makeEncoder(allowSpecial: true)
        var stored: [UInt8] = []
        for byte in text + Array("<|en".utf8) { stored += try encoder.encode([byte], endsDocument: false) }
        stored += try encoder.encode([], endsDocument: true)
        #expect(
            [UInt16](littleEndianBytes: stored[...]).map(UInt32.init) == [97, 301, 98, 302, 99, 300, 256, 101, 110])
    }

    @Test func unknownPartsAreRefusedByName() {
        let changes: [(String, String, String)] = [
            ("\"normalizer\":null", "\"normalizer\":{\"type\":\"Lowercase\"}", "'Lowercase'"),
            ("\"type\":\"BPE\"", "\"type\":\"Unigram\"", "'Unigram'"),
            ("\"dropout\":null", "\"dropout\":0.1", "dropout"),
            ("\"truncation\":null", "\"truncation\":{\"max_length\":3}", "truncation"),
            ("\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"", "end_of_word_suffix"),
            ("\"byte_fallback\":false", "\"byte_fallback\":true", "byte_fallback"),
            ("\"version\":\"1.0\"", "\"version\":\"1.0\",\"surprise\":1", "'surprise'"),
            ("\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"Fuse\"", "'Fuse'"),
            ("\"post_processor\":{\"type\":\"ByteLevel\"", "\"post_processor\":{\"type\":\"Other\"", "'Other'"),
            ("\"pre_tokenizer\":{\"type\":\"ByteLevel\"", "\"pre_tokenizer\":{\"type\":\"Whitespace\"", "'Whitespace'"),
            (
                "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false",
                "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true", "add_prefix_space"
            ),
            ("\"Ā\":0,", "", "byte 0x0"),
            ("\"a b\"", "\"a q\"", "merges[0]"),
            ("\"Ā\":0,", "\"Ā\":99999999,", "expected an id below"),
            ("\"Ā\":0,", "\"Ā\":1,", "two tokens have the id 1"),
        ]
        for (from, to, named) in changes {
            let content = jsonFile(merges: [("a", "b")], change: (from, to))
            #expect(performing: { _ = try json(content) }, throws: { "\($0)".contains(named) })
        }
        // An expression that is almost a known one.
        let file = JSONTokenizerFile.write(vocabulary: [:], merges: [], special: [], expressions: [#"\p{L}+|\s"#])
        #expect(performing: { _ = try json(file) }, throws: { "\($0)".contains(#"'\p{L}+|\s'"#) })
    }

    @Test func badRankFilesAreRefused() {
        let good = String(decoding: rankFile([]), as: UTF8.self)
        for (content, named) in [
            (good + "YWI= x\n", "line 257"), (good + "YWI=\n", "line 257"), (good + "YW=I 256\n", "not base64"),
            (good + "YQ== 256\n", "there before"), (good + "YWI= 5\n", "two tokens have the id 5"),
            (good + "YWI= 16777216\n", "is not below"), ("YWI= 0\n", "byte 0x0"), ("", "found none"),
        ] {
            #expect(
                performing: {
                    _ = try BytePairTokenizer(content: Array(content.utf8), name: "t", file: "t", pattern: .gpt2)
                }, throws: { "\($0)".contains(named) })
        }
        // What is not known has to be told its pattern.
        #expect(
            performing: { _ = try ranks([String](), pattern: nil) }, throws: { "\($0)".contains("how text is cut") })
    }
}

struct TokenizerTrainingTests {
    private func trained(_ text: String, size: Int, perLine: Bool = false) throws -> JSON {
        try withTemporaryDirectory { path in
            try writeFile(text, to: path + "/t")
            var training = try TokenizerTraining(pattern: .gpt2, memoryLimit: 1 << 24)
            try training.count(
                path + "/t", format: .text, separator: nil, field: "text", isPerLine: perLine, progress: { _ in false })
            let made = try training.tokenizerJSON(vocabularySize: size, special: ["<|e|>"], leastCount: 0)
            let tokenizer = try json(made.content)
            #expect(tokenizer.decode(try tokenizer.ids(of: Array(text.utf8))) == Array(text.utf8))
            return try JSON(parsing: made.content, name: "made")
        }
    }

    @Test func mergesTheMostFrequentAndOfEqualsTheLowest() throws {
        // "ab" three times, " c" and "cd" twice each: '!' … '~' come before U+0120, which is the space.
        let json = try trained("ab ab ab cd cd", size: 257 + 3)
        #expect(json["model"]?["merges"] == ["a b", "c d", "Ġ ab"])
        #expect(json["model"]?["vocab"]?["<|e|>"] == 0)
        #expect(json["model"]?["vocab"]?["!"] == 1)
        #expect(json["model"]?["vocab"]?["ab"] == 257)
    }

    @Test func aLineOfItsOwnEndsAPretoken() throws {
        // As a whole "\n\n" is a pre-token; line by line no two newlines ever meet.
        #expect(try trained("x\n\n\n\n", size: 258)["model"]?["merges"] == ["Ċ Ċ"])
        #expect(try trained("x\n\n\n\n", size: 258, perLine: true)["model"]?["merges"] == [])
    }

    @Test func tooManyPretokensAreRefused() throws {
        try withTemporaryDirectory { path in
            try writeFile((0..<60_000).map { "x\($0) " }.joined(), to: path + "/t")
            var training = try TokenizerTraining(pattern: .gpt2, memoryLimit: 1 << 20)
            #expect(
                performing: {
                    try training.count(
                        path + "/t", format: .text, separator: nil, field: "text", isPerLine: false,
                        progress: { _ in false })
                }, throws: { "\($0)".contains("unique pre-tokens need more") })
        }
    }
}
