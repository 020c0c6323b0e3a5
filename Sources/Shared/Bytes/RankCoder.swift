// Ids of a large vocabulary as LEB128 of their ranks: frequent ids take one byte, rare ones three, and zstd makes more of
// that than of four bytes each. Both loops touch every token of a corpus, which is why they are here.

/// Ranks of the ids of a vocabulary: first those of a table, then all others in rising order.
public struct RankCoder: Sendable {
    /// The ids that come first, by rank.
    public let table: [UInt32]
    public let vocabularySize: Int
    /// The table's ids, rising: how many of them lie below an id says the rank of one that is not in the table.
    private let sorted: [UInt32]
    /// For every so many-th id that is not in the table, how many of the table's lie below it: at most 65,536 numbers.
    private let belowRest: [UInt16]
    private let restShift: Int

    /// The most bytes that a rank takes.
    public static let maximumBytes = 5

    /// The most ids of a table.
    public static let maximumTable = 65_535

    /// nil unless the ids of `table`, at most `maximumTable`, differ and are below `vocabularySize`, 1 … 2^32.
    public init?(table: [UInt32], vocabularySize: Int) {
        let sorted = table.sorted()
        for index in sorted.indices.dropFirst() where sorted[index] == sorted[index - 1] { return nil }
        if let last = sorted.last, Int(last) >= vocabularySize { return nil }
        self.table = table
        self.sorted = sorted
        if table.count > RankCoder.maximumTable { return nil }
        var belowRest: [UInt16] = []
        var below = 0
        // A few steps on average from the number to the answer, and 64 to 128 KiB.
        restShift = max(2, Int.bitWidth - (vocabularySize >> 16).leadingZeroBitCount)
        for rest in stride(from: 0, to: vocabularySize - table.count, by: 1 << restShift) {
            while below < sorted.count && Int(sorted[below]) - below <= rest { below += 1 }
            belowRest.append(UInt16(below))
        }
        self.belowRest = belowRest
        self.vocabularySize = vocabularySize
    }

    /// Why bytes were refused.
    public struct Failure: Error, Sendable {
        /// Byte of the content at which the rank begins, and its number.
        public let byte: Int
        public let rank: Int
        public let reason: String
    }

    // MARK: Ids to ranks

    /// The rank of every id: 4 bytes an id of the vocabulary, which must be smaller than 2^32, for whoever writes.
    public func ranks() -> [UInt32] {
        var ranks = [UInt32](repeating: .max, count: vocabularySize)
        for (rank, id) in table.enumerated() { ranks[Int(id)] = UInt32(rank) }
        var next = UInt32(table.count)
        for id in ranks.indices where ranks[id] == .max {
            ranks[id] = next
            next += 1
        }
        return ranks
    }

    /// The ranks of little-endian u32 ids, all below the vocabulary size, as LEB128.
    /// - Parameter ranks: what `ranks()` gives.
    public static func encode(_ ids: [UInt8], ranks: [UInt32]) -> [UInt8] {
        let count = ids.count / 4
        // SAFETY: at most 5 bytes are written for each id, into storage of that size; loads lie inside `ids`, and every
        // id's place in `ranks` is checked by the array.
        return unsafe [UInt8](unsafeUninitializedCapacity: count * maximumBytes) { buffer, initialized in
            guard let target = buffer.baseAddress else { return }
            var written = 0
            unsafe ids.withUnsafeBytes { source in
                for index in 0..<count {
                    let id = unsafe source.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
                    var rank = ranks[Int(id)]
                    while rank >= 0x80 {
                        unsafe target[written] = UInt8(truncatingIfNeeded: rank | 0x80)
                        written += 1
                        rank >>= 7
                    }
                    unsafe target[written] = UInt8(truncatingIfNeeded: rank)
                    written += 1
                }
            }
            initialized = written
        }
    }

    // MARK: Ranks to ids

