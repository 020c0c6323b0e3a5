// The policies. Each changes the configuration and says how axes or layers grow; docs/expansion.md has the algebra.

import Bytes
import Kernels

extension ExpansionDraft {
    /// Depth.
    mutating func addLayers(
        _ count: Int, _ how: ExpansionPolicy.NewLayers, _ place: ExpansionPolicy.Placement
    ) throws(Fault) {
        let old = before.layers
        try requireGrowth("layers", count, from: old)
        let added = count - old
        func new(_ source: Int) -> Layer { Layer(source: source, isNew: true, isSilent: how == .identity) }
        switch place {
        case .end:
            layers += (0..<added).map { new(how == .stack ? $0 % old : old - 1) }
        case .even:
            // The e-th of E new layers stands behind ⌈e·L/E⌉ old ones.
            var behind = [Int](repeating: 0, count: old)
            for e in 1...added { behind[(e * old + added - 1) / added - 1] += 1 }
            layers = (0..<old).flatMap { layer in
                [Layer(source: layer)] + [Layer](repeating: new(layer), count: behind[layer])
            }
        }
        if how == .stack { promise = .none }
        set(isGPT2 ? "n_layer" : "num_hidden_layers", .integer(count))
    }

    /// The feed-forward block.
    mutating func widen(intermediate size: Int, _ how: ExpansionPolicy.NewUnits) throws(Fault) {
        try requireGrowth("intermediate", size, from: before.intermediateSize)
        let axis = units(before.intermediateSize, size, how)
        growth[.inner] = axis
        growth[.innerRead] = outgoing(axis, how)
        set(isGPT2 ? "n_inner" : "intermediate_size", .integer(size))
    }

    /// Heads of queries, and of keys and values. A query head attends with the keys and values of its group, so a copy
    /// must stand in a group whose keys and values are copies of its source's.
    mutating func addHeads(_ heads: Int?, _ keyValue: Int?, _ how: ExpansionPolicy.NewUnits) throws(Fault) {
        let (oldHeads, oldGroups) = (before.heads, before.keyValueHeads)
        if isGPT2 {
            throw refusal(
                "GPT-2's heads are as wide together as its residual stream, so they cannot grow alone",
                hint: "hidden=\(2 * before.hiddenSize) doubles both")
        }
        let groups = keyValue ?? oldGroups
        let count = heads ?? max(oldHeads, groups)
        guard count >= oldHeads, groups >= oldGroups, count + groups > oldHeads + oldGroups else {
            throw refusal(
                "heads \(count) and key-value-heads \(groups), expected more than the model's \(oldHeads) and \(oldGroups)"
            )
        }
        guard count % groups == 0 else {
            throw refusal("heads \(count), expected a multiple of key-value-heads \(groups)")
        }
        let (size, oldSize) = (count / groups, oldHeads / oldGroups)
        guard groups / oldGroups * size >= oldSize else {
            throw refusal(
                "\(groups) groups of \(size) heads have no place for \(oldGroups) groups of \(oldSize)",
                hint: "more heads, or key-value-heads a multiple of \(oldGroups)")
        }
        growHeads(count, groups, how)
        set("num_attention_heads", .integer(count))
        set("num_key_value_heads", .integer(groups))
        set("head_dim", .integer(before.headSize))
    }

    private mutating func growHeads(_ count: Int, _ groups: Int, _ how: ExpansionPolicy.NewUnits) {
        let (oldGroups, oldSize, size) = (before.keyValueHeads, before.heads / before.keyValueHeads, count / groups)
        // Group g holds copies of keys and values of group g mod KV; its heads go on where the copy before it stopped.
        let source = (0..<count).map { head in
            let group = head / size
            let place = group / oldGroups * size + head % size
            if how == .fresh && place >= oldSize { return -1 }
            return group % oldGroups * oldSize + place % oldSize
        }
        let query = AxisGrowth(from: before.heads, source: source)
        // The gradient of a key is a sum over the heads of its group. Which part each copy has is known where every copy
        // has the same heads; else it is the part to be expected.
        var (keyValueSource, share): ([Int], [Double]) = ([], [])
        for group in 0..<groups {
            let mine = group * size..<(group + 1) * size
            let isKnown = mine.contains { source[$0] >= 0 }
            keyValueSource.append(isKnown ? group % oldGroups : -1)
            share.append(mine.reduce(0) { $0 + (source[$1] < 0 ? 0 : query.share[$1]) } / Double(oldSize))
        }
        let keyValue = AxisGrowth(from: oldGroups, source: keyValueSource, share: share)
        let d = before.headSize
        growth[.query] = query.widened(d)
        growth[.keyValue] = keyValue.widened(d)
        growth[.queryKeyValue] = AxisGrowth.concatenated([query, keyValue, keyValue].map { $0.widened(d) })
        growth[.attentionRead] = outgoing(query, how).widened(d)
    }

