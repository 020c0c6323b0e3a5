// Checks and spellings against the vectors of their standards.

import Bytes
import Testing

@Suite struct ChecksumTests {
    @Test func crc32cVectors() {
        // RFC 3720, appendix B.4.
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xe306_9283)
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(CRC32C.checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
        #expect(CRC32C.checksum([UInt8](0..<32)) == 0x46dd_794e)
        #expect(CRC32C.checksum([UInt8]((0..<32).reversed())) == 0x113f_db5c)
        #expect(CRC32C.checksum([]) == 0)
    }

    /// Long inputs go in lanes or are folded; the tables do neither.
    @Test func crc32cInLanesIsThatOfTheTables() {
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }
        for count in Array(240...600) + [1023, 1535, 1536, 1537, 3071, 3072, 4096, 4607, 9999, 10_000] {
            let part = Array(bytes[..<count])
            let expected = part.withRawSpan { CRC32C.tableChecksum($0, after: 77) }
            #expect(CRC32C.checksum(part, after: 77) == expected)
            #expect(CRC32C.checksumInLanes(part, after: 77) == expected)
        }
    }

    @Test func checksumsOfPartsCombine() {
        let bytes = (0..<9_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 2) }
        for count in [0, 1, 3, 64, 255, 4096, 5000] {
            let first = CRC32C.checksum(Array(bytes[..<(9_000 - count)]))
            let second = CRC32C.checksum(Array(bytes[(9_000 - count)...]))
            #expect(CRC32C.combine(first, second, secondCount: count) == CRC32C.checksum(bytes))
            #expect(CRC32CJoint(secondCount: count).combine(first, second) == CRC32C.checksum(bytes))
        }
    }

    @Test func crc32cIsThatOfTheBitwiseDefinitionHoweverItIsCut() {
        func bitwise(_ bytes: some Sequence<UInt8>) -> UInt32 {
            ~bytes.reduce(~0) { crc, byte in
                (0..<8).reduce(crc ^ UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82f6_3b78 : value >> 1
                }
            }
        }
        var noise = Noise(1)
        let bytes = noise.bytes(67)
        for count in 0...bytes.count {
            let expected = bitwise(bytes.prefix(count))
            for cut in 0...count {
                let head = CRC32C.checksum(Array(bytes[..<cut]))
                let rest = Array(bytes[cut..<count])
                #expect(CRC32C.checksum(rest, after: head) == expected)
                #expect(rest.withRawSpan { CRC32C.tableChecksum($0, after: head) } == expected)
            }
        }
    }

    @Test func sha256Vectors() {
        // FIPS 180-4's examples, and the empty message.
        #expect(Digest.of("").description == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(Digest.of("abc").description == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            Digest.of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").description
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        var hasher = DigestHasher()
        for _ in 0..<1000 { hasher.update([UInt8](repeating: UInt8(ascii: "a"), count: 1000)) }
        #expect(hasher.finish().description == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
        #expect(hasher.finish() == hasher.finish())
    }

    @Test func digestsAreSpelledOneWay() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        #expect(Digest(text) == Digest.of(""))
        #expect(
            Digest(text.uppercased()) == nil && Digest(String(text.dropLast(2))) == nil && Digest(text + "00") == nil)
    }

    @Test func hexadecimalDigits() {
        let all = [UInt8](0...255)
        #expect(bytesFromHexadecimal(hexadecimal(all)) == all)
        #expect(hexadecimal([0, 15, 16, 255]) == "000f10ff")
        #expect(bytesFromHexadecimal("") == [])
        for text in ["0", "0g", "AB", " 0", "0x", "é"] { #expect(bytesFromHexadecimal(text) == nil, "\(text)") }
        #expect(hexadecimal32(0xab) == "000000ab" && hexadecimal32(.max) == "ffffffff")
    }

    @Test func littleEndianFieldsAreBoundsChecked() {
        let bytes: [UInt8] = [1, 2, 3, 4, 5]
        #expect(bytes.littleEndian(at: 1, as: UInt32.self) == 0x0504_0302)
        #expect(bytes.littleEndian(at: 2, as: UInt32.self) == nil)
        #expect(bytes.littleEndian(at: -1, as: UInt8.self) == nil)
        #expect(bytes.littleEndian(at: .max, as: UInt64.self) == nil)
        #expect(bytes.littleEndianArray(at: 1, count: 2, as: UInt16.self) == [0x0302, 0x0504])
        #expect(bytes.littleEndianArray(at: 1, count: 3, as: UInt16.self) == nil)
        #expect(bytes.littleEndianArray(at: 0, count: .max, as: UInt16.self) == nil)
        #expect(bytes.littleEndianArray(at: 0, count: -1, as: UInt16.self) == nil)
        #expect(bytes.littleEndianArray(at: 5, count: 0, as: UInt16.self) == [])
        #expect([UInt16](littleEndianBytes: bytes[1..<5]).littleEndianBytes == [2, 3, 4, 5])
    }

    @Test func whatIsPrintedCannotDriveATerminal() {
        #expect(
            printable("a\u{1b}[2J\n\u{7f}\u{9b}\u{202e}\u{2066}é") == #"a\u{1b}[2J\u{a}\u{7f}\u{9b}\u{202e}\u{2066}é"#)
        #expect(quoted("a'b\0") == #"'a'b\u{0}'"#)
        for value in (0..<0x20) + Array(0x7f..<0xa0) {
            let text = printable(String(Character(Unicode.Scalar(UInt8(value)))))
            #expect(text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f })
        }
        #expect(printable("\r\n") == #"\u{d}\u{a}"#)
    }
}
