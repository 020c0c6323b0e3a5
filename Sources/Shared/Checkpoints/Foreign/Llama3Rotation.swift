// Llama 3's way to more positions, which GGUF keeps as its result: how much slower each pair of a head turns. The four numbers
// of a config.json give the factors; back, they are found again where the usual constants give the same factors.

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// Frequencies that turn less than `low` times in the original length are divided by the factor, those that turn more than `high`
/// times stay, between them a straight line (arXiv:2407.21783).
struct Llama3Rotation: Equatable {
    let factor, low, high: Double
    let original: Int

    init(factor: Double, low: Double, high: Double, original: Int) {
        self.factor = factor
        self.low = low
        self.high = high
        self.original = original
    }

    /// What each of the `headSize` / 2 frequencies is divided by.
    func factors(headSize: Int, theta: Double) -> [Double] {
        Llama3Rotation.frequencies(headSize: headSize, theta: theta).map { frequency in
            let turns = Double(original) * frequency / (2 * Double.pi)
            if turns > high { return 1 }
            if turns < low { return factor }
            let share = (turns - low) / (high - low)
            return 1 / ((1 - share) / factor + share)
        }
    }

    private static func frequencies(headSize: Int, theta: Double) -> [Double] {
        (0..<headSize / 2).map { pow(theta, -2 * Double($0) / Double(headSize)) }
    }

    // MARK: back

    /// Of 1 / factor: programs compute factors in float32, in which frequencies of some widths are a few units off.
    private static let tolerance = 2e-6

    /// From factors; nil when none with `low` 1 and `high` 4 gives them.
    init?(factors: [Float], headSize: Int, theta: Double) {
        let frequencies = Llama3Rotation.frequencies(headSize: headSize, theta: theta)
        guard factors.count == frequencies.count, let largest = factors.max(), largest > 1, largest < 1e6,
            factors.allSatisfy({ $0 >= 1 })
        else { return nil }
        let found = factors.map { Double($0) }
        func first(_ factor: Double, _ originals: [Int]) -> Llama3Rotation? {
            for original in originals where (1...1 << 24).contains(original) {
                let candidate = Llama3Rotation(factor: factor, low: 1, high: 4, original: original)
                let fits = zip(found, candidate.factors(headSize: headSize, theta: theta)).allSatisfy {
                    abs(1 / $0 - 1 / $1) <= Llama3Rotation.tolerance
                }
                if fits { return candidate }
            }
            return nil
        }
        let factor = Double(largest.description) ?? Double(largest)
        let originals = Llama3Rotation.originals(found, factor, frequencies)
        guard let result = first(factor, originals) ?? Llama3Rotation.unreached(found, frequencies, first) else {
            return nil
        }
        self = result
    }

    /// Lengths that the factors speak for when the slowest pairs have the whole factor, round ones first.
    private static func originals(_ found: [Double], _ factor: Double, _ frequencies: [Double]) -> [Int] {
        // The first pair between the ends turns most, and so tells the length most exactly.
        let between = found.firstIndex { $0 > 1 + 1e-5 && $0 < factor * (1 - 1e-5) }
        if let between {
            let share = (1 / found[between] - 1 / factor) / (1 - 1 / factor)
            let estimate = (1 + 3 * share) * 2 * Double.pi / frequencies[between]
            guard estimate < 1e9 else { return [] }
            return [4096, 1024, 256, 64, 16, 4, 1].map { Int((estimate / $0).rounded() * $0) }
        }
        // A jump from 1 to the factor: every length that lets the one pair turn 4 times, the next not once.
        guard let slow = found.firstIndex(where: { $0 > 1 }), slow > 0 else { return [] }
        let lower = 4 * 2 * Double.pi / frequencies[slow - 1]
        let upper = 2 * Double.pi / frequencies[slow]
        guard upper < 1e9 else { return [] }
        return (0...24).map { 1 << $0 }.filter { Double($0) >= lower && Double($0) <= upper }
            + [Int(lower.rounded(.up)), Int(upper)]
    }

    /// For heads whose slowest pair turns more than once, so that no pair has the whole factor: lengths are tried.
    private static func unreached(
        _ found: [Double], _ frequencies: [Double], _ first: (Double, [Int]) -> Llama3Rotation?
    ) -> Llama3Rotation? {
        guard let last = found.last, let frequency = frequencies.last else { return nil }
        for original in (4...24).map({ 1 << $0 }) {
            let share = (Double(original) * frequency / (2 * Double.pi) - 1) / 3
            guard share > 0, share < 1, 1 / last > share else { continue }
            let factor = (1 - share) / (1 / last - share)
            let rounded = (factor * 8).rounded() / 8
            if abs(rounded - factor) < 1e-3 * factor, let result = first(rounded, [original]) { return result }
        }
        return nil
    }
}
