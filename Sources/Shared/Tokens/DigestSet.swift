// Which documents have been seen: 128 bits of a SHA-256 each (two different documents of 10^10 share them with a chance
// of 10^-19). 256 open-addressing tables by the first byte, each growing for itself, so that growing never holds
// everything twice: 22 to 43 bytes a document.

internal import Bytes

struct DigestSet {
    /// Slots of two words; (0, 0) is empty.
    private struct Table {
        var slots = [UInt64](repeating: 0, count: 2 * 16)
        var count = 0

        mutating func insert(_ high: UInt64, _ low: UInt64) -> Bool {
            if 4 * (count + 1) > 3 * (slots.count / 2) { grow() }
            let place = place(of: high, low)
            if slots[place] != 0 || slots[place + 1] != 0 { return false }
            slots[place] = high
            slots[place + 1] = low
            count += 1
            return true
        }

        /// Where the pair is or would be put: the first free slot from its home on (linear probing).
        private func place(of high: UInt64, _ low: UInt64) -> Int {
            let mask = slots.count / 2 - 1
            var slot = Int(truncatingIfNeeded: low) & mask
            while true {
                let (first, second) = (slots[2 * slot], slots[2 * slot + 1])
                if (first == high && second == low) || (first == 0 && second == 0) { return 2 * slot }
                slot = (slot + 1) & mask
            }
        }

        private mutating func grow() {
            let old = slots
            slots = [UInt64](repeating: 0, count: 2 * old.count)
            for index in stride(from: 0, to: old.count, by: 2) where old[index] != 0 || old[index + 1] != 0 {
                let place = place(of: old[index], old[index + 1])
                slots[place] = old[index]
                slots[place + 1] = old[index + 1]
            }
        }
    }

    private var tables = [Table](repeating: Table(), count: 256)

    /// - Returns: whether it was not there yet.
    mutating func insert(_ digest: Digest) -> Bool {
        let bytes = digest.bytes
        let high: UInt64 = bytes.littleEndian(at: 0) ?? 0
        let low: UInt64 = bytes.littleEndian(at: 8) ?? 0
        // The pair that marks a free slot stands for its neighbour.
        return tables[Int(bytes[0])].insert(high, high == 0 && low == 0 ? 1 : low)
    }
}
