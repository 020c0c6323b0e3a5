// What a person asks of an expansion, in one word that fits a shell, a manifest and a log alike:
// `layers=12,how=identity`. Parsed here once; nothing behind this file sees text.

public import Bytes

/// One way to make a model larger (docs/expansion.md).
public struct ExpansionPolicy: Sendable, Equatable, CustomStringConvertible {
    /// What grows.
    public enum Change: Sendable, Equatable {
        /// L.
        case layers(Int, NewLayers, Placement)
        /// I, the width of the feed-forward block.
        case intermediate(Int, NewUnits)
        /// H and KV; nil: as many as there are.
        case heads(Int?, keyValue: Int?, NewUnits)
        /// C, the width of the residual stream.
        case hidden(Int, NewUnits)
        /// V.
        case vocabulary(Int)
        /// Positions.
        case context(Int, NewPositions)
    }

    /// What a new layer computes.
    public enum NewLayers: String, Sendable, CaseIterable {
        /// Nothing yet: a copy of the layer before it whose two projections to the residual stream are zero
        /// (LLaMA Pro, arXiv:2401.02415).
        case identity
        /// What its source does, again: the function changes (arXiv:2312.15166, arXiv:2405.15319).
        case stack
    }

    public enum Placement: String, Sendable, CaseIterable {
        /// Each behind an equal share of the old layers.
        case even
        /// Behind them all.
        case end
    }

    /// Where new units, heads or channels come from.
    public enum NewUnits: String, Sendable, CaseIterable {
        /// Copies; outgoing weights are shared out in halves (Net2Net, arXiv:1511.05641). Copies stay copies.
        case split
        /// Copies; outgoing weights are shared out unevenly, each by a random share, so that the copies part.
        case uneven
        /// Random incoming weights, outgoing weights zero.
        case fresh
    }

    public enum NewPositions: String, Sendable, CaseIterable {
        /// Rotary: the same angles go on. Learned: new rows repeat the old ones.
        case extend
        /// Learned: the old rows are stretched over all positions.
        case interpolate
        /// Rotary: positions are divided by the factor (arXiv:2306.15595).
        case linear
        /// Rotary: a larger base (NTK-aware scaling).
        case ntk
        /// Rotary: slow angles are divided, quick ones stay, and attention is sharpened (arXiv:2309.00071).
        case yarn
        /// Rotary: slow angles are divided, quick ones stay (Llama 3.1, arXiv:2407.21783).
        case llama3
    }

    public let change: Change
    /// Keys the random numbers of `uneven` and `fresh`.
    public let seed: UInt64

    public init(_ change: Change, seed: UInt64 = 0) {
        self.change = change
        self.seed = seed
    }

    /// The word that `init(parsing:)` reads back, with everything that was left out.
    public var description: String {
        let text =
            switch change {
            case .layers(let count, let how, let place): "layers=\(count),how=\(how.rawValue),where=\(place.rawValue)"
            case .intermediate(let size, let how): "intermediate=\(size),how=\(how.rawValue)"
            case .heads(let count, let keyValue, let how):
                [count.map { "heads=\($0)" }, keyValue.map { "key-value-heads=\($0)" }, "how=\(how.rawValue)"]
                    .compactMap { $0 }.joined(separator: ",")
            case .hidden(let size, let how): "hidden=\(size),how=\(how.rawValue)"
            case .vocabulary(let size): "vocabulary=\(size)"
            case .context(let count, let how): "context=\(count),how=\(how.rawValue)"
            }
        return seed == 0 ? text : text + ",seed=\(seed)"
    }

    /// Reads `KEY=N[,KEY=VALUE…]`; the first key is what grows.
    /// - Throws: `Fault` (usage) naming the part that is not understood.
    public init(parsing text: String) throws(Fault) {
        var fields = try PolicyFields(text)
        let seed = try fields.take("seed").map { value throws(Fault) in
            guard let seed = UInt64(value) else { throw fields.refusal("seed", value, "an integer, 0 or more") }
            return seed
        }
        if let count = try fields.takeCount("layers") {
            let how = try fields.takeWord("how") ?? NewLayers.identity
            change = .layers(count, how, try fields.takeWord("where") ?? (how == .stack ? .end : .even))
        } else if let size = try fields.takeCount("intermediate") {
            change = .intermediate(size, try fields.takeWord("how") ?? .uneven)
        } else if fields.has("heads") || fields.has("key-value-heads") {
            let (heads, keyValue) = (try fields.takeCount("heads"), try fields.takeCount("key-value-heads"))
            change = .heads(heads, keyValue: keyValue, try fields.takeWord("how") ?? .uneven)
        } else if let size = try fields.takeCount("hidden") {
            change = .hidden(size, try fields.takeWord("how") ?? .uneven)
        } else if let size = try fields.takeCount("vocabulary") {
            change = .vocabulary(size)
        } else if let count = try fields.takeCount("context") {
            change = .context(count, try fields.takeWord("how") ?? .extend)
        } else {
            throw Fault(
                .usage,
                "policy \(quoted(text)): expected layers=, intermediate=, heads=, key-value-heads=, hidden=, vocabulary= or context="
            )
        }
        self.seed = seed ?? 0
        try fields.requireNothingLeft()
    }
}

/// The parts of a policy as they are taken out.
private struct PolicyFields {
    private let text: String
    private var values: [(key: String, value: String)] = []

    init(_ text: String) throws(Fault) {
        self.text = text
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, !pair[0].isEmpty, !pair[1].isEmpty else {
                throw Fault(
                    .usage, "policy \(quoted(text)): \(quoted(String(part))) is not KEY=VALUE",
                    hint: "layers=12,how=identity")
            }
            if values.contains(where: { $0.key == pair[0] }) {
                throw Fault(.usage, "policy \(quoted(text)): \(quoted(String(pair[0]))) is there twice")
            }
            values.append((String(pair[0]), String(pair[1])))
        }
    }

    func has(_ key: String) -> Bool { values.contains { $0.key == key } }

    mutating func take(_ key: String) throws(Fault) -> String? {
        guard let index = values.firstIndex(where: { $0.key == key }) else { return nil }
        return values.remove(at: index).value
    }

    mutating func takeCount(_ key: String) throws(Fault) -> Int? {
        guard let value = try take(key) else { return nil }
        guard let count = Int(value), (1...1 << 24).contains(count) else {
            throw refusal(key, value, "1 to \(1 << 24)")
        }
        return count
    }

    mutating func takeWord<Word: RawRepresentable & CaseIterable>(_ key: String) throws(Fault) -> Word?
    where Word.RawValue == String {
        guard let value = try take(key) else { return nil }
        guard let word = Word(rawValue: value) else {
            throw refusal(key, value, Word.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return word
    }

    func refusal(_ key: String, _ value: String, _ expected: String) -> Fault {
        Fault(.usage, "policy \(quoted(text)): \(quoted(key)) is \(quoted(value)), expected \(expected)")
    }

    func requireNothingLeft() throws(Fault) {
        if let (key, _) = values.first {
            throw Fault(.usage, "policy \(quoted(text)): \(quoted(key)) has no meaning here")
        }
    }
}
