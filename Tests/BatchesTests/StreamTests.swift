// The batch stream as a format: what is written is read back, and whatever is not exactly that is refused with a
// sentence. Truncation and damage are tried at every byte, because it is always the one place nobody tried.

import Batches
import Bytes
import Testing
import Tokens

/// A head for streams of 2 × 5 positions.
func smallHead(type: TokenType = .u16, endOfDocument: UInt32? = 256) -> StreamHead {
    StreamHead(
        rows: 2, length: 5, type: type, vocabularySize: 257, endOfDocument: endOfDocument,
        tokenizer: ["name": "bytes", "file": .null, "sha256": .null, "special": ["end_of_document": 256]],
        dataset: Digest.of("dataset"), recipe: "0123456789abcdef", order: "window", packing: "concat", seed: 7,
        epochs: 1, crossDocument: false, start: Cursor(recipe: "0123456789abcdef").description)
}

/// The order digest after `batches`, by the page: targets as wide as in BTCH, then segment ends, row after row.
func orderDigest(_ batches: [TokenBatch], type: TokenType = .u16) -> OrderDigest {
    var digest = OrderDigest()
    for batch in batches {
        for (row, ends) in batch.segmentEnds.enumerated() {
            guard let last = ends.last else { continue }
            let targets = Array(batch.targets[row * batch.length..<row * batch.length + Int(last)])
            var bytes = type == .u16 ? targets.map { UInt16($0) }.littleEndianBytes : targets.littleEndianBytes
            for end in ends { bytes.append(littleEndian: UInt32(end)) }
            digest.append(rowChecksum: CRC32C.checksum(bytes))
        }
    }
    return digest
}

func smallBatches() -> [TokenBatch] {
    (0..<3).map { index in
        var cursor = Cursor(recipe: "0123456789abcdef")
        cursor.batch = index + 1
        return TokenBatch(
            index: index, cursor: cursor.description, rows: 2, length: 5,
            inputs: [256, 1, 2, 3, 4, 256, 6, 256, 8, 256], targets: [1, 2, 3, 4, 256, 6, 256, 8, 256, 256],
            segmentEnds: [[5], [2, 4]],
            lossMask: index == 1 ? [true, true, false, true, true, true, true, true, false, false] : nil)
    }
}

func smallStream(type: TokenType = .u16) throws -> [UInt8] {
    let sink = MemorySink()
    let writer = try BatchStreamWriter(sink, head: smallHead(type: type))
    for batch in smallBatches() { try writer.write(batch) }
    try writer.finish(smallEnd(type: type))
    return sink.bytes
}

func smallEnd(type: TokenType = .u16) -> StreamEnd {
    StreamEnd(
        batches: 3, rows: 6, ledger: Ledger(tokensIn: 27, emitted: 27, padded: 3, leftOver: 0),
        orderDigest: orderDigest(smallBatches(), type: type), cursor: smallBatches()[2].cursor)
}

/// Reads a whole stream.
func readAll(_ bytes: [UInt8], chunk: Int = .max) throws -> (batches: [TokenBatch], end: StreamEnd) {
    var reader = try BatchStreamReader(MemorySource(bytes, chunk: chunk))
    var batches: [TokenBatch] = []
    while let batch = try reader.next() { batches.append(batch) }
    return (batches, try #require(reader.end))
}

/// A frame with a right check around any payload.
func frame(_ type: String, _ payload: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: UInt32(payload.count))
    bytes.append(contentsOf: type.utf8)
    bytes.append(contentsOf: payload)
    bytes.append(littleEndian: CRC32C.checksum(bytes))
    return bytes
}

/// The fault that reading `bytes` ends in.
func faultOfReading(_ bytes: [UInt8]) -> Fault? {
    do {
        _ = try readAll(bytes)
        return nil
    } catch { return error as? Fault }
}

@Suite struct StreamTests {
    @Test(arguments: [TokenType.u16, .u32]) func roundTrip(type: TokenType) throws {
        let bytes = try smallStream(type: type)
        let (batches, end) = try readAll(bytes)
        #expect(batches == smallBatches())
        #expect(end.rows == 6)
        #expect(try readAll(bytes, chunk: 1).batches == batches)
        #expect(try BatchStreamReader(MemorySource(bytes)).head == smallHead(type: type))
        #expect(batches[0].realPositions == 9)
        #expect(batches[1].lossPositions == 7)
    }

