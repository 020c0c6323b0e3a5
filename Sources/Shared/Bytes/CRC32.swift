// CRC-32 as zip has it (reflected polynomial 0xEDB88320), which members of npz archives carry.

/// CRC-32 of byte sequences. `crc32("123456789")` is 0xCBF43926.
public enum CRC32 {
    private static let tables = CRCTables(polynomial: 0xEDB8_8320)

    /// The CRC of `bytes`, going on from `previous` (the CRC of what came before, 0 at the start).
    public static func checksum(_ bytes: RawSpan, after previous: UInt32 = 0) -> UInt32 {
        tables.checksum(bytes, after: previous)
    }

    public static func checksum(_ bytes: [UInt8], after previous: UInt32 = 0) -> UInt32 {
        bytes.withRawSpan { checksum($0, after: previous) }
    }
}
