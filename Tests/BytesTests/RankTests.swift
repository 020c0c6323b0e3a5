// Ranks as LEB128: what goes in comes out, against a coder that takes a byte at a time; what no writer makes is refused
// with its place.

import Bytes
import Testing

@Suite struct RankTests {
    /// The specification: table first, all other ids behind it in rising order.
    private func naiveRanks(_ table: [UInt32], _ vocabularySize: Int) -> [UInt32: Int] {
        let rest = (0..<UInt32(vocabularySize)).filter { !table.contains($0) }
        return Dictionary(uniqueKeysWithValues: (table + rest).enumerated().map { ($1, $0) })
    }

    private func naiveBytes(_ rank: Int) -> [UInt8] {
        rank < 128 ? [UInt8(rank)] : [UInt8(rank & 127 | 128)] + naiveBytes(rank >> 7)
    }

    @Test(arguments: [0, 1, 5, 40, 300]) func everyIdComesBack(count: Int) throws {
        var noise = Noise(UInt64(count) + 1)
        let size = 300
        var ids = (0..<UInt32(size)).map { $0 }
        for index in ids.indices { ids.swapAt(index, Int(noise.next() % UInt64(size))) }
        let table = Array(ids.prefix(count))
        let coder = try #require(RankCoder(table: table, vocabularySize: size))
        let naive = naiveRanks(table, size)
        #expect(coder.ranks().map { Int($0) } == (0..<UInt32(size)).map { naive[$0] ?? -1 })
        let bytes = RankCoder.encode(ids.littleEndianBytes, ranks: coder.ranks())
        #expect(bytes == ids.flatMap { naiveBytes(naive[$0] ?? -1) })
        #expect(try coder.decode(bytes, count: size) == ids.littleEndianBytes)
    }

    /// All lengths of ranks, at the end of a frame and before it.
    @Test func largeVocabulariesComeBack() throws {
        let coder = try #require(RankCoder(table: [5, 3, 200_000, 16_000_000], vocabularySize: 1 << 24))
        let ranks = coder.ranks()
        for edge in [0, 1, 4, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152, 16_777_215] {
            let ids = [5, UInt32(edge), 3, UInt32(edge)]
            let bytes = RankCoder.encode(ids.littleEndianBytes, ranks: ranks)
            #expect(try coder.decode(bytes, count: 4) == ids.littleEndianBytes, "\(edge)")
        }
    }

    @Test(
        arguments: [
            ([0x80, 0x00, 1, 1, 1], 4, 0, "is overlong: 0 in 2 bytes"),
            ([1, 0x81, 0x80, 0x00], 2, 1, "is overlong: 1 in 3 bytes"),
            ([1, 1, 0xe8, 0x07, 1, 1, 1], 6, 2, "is 1000, not below the vocabulary size 1000"),
            ([1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1], 4, 1, "is 4294967295, not below the vocabulary size 1000"),
            ([1, 0xff, 0xff, 0xff, 0xff, 0x7f], 2, 1, "is 4294967295, not below the vocabulary size 1000"),
            ([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 2, 1, "takes more than 5 bytes"),
            ([1, 2, 0x81], 3, 2, "is cut by the end of the frame"), ([], 1, 0, "is cut by the end of the frame"),
            ([1, 2, 3], 2, 2, "was not expected: the frame has 2 ranks"),
        ] as [([UInt8], Int, Int, String)]) func badBytesAreRefused(
            bytes: [UInt8], count: Int, byte: Int, reason: String
        ) throws
    {
        let coder = try #require(RankCoder(table: [7, 9], vocabularySize: 1000))
        let failure = try #require(throws: RankCoder.Failure.self) { try coder.decode(bytes, count: count) }
        #expect(failure.reason == reason)
        #expect(failure.byte == byte)
    }

    @Test func badTablesAreRefused() {
        #expect(RankCoder(table: [1, 2, 1], vocabularySize: 10) == nil)
        #expect(RankCoder(table: [1, 10], vocabularySize: 10) == nil)
    }
}
