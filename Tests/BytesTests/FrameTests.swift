// The framing of pipes: every cut and every flipped bit is noticed, and a lying length costs nothing.

import Bytes
import Testing

private let frames = [
    Frame(FrameType("HEAD"), Array("{\"version\":1}".utf8)), Frame(FrameType("BTCH"), []),
    Frame(FrameType("BTCH"), [0, 1, 2, 255]), Frame(FrameType("DONE"), [7]),
]
private let stream = frames.flatMap(\.encoded)
/// Where frames begin, and the end.
private let boundaries = frames.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.encoded.count) }

private func read(_ bytes: [UInt8], chunk: Int = .max, maximumPayload: Int = 1 << 20) throws -> [Frame] {
    var reader = FrameReader(MemorySource(bytes, name: "pipe", chunk: chunk), maximumPayload: maximumPayload)
    var found: [Frame] = []
    while let frame = try reader.next() { found.append(frame) }
    #expect(reader.offset == bytes.count)
    return found
}

private func same(_ left: [Frame], _ right: [Frame]) -> Bool {
    left.map(\.type) == right.map(\.type) && left.map(\.payload) == right.map(\.payload)
}

@Suite struct FrameTests {
    @Test func layout() {
        let bytes = Frame(FrameType("BTCH"), [9, 8]).encoded
        #expect(Array(bytes.prefix(10)) == [2, 0, 0, 0] + Array("BTCH".utf8) + [9, 8])
        #expect(
            bytes.littleEndian(at: 10, as: UInt32.self) == CRC32C.checksum(Array(bytes.prefix(10))) && bytes.count == 14
        )
    }

    @Test(arguments: [1, 2, 3, 7, 8, 13, Int.max]) func comesBackInAnyChunks(_ chunk: Int) throws {
        #expect(same(try read(stream, chunk: chunk), frames))
    }

    @Test func everyTruncationIsNoticedUnlessItIsBetweenFrames() throws {
        for count in 0..<stream.count {
            let cut = Array(stream.prefix(count))
            if let whole = boundaries.firstIndex(of: count) {
                #expect(same(try read(cut), Array(frames.prefix(whole))))
            } else {
                #expect { try read(cut) } throws: { error in
                    guard let fault = error as? Fault else { return false }
                    return fault.kind == .badData
                        && fault.message.hasPrefix("'pipe' at byte \(count): the stream stops inside")
                }
            }
        }
    }

    @Test func everyBitFlipIsNoticed() {
        for index in stream.indices {
            for bit in 0..<8 {
                var flipped = stream
                flipped[index] ^= 1 << bit
                #expect(throws: Fault.self, "byte \(index) bit \(bit)") { try read(flipped) }
            }
        }
    }

    @Test func badChecksumsNameFrameExpectedAndFound() {
        var bytes = stream
        bytes[boundaries[2] + 8] ^= 1
        #expect { try read(bytes) } throws: { error in
            let text = "\(error)"
            return text.hasPrefix("'pipe' at byte \(boundaries[2]): bad checksum in a BTCH frame: expected ")
                && text.contains(", found ")
        }
    }

    @Test func aLyingLengthAllocatesNothing() {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt32(1 << 30))
        bytes += Array("BTCH".utf8) + [1, 2, 3]
        let before = Host.peakResidentBytes
        #expect(
            throws: Fault(
                .badData, "'pipe' at byte 11: the stream stops inside a BTCH frame: expected 1073741828 bytes, found 3")
        ) {
            try read(bytes, maximumPayload: 1 << 30)
        }
        #expect(Host.peakResidentBytes - before < 64 << 20)
        #expect(throws: Fault(.badData, "'pipe' at byte 0: frame of 1073741824 bytes, more than the 1000 allowed")) {
            try read(bytes, maximumPayload: 1000)
        }
    }

    @Test func typesAreFourCapitals() {
        for type: [UInt8] in [[0, 0, 0, 0], Array("btch".utf8), Array("BT\u{1b}H".utf8)] {
            #expect { try read([0, 0, 0, 0] + type + [0, 0, 0, 0]) } throws: {
                "\($0)".hasPrefix("'pipe' at byte 4: expected a frame type of 4 letters")
            }
        }
    }
}
