// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78): the check of stream frames and index sections, where the
// enemy is chance and not malice. The processor's own instruction, or, where there is none, `CRCTables`.

private import CKernels

/// CRC-32C of byte sequences. `crc32c("123456789")` is 0xE3069283 (RFC 3720, appendix B.4).
public enum CRC32C {
    private static let polynomial: UInt32 = 0x82F6_3B78
    private static let tables = CRCTables(polynomial: polynomial)
    private static let hasInstruction = mr_crc32c_supported()

    /// The CRC of `bytes`, going on from `previous` (the CRC of what came before, 0 at the start).
    public static func checksum(_ bytes: RawSpan, after previous: UInt32 = 0) -> UInt32 {
        if !hasInstruction { return tableChecksum(bytes, after: previous) }
        // SAFETY: the buffer lives for the call and is only read.
        return unsafe bytes.withUnsafeBytes { unsafe mr_crc32c(previous, $0.baseAddress, $0.count) }
    }

    /// The same without carry-less products, which not every processor with the instruction has.
    package static func checksumInLanes(_ bytes: [UInt8], after previous: UInt32) -> UInt32 {
        if !hasInstruction { return checksum(bytes, after: previous) }
        // SAFETY: as above.
        return unsafe bytes.withUnsafeBytes { unsafe mr_crc32c_lanes(previous, $0.baseAddress, $0.count) }
    }

    /// The same without the instruction; also its oracle.
    package static func tableChecksum(_ bytes: RawSpan, after previous: UInt32 = 0) -> UInt32 {
        tables.checksum(bytes, after: previous)
    }

    public static func checksum(_ bytes: [UInt8], after previous: UInt32 = 0) -> UInt32 {
        bytes.withRawSpan { checksum($0, after: previous) }
    }

    /// The CRC of `bytes[range]`.
    public static func checksum(_ bytes: [UInt8], in range: Range<Int>, after previous: UInt32 = 0) -> UInt32 {
        unsafe checksum(bytes.span.bytes.extracting(range), after: previous)
    }

    /// The CRC of two byte sequences one after the other, from the CRC of each: what lets workers check long payloads
    /// before the few bytes that precede them are known. Appending n bytes multiplies the first CRC by x^(8n) modulo
    /// the polynomial (Adler's crc32_combine in zlib). O(log n).
    public static func combine(_ first: UInt32, _ second: UInt32, secondCount: Int) -> UInt32 {
        moved(first, past: secondCount) ^ second
    }

    fileprivate static func moved(_ checksum: UInt32, past byteCount: Int) -> UInt32 {
        var result = checksum
        var count = byteCount
        while count > 0 {
            result = multiply(powers[count.trailingZeroBitCount], result)
            count &= count - 1
        }
        return result
    }

    /// x^(8 · 2^k): bit 31 − k stands for x^k, as everywhere in a reflected CRC.
    private static let powers: [UInt32] = {
        var powers: [UInt32] = [1 << 23]
        while powers.count < Int.bitWidth {
            powers.append(multiply(powers[powers.count - 1], powers[powers.count - 1]))
        }
        return powers
    }()

    /// The product of two polynomials over GF(2), modulo the CRC's.
    private static func multiply(_ left: UInt32, _ right: UInt32) -> UInt32 {
        var product: UInt32 = 0
        var shifted = right
        for bit in stride(from: 31, through: 0, by: -1) {
            product ^= shifted & (0 &- (left >> bit & 1))
            shifted = shifted >> 1 ^ polynomial & (0 &- (shifted & 1))
        }
        return product
    }
}

/// `CRC32C.combine` for many second parts of one length: four look-ups each.
public struct CRC32CJoint: Sendable {
    /// What each byte of a CRC has become behind `secondCount` bytes.
    private let table: [UInt32]

    /// - Parameter secondCount: bytes of every second part.
    public init(secondCount: Int) {
        var table = [UInt32](repeating: 0, count: 4 * 256)
        for bit in 0..<32 {
            let moved = CRC32C.moved(1 << UInt32(bit), past: secondCount)
            let first = bit / 8 * 256
            for value in 1 << (bit % 8)..<2 << (bit % 8) {
                table[first + value] = table[first + value - (1 << (bit % 8))] ^ moved
            }
        }
        self.table = table
    }

    public func combine(_ first: UInt32, _ second: UInt32) -> UInt32 {
        table[Int(first & 255)] ^ table[256 + Int(first >> 8 & 255)] ^ table[512 + Int(first >> 16 & 255)]
            ^ table[768 + Int(first >> 24)] ^ second
    }
}
