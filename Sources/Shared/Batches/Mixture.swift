// The share of each source of a mixed run, and whose turn a row is. Everything is counted in whole numbers: shares are
// reduced to the smallest integers in their proportion, and the turn follows from how many rows each source has given,
// so a run that was cut a thousand times mixes as one that never was.

private import Bytes

/// A decimal number above or equal to 0, exactly as it was written.
public struct MixingWeight: Sendable, Hashable {
    /// The number times 10⁹.
    let billionths: Int

    /// 0 to 1,000,000 with at most nine digits after the point: `0.7`, `3`, `.25`. Anything else gives nil.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
        let (whole, fraction) = (parts[0], parts.count > 1 ? parts[1] : "")
        let digits = whole + fraction
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), whole.utf8.count <= 7,
            fraction.utf8.count <= 9, parts.count == 1 || !fraction.isEmpty
        else { return nil }
        let zeros = String(repeating: "0", count: 9 - fraction.utf8.count)
        guard let number = Int(digits + zeros), number <= 1_000_000_000_000_000 else { return nil }
        billionths = number
    }
}

/// The shares of a run's sources.
public struct Mixture: Sendable, Equatable {
    /// Whole numbers in the proportion of the weights, without a common divisor; one a source.
    public let shares: [Int]
    private let total: Int128

    /// One source, which has every turn.
    public static let single = Mixture(shares: [1])

    /// - Precondition: no share is negative, one is above 0, and their sum stays below 2⁶².
    init(shares: [Int]) {
        precondition(shares.contains { $0 > 0 } && shares.allSatisfy { $0 >= 0 }, "shares \(shares)")
        let divisor = shares.reduce(0, greatestCommonDivisor)
        self.shares = shares.map { $0 / divisor }
        total = Int128(self.shares.reduce(0, +))
    }

    /// nil when all weights are 0.
    public init?(_ weights: [MixingWeight]) {
        guard weights.contains(where: { $0.billionths > 0 }) else { return nil }
        self.init(shares: weights.map(\.billionths))
    }

    /// The source whose turn it is: the one that is furthest behind its share of the rows so far and the next one, of
    /// equals the first (the quota method; no source is ever a whole row ahead of its share).
    /// - Parameter taken: rows that each source has given since the shares were set.
    func turn(_ taken: some Collection<Int>) -> Int {
        if shares.count == 1 { return 0 }
        let next = Int128(taken.reduce(0, +)) + 1
        var (best, most) = (0, Int128.min)
        for (index, count) in taken.enumerated() where shares[index] > 0 {
            let deficit = next * Int128(shares[index]) - total * Int128(count)
            if deficit > most { (best, most) = (index, deficit) }
        }
        return best
    }
}

private func greatestCommonDivisor(_ left: Int, _ right: Int) -> Int {
    right == 0 ? left : greatestCommonDivisor(right, left % right)
}