    /// The residual stream. Its norms divide by a statistic of the whole vector, which a vector of r equal parts does not
    /// change; any other width changes it by √(C/C′), which RMSNorm's weights can make good but for rounding.
    mutating func widen(hidden size: Int, _ how: ExpansionPolicy.NewUnits) throws(Fault) {
        let old = before.hiddenSize
        try requireGrowth("hidden", size, from: old)
        set(isGPT2 ? "n_embd" : "hidden_size", .integer(size))
        if !isGPT2 { set("head_dim", .integer(before.headSize)) }
        if size % old == 0 {
            guard how != .fresh else {
                throw refusal(
                    "hidden \(size) is \(size / old) times the model's: copies keep the function, fresh channels would not",
                    hint: "how=uneven or how=split")
            }
            let axis = AxisGrowth.cyclic(from: old, to: size)
            growth[.hidden] = axis
            growth[.hiddenRead] = axis.divided(uneven: how == .uneven)
            growth[.lastNorm] = growth[.hiddenRead]
            if isGPT2 {
                // GPT-2's heads are as wide together as the residual stream.
                growHeads(before.heads * (size / old), before.heads * (size / old), how)
                set("n_head", .integer(before.heads * (size / old)))
            }
            return
        }
        guard before.normalization == .rootMeanSquare else {
            throw refusal(
                "hidden \(size): LayerNorm subtracts a mean that changes with the width, expected a multiple of \(old)")
        }
        guard how == .fresh else {
            throw refusal(
                "hidden \(size) is no multiple of the model's \(old), so the vector cannot be repeated",
                hint:
                    "how=fresh pads it with new channels, exact but for the rounding of √(\(old)/\(size)); or hidden=\(2 * old)"
            )
        }
        growth[.hidden] = AxisGrowth.appending(to: old, size - old, fill: .zero)
        growth[.hiddenRead] = AxisGrowth.appending(to: old, size - old, fill: .initial)
        growth[.lastNorm] = growth[.hidden]
        let ratio = Double(old) / Double(size)
        normScale = ratio.squareRoot()
        promise = .rounded
        set("rms_norm_eps", .number(before.normEpsilon * ratio))
    }

    mutating func widen(vocabulary size: Int) throws(Fault) {
        try requireGrowth("vocabulary", size, from: before.vocabularySize)
        growth[.vocabulary] = AxisGrowth.appending(to: before.vocabularySize, size - before.vocabularySize, fill: .mean)
        promise = .oldTokens
        set("vocab_size", .integer(size))
    }

    private func units(_ old: Int, _ new: Int, _ how: ExpansionPolicy.NewUnits) -> AxisGrowth {
        how == .fresh ? .appending(to: old, new - old, fill: .initial) : .cyclic(from: old, to: new)
    }

    private func outgoing(_ axis: AxisGrowth, _ how: ExpansionPolicy.NewUnits) -> AxisGrowth {
        axis.divided(uneven: how == .uneven)
    }
}

extension ExpansionDraft {
    /// Positions.
    mutating func lengthen(_ count: Int, _ how: ExpansionPolicy.NewPositions) throws(Fault) {
        let old = before.maximumPositions
        try requireGrowth("context", count, from: old)
        set(isGPT2 ? "n_positions" : "max_position_embeddings", .integer(count))
        guard let theta = before.ropeTheta else { return try lengthenTable(count, how) }
        if how == .extend { return }
        let (factor, d) = (Double(count) / Double(old), Double(before.headSize))
        if before.ropeScaling != nil {
            throw refusal(
                "the model's rotary positions are scaled already", hint: "how=extend goes on with the same angles")
        }
        promise = .none
        var (base, scaling): (Double, RotaryScaling?) = (theta, nil)
        switch how {
        case .linear: scaling = .linear(factor: factor)
        case .yarn:
            scaling = .yarn(factor: factor, original: old, betaFast: 32, betaSlow: 1, attentionFactor: nil)
        case .llama3: scaling = .llama3(factor: factor, low: 1, high: 4, original: old)
        case .ntk:
            guard d > 2 else { throw refusal("how=ntk needs heads wider than 2") }
            base = theta * Naive.exponential(Naive.logarithm(factor) * d / (d - 2))
        case .extend, .interpolate:
            throw refusal(
                "how=\(how.rawValue): rotary positions are no table", hint: "extend, linear, ntk, yarn or llama3")
        }
        var parameters = scaling?.json ?? ["rope_type": "default"]
        set("rope_scaling", scaling.map { .object($0.json) } ?? .null)
        parameters["rope_theta"] = .number(base)
        set("rope_parameters", .object(parameters))
        set("rope_theta", .number(base))
    }

    private mutating func lengthenTable(_ count: Int, _ how: ExpansionPolicy.NewPositions) throws(Fault) {
        let old = before.maximumPositions
        switch how {
        case .extend:
            // New rows repeat the old ones, and no gradient has reached them.
            growth[.positions] = AxisGrowth(
                from: old, source: (0..<count).map { $0 % old }, share: (0..<count).map { $0 < old ? 1 : 0 })
        case .interpolate:
            stretchesPositions = true
            promise = .none
        case .linear, .ntk, .yarn, .llama3:
            throw refusal("how=\(how.rawValue): the model has a table of positions", hint: "extend or interpolate")
        }
    }
}
