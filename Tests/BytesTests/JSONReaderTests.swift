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
