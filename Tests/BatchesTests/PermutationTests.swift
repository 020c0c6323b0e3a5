// The shuffle must be a bijection and must look random: peers have shipped Feistel rounds with a chi² of 50 to 220
// times its degrees of freedom.

import Batches
import Testing

@Suite struct PermutationTests {
    @Test(arguments: [1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 1000, 4096, 4097, 65535])
    func isABijection(count: Int) {
        let permutation = FeistelPermutation(count: count, key: (1, 2))
        var seen = [Bool](repeating: false, count: count)
        for index in 0..<count { seen[permutation(index)] = true }
        #expect(!seen.contains(false))
    }

    /// chi² per degree of freedom of (value mod 64) over the first 4096 draws, averaged over keys; and of value >> k,
    /// which sees the other half of the network.
    @Test(arguments: [1 << 16, 1_000_003, 1 << 40, 3_000_000_000_001]) func looksRandom(count: Int) {
        for shift in [false, true] {
            var sum = 0.0
            for key in 0..<16 {
                let permutation = FeistelPermutation(count: count, key: (UInt64(key), UInt64(key * 7)))
                var bins = [Double](repeating: 0, count: 64)
                for index in 0..<4096 {
                    let value = permutation(index)
                    bins[shift ? min(63, Int(Double(value) / Double(count) * 64)) : value % 64] += 1
                }
                sum += bins.reduce(0) { $0 + ($1 - 64) * ($1 - 64) / 64 } / 63
            }
            // 16 keys × 63 degrees: the standard deviation of the mean is 0.045. Small domains draw without
            // replacement, which lowers it by the share drawn.
            #expect((0.8...1.2).contains(sum / 16), "chi²/dof \(sum / 16) for \(count), high bits \(shift)")
        }
    }

    /// Neighbours must not stay neighbours: serial differences fall into 64 equal bins.
    @Test func neighboursPart() {
        let count = 1 << 20
        let permutation = FeistelPermutation(count: count, key: (3, 4))
        var bins = [Double](repeating: 0, count: 64)
        for index in 0..<4096 {
            bins[(permutation(index + 1) - permutation(index) + count) % count * 64 / count] += 1
        }
        let chi = bins.reduce(0) { $0 + ($1 - 64) * ($1 - 64) / 64 } / 63
        #expect((0.5...1.5).contains(chi), "chi²/dof \(chi)")
    }

    @Test func keysMatter() {
        let first = (0..<100).map { FeistelPermutation(count: 1000, key: (0, 0))($0) }
        for key: (UInt64, UInt64) in [(1, 0), (0, 1), (1 << 63, 0), (0, 1 << 63)] {
            let other = (0..<100).map { FeistelPermutation(count: 1000, key: key)($0) }
            #expect(zip(first, other).count { $0 == $1 } < 5)
        }
    }
}
