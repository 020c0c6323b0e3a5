// How one axis of a tensor grows: which old index each new one comes from, and on which side of the split it stands. All
// policies but those of depth and positions are a few of these.

/// New indices of an axis from old ones.
struct AxisGrowth {
    /// What stands where a new index has no source.
    enum Fill {
        case zero
        /// What a new model begins with: matrices random, norms 1, biases 0.
        case initial
        /// The mean over the old indices.
        case mean
    }

    let oldCount: Int
    /// Old index of each new one, or -1.
    private(set) var source: [Int32]
    /// How many new indices have the same source, and which of them this one is.
    private(set) var copies: [Int32]
    private(set) var ordinal: [Int32]
    /// The incoming side of copied units: what part of the source's gradient reaches each copy. The parts of one source's
    /// copies add up to 1.
    private(set) var share: [Double]
    /// The outgoing side: values are shared out among the copies, and each has the whole gradient.
    private(set) var isDivided = false
    private(set) var isUneven = false
    let fill: Fill

    var count: Int { source.count }

    /// - Parameter share: the parts of the gradient; nil: equal ones.
    init(from oldCount: Int, source: [Int], share: [Double]? = nil, fill: Fill = .initial) {
        precondition(source.allSatisfy { $0 < oldCount }, "a source beyond \(oldCount)")
        self.oldCount = oldCount
        self.source = source.map { Int32($0) }
        self.fill = fill
        var numbers = [Int32](repeating: 0, count: oldCount)
        ordinal = source.map { index in
            guard index >= 0 else { return 0 }
            defer { numbers[index] += 1 }
            return numbers[index]
        }
        copies = source.map { $0 < 0 ? 1 : numbers[$0] }
        self.share = share ?? copies.map { 1 / Double($0) }
    }

    /// Old indices in place, then copies of the first, the second and so on.
    static func cyclic(from oldCount: Int, to count: Int) -> AxisGrowth {
        AxisGrowth(from: oldCount, source: (0..<count).map { $0 % oldCount })
    }

    /// Old indices in place, then `added` ones without a source.
    static func appending(to oldCount: Int, _ added: Int, fill: Fill) -> AxisGrowth {
        AxisGrowth(from: oldCount, source: (0..<oldCount + added).map { $0 < oldCount ? $0 : -1 }, fill: fill)
    }

    /// The outgoing side of the same units.
    func divided(uneven: Bool) -> AxisGrowth {
        var result = AxisGrowth(from: oldCount, source: source.map(Int.init), fill: .zero)
        result.isDivided = true
        result.isUneven = uneven
        return result
    }

    /// Each index as `width` neighbours: heads as their rows.
    func widened(_ width: Int) -> AxisGrowth {
        func spread(_ index: Int32, _ i: Int) -> Int { index < 0 ? -1 : Int(index) * width + i }
        var result = AxisGrowth(
            from: oldCount * width, source: source.flatMap { index in (0..<width).map { spread(index, $0) } },
            share: share.flatMap { [Double](repeating: $0, count: width) }, fill: fill)
        result.isDivided = isDivided
        result.isUneven = isUneven
        return result
    }

    /// Axes side by side: q, k and v of GPT-2.
    static func concatenated(_ parts: [AxisGrowth]) -> AxisGrowth {
        var (source, share, offset): ([Int], [Double], Int) = ([], [], 0)
        for part in parts {
            source += part.source.map { $0 < 0 ? -1 : Int($0) + offset }
            share += part.share
            offset += part.oldCount
        }
        return AxisGrowth(from: offset, source: source, share: share, fill: parts[0].fill)
    }
}
