// The framing of our pipes (docs/formats/batch-stream.md): u32 length | 4 ASCII type | payload | u32 crc32c. Length
// counts the payload; the check covers length, type and payload, so that no bit of a frame is outside it.

/// A frame's four-letter type.
public struct FrameType: Sendable, Hashable, CustomStringConvertible {
    /// Four bytes.
    public let bytes: [UInt8]

    public init(_ name: StaticString) {
        bytes = Array(name.description.utf8)
        precondition(bytes.count == 4, "a frame type has 4 letters, '\(name)' has \(bytes.count)")
    }

    fileprivate init(bytes: [UInt8]) { self.bytes = bytes }

    public var description: String { String(decoding: bytes, as: UTF8.self) }
}

/// One frame.
public struct Frame: Sendable {
    public var type: FrameType
    public var payload: [UInt8]

    public init(_ type: FrameType, _ payload: [UInt8]) {
        self.type = type
        self.payload = payload
    }

    /// The frame as it goes over the pipe.
    public var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(payload.count + 12)
        bytes.append(littleEndian: UInt32(payload.count))
        bytes.append(contentsOf: type.bytes)
        bytes.append(contentsOf: payload)
        bytes.append(littleEndian: CRC32C.checksum(bytes))
        return bytes
    }
}

/// Reads frames from a source.
public struct FrameReader {
    private let source: any ByteSource
    /// Payloads longer than this are refused before anything is allocated.
    private let maximumPayload: Int
    /// Offset of the next frame, for messages.
    public private(set) var offset = 0

    public var name: String { source.name }

    public init(_ source: any ByteSource, maximumPayload: Int = 1 << 30) {
        self.source = source
        self.maximumPayload = maximumPayload
    }

    /// The next frame, or nil at a clean end between frames.
    /// - Throws: `Fault` (bad data) for a frame cut short, too long or with a wrong check.
    public mutating func next() throws(Fault) -> Frame? {
        let header = try source.read(filling: 8)
        if header.isEmpty { return nil }
        guard header.count == 8, let length: UInt32 = header.littleEndian(at: 0) else {
            throw .badData(name, byte: offset + header.count, "the stream stops inside a frame header")
        }
        let type = FrameType(bytes: Array(header[4..<8]))
        guard type.bytes.allSatisfy({ (0x41...0x5a).contains($0) }) else {
            throw .badData(
                name, byte: offset + 4, "expected a frame type of 4 letters, found \(quoted(type.description))")
        }
        let count = Int(length)
        if count > maximumPayload {
            throw .badData(name, byte: offset, "frame of \(count) bytes, more than the \(maximumPayload) allowed")
        }
        // Grown as it arrives: a lying length costs no more memory than the bytes that really come.
        var rest: [UInt8] = []
        while rest.count < count + 4 {
            let piece = try source.read(upTo: min(count + 4 - rest.count, 1 << 20))
            if piece.isEmpty {
                throw .badData(
                    name, byte: offset + 8 + rest.count,
                    "the stream stops inside a \(type) frame: expected \(count + 4) bytes, found \(rest.count)")
            }
            if rest.isEmpty && piece.count == count + 4 { rest = piece } else { rest.append(contentsOf: piece) }
        }
        let stored: UInt32 = rest.littleEndian(at: count) ?? 0
        rest.removeLast(4)
        let found = CRC32C.checksum(rest, after: CRC32C.checksum(header))
        if stored != found {
            throw .badData(
                name, byte: offset,
                "bad checksum in a \(type) frame: expected \(hexadecimal32(stored)), found \(hexadecimal32(found))")
        }
        offset += 12 + count
        return Frame(type, rest)
    }
}

/// Eight lower-case hexadecimal digits.
public func hexadecimal32(_ value: UInt32) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: 8 - text.count) + text
}
