// Seeded mutations of a kept input, of the kinds that find most: numbers at their borders, cuts, repetitions, pieces of
// another input. The ordinary tests try a few hundred of each; libFuzzer, which sees what an input reached, goes further.

/// A generator of damaged copies: the same seed, the same copies.
public struct Mutation {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    /// splitmix64.
    private mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    private mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }

    /// Numbers where parsers go wrong, little-endian or in digits.
    private static let numbers: [UInt64] = [
        0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000,
        0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, 0xffff_ffff_ffff_ffff,
    ]
    private static let words = [
        "-1", "0", "1e308", "1e999", "9223372036854775807", "9223372036854775808", "18446744073709551615",
        "4611686018427387904", "null", "{}", "[]", "\"\"", "true", "-0.0", "\"\\u0000\"", "[[[[[[[[", "NaN",
    ].map { Array($0.utf8) }

    /// A copy of `bytes` with one to four changes.
    /// - Parameter other: where pieces come from, too.
    public mutating func damaged(_ bytes: [UInt8], with other: [UInt8]) -> [UInt8] {
        var result = bytes
        for _ in 0...below(4) { change(&result, other) }
        return result
    }

    private mutating func change(_ bytes: inout [UInt8], _ other: [UInt8]) {
        let place = below(bytes.count)
        switch below(8) {
        case 0 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(below(8))
        case 1 where !bytes.isEmpty: bytes[place] = UInt8(truncatingIfNeeded: next())
        case 2: bytes.removeLast(bytes.count - place)
        case 3:
            let number = Mutation.numbers[below(Mutation.numbers.count)]
            for k in 0..<(1 << below(4)) where place + k < bytes.count {
                bytes[place + k] = UInt8(truncatingIfNeeded: number >> UInt64(8 * k))
            }
        case 4: replaceNumber(&bytes, near: place)
        case 5:
            let count = min(below(64), bytes.count - place)
            bytes.removeSubrange(place..<place + count)
        case 6:
            let count = min(1 + below(64), bytes.count - place)
            bytes.insert(contentsOf: bytes[place..<place + count], at: below(bytes.count + 1))
        default:
            if other.isEmpty { return }
            let from = below(other.count)
            let piece = other[from..<min(other.count, from + 1 + below(64))]
            bytes.replaceSubrange(place..<min(bytes.count, place + below(piece.count + 1)), with: piece)
        }
    }

    /// Puts a word in place of the next run of digits, as text formats have their numbers.
    private mutating func replaceNumber(_ bytes: inout [UInt8], near place: Int) {
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        guard let start = bytes[min(place, bytes.count)...].firstIndex(where: isDigit) else { return }
        let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Mutation.words[below(Mutation.words.count)])
    }
}