    @Test func truncationAtEveryByteIsBadData() throws {
        let bytes = try smallStream()
        for count in 0..<bytes.count {
            let fault = try #require(faultOfReading(Array(bytes[..<count])), "\(count) bytes were accepted")
            #expect(fault.kind == .badData)
        }
    }

    @Test func aCutStreamNamesItsLastGoodBatch() throws {
        let bytes = try smallStream()
        let done = try #require(
            (0..<bytes.count - 4).last { Array(bytes[$0..<$0 + 4]) == Array("DONE".utf8) })
        #expect(
            faultOfReading(Array(bytes[..<(done - 4)]))?.message.hasSuffix(
                "the stream stops without DONE; the last good batch is 2") == true)
        #expect(faultOfReading(Array(bytes[..<(done - 5)]))?.message.contains("the last good batch is 1") == true)
    }

    @Test func aFlippedBitAnywhereIsDetected() throws {
        let bytes = try smallStream()
        for position in bytes.indices {
            for bit in [0, 3, 7] {
                var damaged = bytes
                damaged[position] ^= 1 << UInt8(bit)
                #expect(faultOfReading(damaged)?.kind == .badData, "byte \(position), bit \(bit)")
            }
        }
    }

    @Test func bytesAfterDoneAreRefused() throws {
        #expect(faultOfReading(try smallStream() + [0])?.message.contains("bytes after DONE") == true)
        let twice = try smallStream() + smallStream()
        #expect(faultOfReading(twice)?.message.contains("bytes after DONE") == true)
    }

    @Test func headMustComeFirstAndOnce() throws {
        #expect(faultOfReading(frame("DONE", Array("{}".utf8)))?.kind == .badData)
        let head = frame("HEAD", Array(smallHead().json.compact.utf8))
        #expect(faultOfReading(head + head)?.message.contains("expected BTCH or DONE, found HEAD") == true)
        #expect(faultOfReading(head + frame("XXXX", []))?.kind == .badData)
    }

    @Test(arguments: [
        ("version", JSON.integer(2)), ("version", "1"), ("rows", 0), ("rows", -1), ("rows", 4_294_967_296),
        ("rows", 1.5), ("length", 0), ("length", 1_073_741_824), ("dtype", "u8"), ("dtype", 16),
        ("vocabulary_size", 0), ("vocabulary_size", 65537), ("vocabulary_size", 256), ("end_of_document", 257),
        ("end_of_document", -1), ("end_of_document", "x"), ("tokenizer", 3), ("dataset", "abc"), ("recipe", "0123"),
        ("recipe", "0123456789ABCDEF"), ("seed", -1), ("epochs", 0), ("cross_document", 1), ("rank", 1), ("world", 0),
        ("start", ""), ("start", "a b"), ("start", "1:\u{1b}[2J"), ("before", 0), ("before", "x"),
        ("format", "millrace-dataset"), ("order", 3),
    ]) func hostileHead(key: String, value: JSON) throws {
        var object = try #require(smallHead().json.objectValue)
        object[key] = value
        let fault = try #require(faultOfReading(frame("HEAD", Array(JSON.object(object).compact.utf8))))
        #expect(fault.kind == .badData)
        #expect(fault.message.contains("'memory' at byte 8"))
    }

    @Test func aMissingHeadMemberIsRefused() throws {
        let members = try #require(smallHead().json.objectValue).members
        for left in members.map(\.key) {
            var object = JSONObject()
            for member in members where member.key != left { object[member.key] = member.value }
            #expect(faultOfReading(frame("HEAD", Array(JSON.object(object).compact.utf8)))?.kind == .badData, "\(left)")
        }
    }

    /// Each damage goes through a frame with a right check, so that only the meaning can give it away.
    @Test func hostileBatches() throws {
        var smallHead = smallHead()
        smallHead.before.batches = 1
        let head = frame("HEAD", Array(smallHead.json.compact.utf8))
        let sink = MemorySink()
        let writer = try BatchStreamWriter(sink, head: smallHead)
        try writer.write(smallBatches()[1])
        let payload = Array(sink.bytes[(head.count + 8)..<(sink.bytes.count - 4)])
        #expect(faultOfReading(head + frame("BTCH", payload))?.message.contains("without DONE") == true)
        for count in 0..<payload.count {
            let fault = faultOfReading(head + frame("BTCH", Array(payload[..<count])))
            #expect(fault?.kind == .badData && fault?.message.contains("without DONE") == false, "\(count)")
        }
        let cursor = Int(payload[8])
        let ids = 10 + cursor + 9
        let segments = ids + 40
        func reason(_ position: Int, _ bytes: [UInt8]) -> String {
            var damaged = payload
            damaged.replaceSubrange(position..<position + bytes.count, with: bytes)
            return faultOfReading(head + frame("BTCH", damaged))?.message ?? "accepted"
        }
        #expect(reason(7, [0x80]).contains("out of range"))
        #expect(reason(12, [0x20]).contains("printable"))
        #expect(reason(10 + cursor, [3]).contains("batch 1 is 3 × 5, expected 2 × 5"))
        #expect(reason(14 + cursor, [4]).contains("batch 1 is 2 × 4"))
        #expect(reason(18 + cursor, [2]).contains("mask flag"))
        #expect(reason(ids + 2, [1, 1]).contains("id 257 in the inputs of batch 1, row 0, position 1"))
        #expect(reason(ids + 20 + 14, [0xff, 0xff]).contains("id 65535 in the targets of batch 1, row 1, position 2"))
        #expect(reason(segments, [6]).contains("6 segments in 5"))
        #expect(reason(segments, [0xff, 0xff, 0xff, 0xff]).contains("4294967295 segments"))
        #expect(reason(segments + 4, [6]).contains("segment end 6"))
        #expect(reason(segments + 4, [0]).contains("segment end 0"))
        #expect(reason(segments + 4 + 3, [0x80]).contains("segment end 2147483653"))
        #expect(reason(segments + 16, [2]).contains("segment end 2 in row 1 of batch 1 after 2"))
        #expect(reason(payload.count - 1, [0x04]).contains("after its last position"))
        #expect(faultOfReading(head + frame("BTCH", payload + [0]))?.message.contains("1 bytes too many") == true)
    }

    @Test func batchesMustFollowOneAnother() throws {
        let sink = MemorySink()
        let writer = try BatchStreamWriter(sink, head: smallHead())
        try writer.write(smallBatches()[0])
        try writer.write(smallBatches()[2])
        #expect(faultOfReading(sink.bytes)?.message.contains("batch 2 follows batch 0") == true)
    }

    /// HEAD, BTCH 1, BTCH 2, DONE, every check right: it was once taken for a whole epoch.
    @Test func aStreamWithoutItsFirstBatchesIsRefused() throws {
        let head = frame("HEAD", Array(smallHead().json.compact.utf8))
        let done = frame("DONE", Array(smallEnd().json.compact.utf8))
        for lost in 1...3 {
            let sink = MemorySink()
            let writer = try BatchStreamWriter(sink, head: smallHead())
            for batch in smallBatches().dropFirst(lost) { try writer.write(batch) }
            let fault = try #require(faultOfReading(sink.bytes + done))
            #expect(fault.kind == .badData)
            #expect(
                fault.message.contains(
                    lost < 3
                        ? "the first batch has index \(lost), expected 0 as in HEAD"
                        : "DONE counts 3 batches, expected 0: those of HEAD and of the batches since; no batch was read"
                ))
        }
        #expect(faultOfReading(head + done)?.kind == .badData)
    }

    /// A stream that goes on behind a cursor counts from what HEAD says of it.
    @Test func aLaterStreamCountsFromItsHead() throws {
        let batches = smallBatches()
        var head = smallHead()
        head.start = batches[0].cursor
        (head.before.batches, head.before.rows, head.before.emitted, head.before.padded) = (1, 2, 9, 1)
        head.before.orderDigest = orderDigest([batches[0]])
        func bytes(_ head: StreamHead) throws -> [UInt8] {
            let sink = MemorySink()
            let writer = try BatchStreamWriter(sink, head: head)
            for batch in batches.dropFirst() { try writer.write(batch) }
            try writer.finish(smallEnd())
            return sink.bytes
        }
        #expect(try readAll(try bytes(head)).batches.count == 2)
        head.before.orderDigest = OrderDigest()
        #expect(faultOfReading(try bytes(head))?.message.contains("the order digest in DONE") == true)
        head.before.padded = 2
        #expect(faultOfReading(try bytes(head))?.message.contains("HEAD counts 2 rows of 5 positions") == true)
    }

    /// The same rows, counts and cursors in every frame, but another token: only the digest can tell.
    @Test func anotherTokenIsNoticed() throws {
        var batches = smallBatches()
        batches[1].targets[3] = 77
        let sink = MemorySink()
        let writer = try BatchStreamWriter(sink, head: smallHead())
        for batch in batches { try writer.write(batch) }
        try writer.finish(smallEnd())
        #expect(faultOfReading(sink.bytes)?.message.contains("the order digest in DONE") == true)
    }

    /// Masks are nobody's count: a stream may be given others and keep its HEAD, its cursors and its DONE.
    @Test func otherLossMasksAreAccepted() throws {
        let sink = MemorySink()
        let writer = try BatchStreamWriter(sink, head: smallHead())
        for var batch in smallBatches() {
            batch.lossMask = (0..<10).map { $0 % 3 == 0 }
            try writer.write(batch)
        }
        try writer.finish(smallEnd())
        #expect(try readAll(sink.bytes).batches[0].lossPositions == 3)
    }

    @Test func doneMustAgree() throws {
        let batches = smallBatches()
        let sink = MemorySink()
        let writer = try BatchStreamWriter(sink, head: smallHead())
        for batch in batches { try writer.write(batch) }
        let good = smallEnd()
        func reason(_ change: (inout StreamEnd) -> Void) -> String {
            var end = good
            change(&end)
            return faultOfReading(sink.bytes + frame("DONE", Array(end.json.compact.utf8)))?.message ?? "accepted"
        }
        #expect(reason { _ in } == "accepted")
        #expect(reason { $0.batches = 4 }.contains("DONE counts 4 batches, expected 3"))
        #expect(reason { ($0.rows, $0.ledger.padded) = (7, 8) }.contains("DONE counts 7 rows, expected 6"))
        #expect(
            reason { $0.ledger = Ledger(tokensIn: 26, emitted: 26, padded: 4, leftOver: 0) }
                .contains("DONE counts 26 emitted tokens, expected 27"))
        #expect(reason { $0.orderDigest = OrderDigest() }.contains("the order digest in DONE is 0000"))
        #expect(reason { $0.rows = 5 }.contains("does not balance"))
        #expect(reason { $0.ledger.leftOver = 1 }.contains("does not balance"))
        #expect(reason { $0.ledger.emitted = Int.max }.contains("does not balance"))
        #expect(reason { $0.cursor = batches[1].cursor }.contains("the cursor in DONE"))
        #expect(faultOfReading(sink.bytes + frame("DONE", Array("[]".utf8)))?.kind == .badData)
    }

    @Test func aLyingLengthCostsNoMemory() throws {
        let before = Host.peakResidentBytes
        var bytes = frame("HEAD", Array(smallHead().json.compact.utf8))
        bytes.append(littleEndian: UInt32(1 << 30))
        bytes.append(contentsOf: "BTCH".utf8)
        #expect(faultOfReading(bytes)?.kind == .badData)
        bytes[bytes.count - 5] = 0x80
        #expect(faultOfReading(bytes)?.message.contains("more than the 1073741824 allowed") == true)
        #expect(Host.peakResidentBytes - before < 64 << 20)
    }

    @Test func checksumsJoin() {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for cut in [0, 1, 7, 8, 500, 999, 1000] {
            let joined = CRC32C.combine(
                CRC32C.checksum(bytes, in: 0..<cut), CRC32C.checksum(bytes, in: cut..<1000), secondCount: 1000 - cut)
            #expect(joined == CRC32C.checksum(bytes), "\(cut)")
        }
    }
}

