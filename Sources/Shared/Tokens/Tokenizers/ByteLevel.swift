// The alphabet of byte-level vocabularies in JSON and in vocab.bpe: a character a byte. Printable bytes of Latin-1 are
// themselves; the 68 others are U+0100 and up, in order (GPT-2's bytes_to_unicode).

package enum ByteLevel {
    /// The scalar of each byte.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (0..<256).map { byte in
            let isPrintable =
                (0x21...0x7e).contains(byte) || (0xa1...0xac).contains(byte) || (0xae...0xff).contains(byte)
            if isPrintable { return UInt32(byte) }
            next += 1
            return next - 1
        }
    }()

    /// The byte of each scalar below U+0144; −1 for those that stand for none.
    static let bytes: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
        return table
    }()

    /// The bytes that a text of the alphabet stands for; nil when a character is not of it.
    static func decode(_ text: String) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            guard scalar.value < 0x144, bytes[Int(scalar.value)] >= 0 else { return nil }
            result.append(UInt8(bytes[Int(scalar.value)]))
        }
        return result
    }

    /// The text that stands for the bytes.
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text = String.UnicodeScalarView()
        for byte in bytes { if let scalar = Unicode.Scalar(scalars[Int(byte)]) { text.append(scalar) } }
        return String(text)
    }
}
