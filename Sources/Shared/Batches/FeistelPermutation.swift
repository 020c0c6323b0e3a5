// The order of blocks and rows: a pseudo-random permutation of 0 ..< n that needs no memory and can be entered
// anywhere, so an epoch of a trillion rows costs nothing to shuffle and nothing to resume. A balanced Feistel network
// (Luby and Rackoff 1988) over the next even power of two, walked until it lands below n (Black and Rogaway 2002).
// Fewer than six rounds or a weak round function are visibly not random; the chi² test ships with the suite.

/// A bijection of 0 ..< `count`, chosen by a 128-bit key. An index costs `rounds` multiplications-and-shifts, times at
/// most four walks on average.
public struct FeistelPermutation: Sendable {
    public static let rounds = 8

    public let count: Int
    private let halfBits: UInt64
    private let halfMask: UInt64
    private let key: (UInt64, UInt64)

    public init(count: Int, key: (UInt64, UInt64)) {
        precondition(count >= 0, "a permutation of \(count) elements")
        self.count = count
        self.key = key
        let bits = count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount
        halfBits = UInt64(max(1, (bits + 1) / 2))
        halfMask = 1 << halfBits - 1
    }

    /// A permutation keyed by what it is for. Different purposes, seeds, epochs, windows or stages are independent.
    init(count: Int, seed: UInt64, purpose: UInt64, epoch: Int, window: Int = 0, stage: Int = 0) {
        var left = splitmix64(seed ^ 0x6d69_6c6c_7261_6365)
        var right = splitmix64(left ^ purpose)
        for value in [UInt64(epoch), UInt64(window)] + (stage > 0 ? [UInt64(stage)] : []) {
            left = splitmix64(left ^ splitmix64(value ^ right))
            right = splitmix64(right &+ left)
        }
        self.init(count: count, key: (left, right))
    }

    /// Where `index` goes.
    public func callAsFunction(_ index: Int) -> Int { walk(index, encrypt) }

    /// What goes to `place`.
    public func inverse(_ place: Int) -> Int { walk(place, decrypt) }

    /// Steps of the network, which permutes a power of four, until one ends below the count.
    @inline(__always)
    private func walk(_ start: Int, _ step: (UInt64) -> UInt64) -> Int {
        precondition(start >= 0 && start < count, "index \(start) of a permutation of \(count)")
        if count == 1 { return 0 }
        var value = UInt64(start)
        repeat { value = step(value) } while value >= UInt64(count)
        return Int(value)
    }

    private func decrypt(_ value: UInt64) -> UInt64 {
        var left = value >> halfBits
        var right = value & halfMask
        for round in (0..<UInt64(FeistelPermutation.rounds)).reversed() {
            let roundKey = (round & 1 == 0 ? key.0 : key.1) &+ round &* 0x9e37_79b9_7f4a_7c15
            (left, right) = (right ^ splitmix64(left ^ roundKey) & halfMask, left)
        }
        return left << halfBits | right
    }

    private func encrypt(_ value: UInt64) -> UInt64 {
        var left = value >> halfBits
        var right = value & halfMask
        for round in 0..<UInt64(FeistelPermutation.rounds) {
            let roundKey = (round & 1 == 0 ? key.0 : key.1) &+ round &* 0x9e37_79b9_7f4a_7c15
            (left, right) = (right, left ^ splitmix64(right ^ roundKey) & halfMask)
        }
        return left << halfBits | right
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014).
@inline(__always)
func splitmix64(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
}
