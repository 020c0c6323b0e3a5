// Slicing by eight: eight table look-ups for eight bytes of a reflected CRC of 32 bits, whatever its polynomial.

struct CRCTables: Sendable {
    private let tables: [UInt32]

    /// - Parameter polynomial: reflected; bit 31 stands for 1.
    init(polynomial: UInt32) {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for index in 0..<256 {
            var value = UInt32(index)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ polynomial : value >> 1 }
            tables[index] = value
        }
        for slice in 1..<8 {
            for index in 0..<256 {
                let previous = tables[(slice - 1) * 256 + index]
                tables[slice * 256 + index] = previous >> 8 ^ tables[Int(previous & 255)]
            }
        }
        self.tables = tables
    }

    /// The CRC of `bytes`, going on from `previous`.
    func checksum(_ bytes: RawSpan, after previous: UInt32) -> UInt32 {
        // SAFETY: all offsets below stay under `count`; table indices are bytes plus a slice offset under 2048.
        unsafe bytes.withUnsafeBytes { buffer in
            unsafe tables.withUnsafeBufferPointer { table in
                var crc = ~previous
                var offset = 0
                let count = buffer.count
                while count - offset >= 8 {
                    let word =
                        unsafe UInt64(
                            littleEndian: buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                        ^ UInt64(crc)
                    crc = unsafe table[1792 + Int(word & 255)]
                    crc ^= unsafe table[1536 + Int(word >> 8 & 255)]
                    crc ^= unsafe table[1280 + Int(word >> 16 & 255)]
                    crc ^= unsafe table[1024 + Int(word >> 24 & 255)]
                    crc ^= unsafe table[768 + Int(word >> 32 & 255)]
                    crc ^= unsafe table[512 + Int(word >> 40 & 255)]
                    crc ^= unsafe table[256 + Int(word >> 48 & 255)]
                    crc ^= unsafe table[Int(word >> 56)]
                    offset += 8
                }
                while offset < count {
                    crc = unsafe table[Int(UInt8(truncatingIfNeeded: crc) ^ buffer[offset])] ^ crc >> 8
                    offset += 1
                }
                return ~crc
            }
        }
    }
}
