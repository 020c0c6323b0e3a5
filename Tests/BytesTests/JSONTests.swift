// JSON: strict where parsers are usually lax, exact to the last bit and the last byte.

import Bytes
import Testing

private func parse(_ text: String) throws -> JSON { try JSON(parsing: text, name: "t") }

private func complaint(_ bytes: [UInt8], base: Int = 0) -> String {
    do {
        _ = try JSON(parsing: bytes, name: "t", base: base)
        return "none"
    } catch { return error.message }
}

private func complaint(_ text: String) -> String { complaint(Array(text.utf8)) }

private let accepted: [(String, JSON)] = [
    ("null", JSON.null), ("true", true), ("false", false), ("0", 0), ("-0", 0), ("12", 12), ("1.5", 1.5),
    ("1e2", 100.0), ("1E+2", 100.0), ("1e-2", 0.01), ("\"\"", ""), ("[]", []), ("{}", .object([:])),
    (" \t\r\n[ 1 , 2 ] \n", [1, 2]), ("{\"a\":{\"b\":[null]}}", ["a": ["b": .array([.null])]]),
    (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"), (#""\u00e9\uD83D\uDE00\u0000""#, "é😀\0"),
    ("\"é😀\u{7f}\"", "é😀\u{7f}"),
]

@Suite struct JSONTests {
    @Test(arguments: accepted)
    func accepts(_ text: String, _ value: JSON) throws {
        #expect(try parse(text) == value)
    }

    @Test(arguments: [
        "", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{1:2}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
        "{\"a\":1 \"b\":2}", "{a:1}", "{'a':1}", "nul", "nulll", "True", "NaN", "Infinity", "-Infinity", "+1", "-",
        "01", "-01",
        ".5", "1.", "1.e2", "1e", "1e+", "0x10", "1_000", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\t\"", "\"\n\"", "\"\0\"", "1 1", "[] []", "// x\n1", "[1]//", "\u{feff}1", "\u{a0}1", "1e999", "-1e999",
        #""\uD83D""#, #""\uDE00""#, #""\uD83Dx""#, #""\uD83D\n""#, #""\uD83D\u0041""#, #""\uDE00\uD83D""#,
    ])
    func refuses(_ text: String) {
        #expect(throws: Fault.self) { _ = try parse(text) }
    }

    @Test func refusesBytesThatAreNotUTF8() {
        for bytes: [UInt8] in [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]] {
            #expect(complaint([0x22] + bytes + [0x22]) == "'t' at byte 0: string is not UTF-8")
        }
    }

    @Test func offsetsCountBytesFromTheBase() {
        #expect(complaint("{\"é\":x}") == "'t' at byte 6: expected a JSON value, found byte 0x78")
        #expect(
            complaint(Array("[1,x]".utf8), base: 1000) == "'t' at byte 1003: expected a JSON value, found byte 0x78")
    }

    @Test func duplicateKeysAreRefused() {
        #expect(complaint(#"{"a":1,"b":{"a":1},"a":1}"#) == "'t' at byte 19: duplicate key 'a'")
        #expect(complaint(#"{"a":1,"\u0061":1}"#) == "'t' at byte 7: duplicate key 'a'")
    }

    @Test func keysThatOnlyLookAlikeAreDifferent() throws {
        // é as one scalar and as two: equal for Swift's strings, different members for JSON (RFC 8259, 8.3) and for
        // tokenizers, whose vocabularies hold both.
        let object = try #require(try parse("{\"\u{e9}\":1,\"e\u{301}\":2}").objectValue)
        #expect(object.count == 2)
        #expect(object["\u{e9}"] == 1 && object["e\u{301}"] == 2)
    }

    @Test func depthIsBounded() throws {
        let depth = JSON.maximumDepth
        _ = try parse(String(repeating: "[", count: depth) + "1" + String(repeating: "]", count: depth))
        #expect(complaint(String(repeating: "[", count: depth + 1) + "1").contains("nested deeper than \(depth)"))
        #expect(complaint(String(repeating: "{\"a\":", count: 1_000_000)).contains("nested deeper than"))
    }

    @Test func integersAreExactToSixtyFourBits() throws {
        #expect(try parse("9223372036854775807") == .integer(.max))
        #expect(try parse("-9223372036854775808") == .integer(.min))
        #expect(try parse("9223372036854775808") == .unsigned(1 << 63))
        #expect(try parse("18446744073709551615") == .unsigned(.max))
        #expect(try parse("18446744073709551616") == .number(0x1p64))
        #expect(try parse("-9223372036854775809") == .number(-0x1p63))
        #expect(try parse("9223372036854775808").uint64Value == 1 << 63)
        #expect(try parse("9223372036854775808").intValue == nil)
        #expect(try parse("-1").uint64Value == nil)
        #expect(try parse("3.0").intValue == 3 && parse("3.5").intValue == nil)
        #expect(JSON(UInt64.max).compact == "18446744073709551615")
    }

    @Test func doublesComeBackBitForBit() throws {
        var state: UInt64 = 1
        var values = [
            0, -0.0, .leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude, 0.1, 1.0 / 3, 1e22, 1e23,
            0x1p53,
        ]
        for _ in 0..<20_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            values.append(Double(bitPattern: state ^ state >> 29))
        }
        for value in values where value.isFinite {
            let text = JSON.number(value).compact
            guard case .number(let back) = try parse(text) else {
                Issue.record("\(text) reads as no number")
                continue
            }
            #expect(back.bitPattern == value.bitPattern)
        }
        #expect(
            JSON.number(0.1).compact == "0.1" && JSON.number(3).compact == "3.0" && JSON.number(1e23).compact == "1e+23"
        )
    }

    @Test func orderOfKeysIsKept() throws {
        let text = #"{"z":1,"a":[1,{"y":null,"b":true}],"m":"\u0001\"\\"}"#
        #expect(try parse(text).compact == text)
        #expect(try parse(parse(text).pretty) == parse(text))
        #expect(
            JSON.object(["b": 1, "a": [1, 2], "c": []]).pretty == "{\n  \"b\": 1,\n  \"a\": [1, 2],\n  \"c\": []\n}\n")
    }

    @Test func manyKeysTakeLinearTime() throws {
        let count = 100_000
        let text = "{" + (0..<count).map { "\"k\($0)\":\($0)" }.joined(separator: ",") + "}"
        let object = try #require(try parse(text).objectValue)
        #expect(object.count == count && object["k99999"] == 99999)
    }

    @Test func noPrefixOfADocumentTraps() throws {
        let text = Array(#"{"a":[1,-2.5e-3,"\uD83D\uDE00\n",true,false,null,{}],"b":{"c":[[]]}}"#.utf8)
        _ = try JSON(parsing: text, name: "t")
        for count in 0..<text.count { #expect(complaint(Array(text.prefix(count))) != "none", "\(count) bytes") }
        for index in text.indices {
            for bit in 0..<8 {
                var flipped = text
                flipped[index] ^= 1 << bit
                _ = try? JSON(parsing: flipped, name: "t")
            }
        }
    }
}