    /// `count` ids as little-endian u32 of exactly `bytes`.
    public func decode(_ bytes: [UInt8], count: Int) throws(Failure) -> [UInt8] {
        var failure: Failure?
        // SAFETY: `count` ids are written into storage of that size; every load of the source is followed by at least as
        // many bytes as it takes, and every place in the table is below the count that is checked before it.
        let ids = unsafe [UInt8](unsafeUninitializedCapacity: 4 * count) { buffer, initialized in
            unsafe bytes.withUnsafeBytes { source in
                unsafe table.withUnsafeBufferPointer { table in
                    let target = UnsafeMutableRawBufferPointer(buffer)
                    var place = 0
                    for index in 0..<count {
                        let begin = place
                        var rank = UInt32.max
                        // Up to four bytes at once and without a branch on the length, which nothing can predict.
                        if place + 4 <= source.count {
                            let word = unsafe source.loadUnaligned(fromByteOffset: place, as: UInt32.self)
                            let ends = ~word & 0x8080_8080
                            let bits = ends.trailingZeroBitCount + 1
                            let value = word & (UInt32.max >> UInt32(truncatingIfNeeded: 32 - bits))
                            // Not one that goes on, and no last byte of zero behind others.
                            if ends != 0 && (bits == 8 || value >> UInt32(truncatingIfNeeded: bits - 8) != 0) {
                                rank =
                                    value & 0x7f | value >> 1 & 0x3f80 | value >> 2 & 0x1f_c000 | value >> 3
                                    & 0xfe0_0000
                                place += bits >> 3
                            }
                        }
                        if rank == .max {
                            do throws(Failure) {
                                rank = try RankCoder.rank(in: bytes, at: &place, number: index)
                            } catch {
                                failure = error
                                return
                            }
                        }
                        let id: UInt32
                        if Int(rank) < table.count {
                            id = unsafe table[Int(rank)]
                        } else if Int(rank) < vocabularySize {
                            id = self.id(ofRest: Int(rank) - table.count)
                        } else {
                            failure = Failure(
                                byte: begin, rank: index,
                                reason: "is \(rank), not below the vocabulary size \(vocabularySize)")
                            return
                        }
                        unsafe target.storeBytes(of: id, toByteOffset: 4 * index, as: UInt32.self)
                    }
                    if place < source.count {
                        failure = Failure(
                            byte: place, rank: count, reason: "was not expected: the frame has \(count) ranks")
                        return
                    }
                    initialized = 4 * count
                }
            }
        }
        if let failure { throw failure }
        return ids
    }

    /// One rank a byte at a time: at the end of a frame, and where something is wrong.
    private static func rank(in bytes: [UInt8], at place: inout Int, number: Int) throws(Failure) -> UInt32 {
        let begin = place
        var rank: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            if shift == 35 {
                throw Failure(byte: begin, rank: number, reason: "takes more than \(maximumBytes) bytes")
            }
            if place == bytes.count {
                throw Failure(byte: begin, rank: number, reason: "is cut by the end of the frame")
            }
            let byte = bytes[place]
            place += 1
            rank |= UInt64(byte & 0x7f) << shift
            shift += 7
            if byte >= 0x80 { continue }
            if byte == 0 && shift > 7 {
                throw Failure(byte: begin, rank: number, reason: "is overlong: \(rank) in \(place - begin) bytes")
            }
            // No vocabulary has it; as the largest of 32 bits it is refused like others.
            return UInt32(clamping: rank)
        }
    }

    /// The id that is number `rest` of those that are not in the table.
    private func id(ofRest rest: Int) -> UInt32 {
        // `sorted[j] - j` others lie below the table's j-th id: the answer is `rest` and the number of those with at most
        // `rest` others below them.
        var below = Int(belowRest[rest >> restShift])
        while below < sorted.count && Int(sorted[below]) - below <= rest { below += 1 }
        return UInt32(truncatingIfNeeded: rest + below)
    }
}
