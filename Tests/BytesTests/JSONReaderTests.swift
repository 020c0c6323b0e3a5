// The reader in pieces says what the parser of whole texts says, for any size of piece; and it counts lines and bytes.

import Bytes
import Testing

struct JSONReaderTests {
    private static let good = [
        "{}", "[]", "0", "-1", "1.5e3", "18446744073709551615", "\"a\\u00e9\\\\\\\"\\n\"", "true", " null ",
        "{\"a\": [1, 2, {\"b\": \"c\"}], \"d\": {}}", "[[[]], [0], \"\"]", "\"\\ud83d\\ude00 é\"",
        "[1.0, -0, 1e-5, 123456789012345678, 1234567890123456789]",
    ]
    private static let bad = [
        "", "{", "[1", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "[1 2]", "tru", "nul", "01", "1.",
        "-", "\"a", "\"\\x\"", "\"\u{1}\"", "\"\\ud800\"", "{\"a\":1,\"a\":2}", "1 2", "[1e999]", "]", "[}",
        String(repeating: "[", count: 70) + String(repeating: "]", count: 70),
    ]

    private func value(_ text: String, chunk: Int) throws -> JSON {
        var reader = JSONReader(MemorySource(Array(text.utf8), chunk: chunk))
        let value = try reader.value()
        try reader.end()
        return value
    }

    @Test(arguments: [1, 2, 7, 1000]) func readsWhatTheParserReads(chunk: Int) throws {
        for text in Self.good {
            #expect(try value(text, chunk: chunk) == JSON(parsing: text, name: "memory"), "\(text)")
            var reader = JSONReader(MemorySource(Array(text.utf8), chunk: chunk))
            try reader.skipValue()
            try reader.end()
        }
        for text in Self.bad {
            #expect(throws: Fault.self, "\(text)") { try value(text, chunk: chunk) }
            #expect(throws: Fault.self, "\(text)") { try JSON(parsing: text, name: "memory") }
        }
    }

    @Test func countsLinesAndBytes() throws {
        var reader = JSONReader(MemorySource(Array("\n[1,\n 22]\n\n{\"key\": 3}".utf8), chunk: 3), base: 100, line: 5)
        try reader.beginArray()
        #expect(try reader.nextElement())
        #expect(try reader.integer() == 1)
        #expect(try reader.nextElement())
        #expect(try reader.integer() == 22)
        #expect(reader.line == 7)
        #expect(try !reader.nextElement())
        try reader.beginObject()
        #expect(try reader.nextKey() == "key")
        #expect(reader.keyOffset == 112)
        #expect(try reader.integer() == 3)
        #expect(try reader.nextKey() == nil)
        #expect(reader.line == 9)
        #expect(try reader.nextToken() == nil)
    }

    @Test func integersAreExactOrNone() throws {
        for (text, expected) in [
            ("9223372036854775807", Int.max), ("-9223372036854775808", Int.min), ("9223372036854775808", nil),
            ("1.5", nil), ("1e3", nil), ("0", 0), ("999999999999999999", 999_999_999_999_999_999),
        ] as [(String, Int?)] {
            var reader = JSONReader(MemorySource(Array(("[" + text + "]").utf8)))
            try reader.beginArray()
            _ = try reader.nextElement()
            #expect(try reader.integer() == expected, "\(text)")
        }
    }
}

/// Objects that a program writes many of are read without a tree, and others are left alone.
@Suite struct PlainObjectTests {
    private static let keys = ["a", "b"].map { Array($0.utf8) }

    private func read(_ text: String, chunk: Int = .max, accept: Bool = true) throws -> (members: [String], rest: Int) {
        var reader = JSONReader(MemorySource(Array(text.utf8), chunk: chunk))
        var members: [String] = []
        let isRead = try reader.plainObject(PlainObjectTests.keys) { values in
            members = values.map { value in
                switch value {
                case .number(let number): "\(number)"
                case .text(let bytes): "'" + String(decoding: bytes, as: UTF8.self) + "'"
                }
            }
            return accept
        }
        return (isRead ? members : ["not read"], reader.offset)
    }

    @Test func readsWhatIsPlain() throws {
        for text in ["{\"a\":\"x y\",\"b\":0}", " { \"a\" : \"x y\" ,\n\t\"b\": 0\r\n}", "{\"a\":\"x y\",\"b\":0} ,"] {
            #expect(try read(text).members == ["'x y'", "0"])
        }
        #expect(try read("{\"a\":123456789012345678,\"b\":\"\"}").members == ["123456789012345678", "''"])
        let whole = try read("{\"a\":1,\"b\":2},")
        #expect(whole.rest == 13)
    }

    @Test func leavesTheRest() throws {
        for text in [
            "{\"b\":1,\"a\":2}", "{\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":\"\\n\",\"b\":2}",
            "{\"a\":\"é\",\"b\":2}",
            "{\"a\":01,\"b\":2}", "{\"a\":-1,\"b\":2}", "{\"a\":1.0,\"b\":2}", "{\"a\":1e3,\"b\":2}",
            "{\"a\":null,\"b\":2}",
            "{\"a\":[],\"b\":2}", "{\"a\":1 \"b\":2}", "{\"a\":1,\"b\":2", "[]", "{\"a\":1234567890123456789,\"b\":2}",
            "{\"\\u0061\":1,\"b\":2}", "{\"a\":1,\"b\":2,}", "{\"a\"1,\"b\":2}",
        ] {
            let result = try read(text)
            #expect(result.members == ["not read"] && result.rest == 0, "\(text)")
        }
        let refused = try read("  {\"a\":1,\"b\":2}", accept: false)
        #expect(refused.members == ["not read"] && refused.rest == 2)
        // A source that gives a byte at a time: the slow way takes it.
        #expect(try read("{\"a\":1,\"b\":2}", chunk: 1).members == ["not read"])
    }
}

@Suite struct TextBytesTests {
    @Test func numbersAndDigits() {
        for value in [0, 7, 10, 99, 100, 1_234_567_890, Int.max, -5, Int.min] {
            var text: [UInt8] = []
            text.append(decimal: value)
            #expect(text == Array(String(value).utf8))
        }
        let bytes: [UInt8] = [0, 1, 0x9a, 0xbc, 0xff]
        var digits: [UInt8] = []
        digits.append(hexadecimal: bytes[...])
        #expect(String(decoding: digits, as: UTF8.self) == hexadecimal(bytes))
        var back: [UInt8] = [5]
        #expect(back.append(parsingHexadecimal: digits[...]) && back == [5] + bytes)
        for bad in ["0", "0G", "AB", "00a", "0 "] {
            #expect(!back.append(parsingHexadecimal: Array(bad.utf8)[...]) && back.count == 6)
        }
    }
}