@Suite struct CursorTests {
    @Test func roundTrip() throws {
        var cursor = Cursor(recipe: "0123456789abcdef")
        (cursor.epoch, cursor.block, cursor.row, cursor.batch) = (1, 2, 3, 4)
        (cursor.rows, cursor.emitted, cursor.padded) = (1 << 61, 6, 7)
        cursor.digest.append(rowChecksum: 5)
        #expect(try Cursor(parsing: cursor.description) == cursor)
        #expect(cursor.description.utf8.count <= 200)
    }

    @Test(arguments: [
        "", "1", "2:0:0", "hello", "1:0123456789abcdef:0:0:0:0:0:0:0:", "1:0123456789abcdef:0:0:-1:0:0:0:0:" + zeros,
        "1:0123456789abcdef:0:0:0:0:0:0:99999999999999999999:" + zeros,
        "1:0123456789abcdef:0:0:0:0:0:0:2305843009213693953:" + zeros, "1:x:0:0:0:0:0:0:0:" + zeros,
        "1:0123456789abcdef:0:0:0:0:0:0:0:" + zeros + ":", "1:0123456789abcdef:0:0: 0:0:0:0:0:" + zeros,
    ]) func nonsenseIsRefused(text: String) {
        #expect { try Cursor(parsing: text) } throws: { ($0 as? Fault)?.kind == .usage }
    }
}

private let zeros = String(repeating: "0", count: 32)
