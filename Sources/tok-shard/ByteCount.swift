// How much memory: a number with its unit, as people write it.

public import ArgumentParser

/// `512M`, `4G`, `1GiB`; a number alone is MiB. Units are powers of 1,024.
public struct ByteCount: ExpressibleByArgument, Sendable {
    public let bytes: Int

    public init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int(digits), number > 0 else { return nil }
        let shifts = ["": 20, "k": 10, "m": 20, "g": 30, "t": 40]
        var unit = argument.dropFirst(digits.count).lowercased()
        for ending in ["ib", "b"] where unit.count > ending.count && unit.hasSuffix(ending) {
            unit.removeLast(ending.count)
            break
        }
        guard let shift = shifts[unit], number <= (1 << 40) >> shift else { return nil }
        bytes = number << shift
    }
}
