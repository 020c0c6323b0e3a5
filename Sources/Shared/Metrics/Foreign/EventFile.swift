// TensorBoard's event files. A file is records, u64 length | u32 masked CRC-32C of those eight bytes | data | u32 masked
// CRC-32C of the data, little-endian; data is a protocol buffer `Event` (tensorflow/core/util/event.proto), of which a few
// fields matter here: 1 wall_time (double), 2 step (varint), 3 file_version, 5 summary, 7 session_log.

internal import Bytes

/// Records and events, both ways.
enum EventFile {
    /// What tells an event file: a length and its checksum.
    static let headBytes = 12
    /// A record larger than this is damage, not an image.
    static let maximumRecord = 1 << 30

    static func masked(_ crc: UInt32) -> UInt32 { (crc >> 15 | crc << 17) &+ 0xa282_ead8 }

    static func isHead(_ bytes: [UInt8]) -> Bool {
        bytes.count >= headBytes && masked(CRC32C.checksum(Array(bytes[0..<8]))) == word(bytes, at: 8)
    }

    static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 { integer(bytes, at: offset) }

    static func long(_ bytes: [UInt8], at offset: Int) -> UInt64 { integer(bytes, at: offset) }

    private static func integer<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ bytes: [UInt8], at offset: Int
    ) -> Integer {
        guard let value: Integer = bytes.littleEndian(at: offset) else {
            preconditionFailure("\(Integer.bitWidth) bits at \(offset) of \(bytes.count) bytes")
        }
        return value
    }

    // MARK: Writing

    static func record(_ data: [UInt8]) -> [UInt8] {
        let length = [UInt64(data.count)].littleEndianBytes
        return length + [masked(CRC32C.checksum(length))].littleEndianBytes + data
            + [masked(CRC32C.checksum(data))].littleEndianBytes
    }

    private static func varint(_ value: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = UInt64(bitPattern: Int64(value))
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    private static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [number << 3 | 2] + varint(bytes.count) + bytes
    }

    private static func event(time: Double, step: Int, _ content: [UInt8]) -> [UInt8] {
        record([1 << 3 | 1] + [time.bitPattern].littleEndianBytes + [2 << 3] + varint(step) + content)
    }

    /// What every file begins with: its version, and a START that takes back whatever earlier files had of `step` and
    /// later. Without it TensorBoard shows what was recorded twice twice.
    static func head(time: Double, step: Int) -> [UInt8] {
        event(time: time, step: 0, field(3, Array("brain.Event:2".utf8)))
            + event(time: time, step: step, field(7, [8, 1]))
    }

    /// One event with the scalars of a step.
    static func scalars(time: Double, step: Int, _ values: [(tag: String, value: Double)]) -> [UInt8] {
        var summary: [UInt8] = []
        for (tag, value) in values {
            summary += field(
                1, field(1, Array(tag.utf8)) + [2 << 3 | 5] + [Float(value).bitPattern].littleEndianBytes)
        }
        return event(time: time, step: step, field(5, summary))
    }
}

/// A protocol buffer's fields, read from bytes that may lie.
struct MessageReader {
    enum Value {
        case integer(UInt64)
        case bits32(UInt32)
        case bytes(Range<Int>)
    }

    struct Malformed: Error {}

    private let bytes: [UInt8]
    private var position: Int
    private let end: Int

    init(_ bytes: [UInt8], _ range: Range<Int>? = nil) {
        self.bytes = bytes
        position = range?.lowerBound ?? 0
        end = range?.upperBound ?? bytes.count
    }

    /// The next field, or nil at the end. Fixed words of eight bytes are integers.
    mutating func next() throws(Malformed) -> (number: UInt64, value: Value)? {
        if position == end { return nil }
        let tag = try varint()
        switch tag & 7 {
        case 0: return (tag >> 3, .integer(try varint()))
        case 1:
            let range = try take(8)
            return (tag >> 3, .integer(EventFile.long(bytes, at: range.lowerBound)))
        case 2:
            let count = try varint()
            guard count <= UInt64(end - position) else { throw Malformed() }
            return (tag >> 3, .bytes(try take(Int(count))))
        case 5:
            let range = try take(4)
            return (tag >> 3, .bits32(EventFile.word(bytes, at: range.lowerBound)))
        default: throw Malformed()
        }
    }

    private mutating func take(_ count: Int) throws(Malformed) -> Range<Int> {
        guard count <= end - position else { throw Malformed() }
        position += count
        return position - count..<position
    }

    mutating func varint() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), through: 63, by: 7) {
            guard position < end else { throw Malformed() }
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw Malformed()
    }

    var isAtEnd: Bool { position == end }
}
