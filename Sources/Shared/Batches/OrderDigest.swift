// The digest that proves which rows a run emitted and in which order: a hash chain, so that it can be carried in a
// cursor and go on from there, however the run was cut (docs/formats/batch-stream.md, Order digest).

private import Bytes

/// 16 bytes over a sequence of rows.
public struct OrderDigest: Sendable, Hashable, CustomStringConvertible {
    private var bytes: [UInt8]

    /// No rows yet.
    public init() { bytes = [UInt8](repeating: 0, count: 16) }

    /// nil unless `text` is 32 lower-case hexadecimal digits.
    public init?(_ text: String) {
        guard let bytes = bytesFromHexadecimal(text), bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    public var description: String { hexadecimal(bytes) }

    /// One more row, known by the CRC-32C of its real targets and segment ends.
    public mutating func append(rowChecksum: UInt32) {
        bytes.append(littleEndian: rowChecksum)
        let digest = Digest.of(bytes).bytes
        for index in 0..<16 { bytes[index] = digest[index] }
        bytes.removeLast(4)
    }
}
