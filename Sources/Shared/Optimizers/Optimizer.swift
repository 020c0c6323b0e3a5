// The update: from a gradient and what is remembered of those before it to new parameters, with clipping by the global norm
// and the guard that keeps non-finite gradients away from everything that lasts. What is remembered is two flat arrays, m
// and v, in which only those parameters have a place whose rule needs one.

public import Kernels

/// An optimizer over flat arrays. The formulas stand in docs/numerics.md.
public final class Optimizer {
    public let settings: OptimizerSettings
    public let groups: [ParameterGroup]
    /// First moments, or momentum, of the groups that have one, one after the other; second moments likewise.
    public let m: Tensor
    public let v: Tensor
    /// Updates that each group has had since it began to learn, the last time: the t of its bias correction.
    public private(set) var updates: [Int]
    /// Groups that do not learn for now: they are not updated and count in no norm.
    public private(set) var isFrozen: [Bool]
    private let places: [Place]
    private let newtonSchulz: NewtonSchulz?
    /// Neighbours with one treatment are one pass over memory.
    private var passes: [Pass] = []

    private struct Place {
        let rule: OptimizerKind
        /// First elements in `m` and `v`; nil: no place there.
        let m, v: Int?
    }

    private struct Pass {
        var group: ParameterGroup
        var place: Place
        var members: Range<Int>
    }

    /// - Parameter groups: must tile the parameters.
    public init(groups: [ParameterGroup], settings: OptimizerSettings) {
        var end = 0
        for group in groups {
            precondition(group.offset == end, "group at \(group.offset), expected at \(end)")
            end += group.count
        }
        self.settings = settings
        self.groups = groups
        updates = Array(repeating: 0, count: groups.count)
        isFrozen = groups.map { !$0.isTrained }
        var (mCount, vCount) = (0, 0)
        places = groups.map { group in
            let rule = Optimizer.rule(of: group, settings)
            let (needsM, needsV) = group.isTrained ? Optimizer.moments(of: rule, settings) : (false, false)
            defer { (mCount, vCount) = (mCount + (needsM ? group.count : 0), vCount + (needsV ? group.count : 0)) }
            return Place(rule: rule, m: needsM ? mCount : nil, v: needsV ? vCount : nil)
        }
        m = Tensor(zeroed: mCount)
        v = Tensor(zeroed: vCount)
        let matrices = Optimizer.matrices(groups, settings)
        newtonSchulz = matrices.isEmpty ? nil : NewtonSchulz(largestOf: matrices)
        plan()
    }

    /// Bytes that an optimizer of these groups holds.
    public static func bytes(groups: [ParameterGroup], settings: OptimizerSettings) -> Int {
        groups.reduce(NewtonSchulz.bytes(matrices(groups, settings))) { sum, group in
            let (needsM, needsV) = group.isTrained ? moments(of: rule(of: group, settings), settings) : (false, false)
            return sum + 4 * group.count * ((needsM ? 1 : 0) + (needsV ? 1 : 0))
        }
    }

    private static func rule(of group: ParameterGroup, _ settings: OptimizerSettings) -> OptimizerKind {
        settings.kind == .muon && group.matrix == nil ? .adamW : settings.kind
    }

    private static func matrices(
        _ groups: [ParameterGroup], _ settings: OptimizerSettings
    ) -> [ParameterGroup.Shape] {
        settings.kind == .muon ? groups.filter(\.isTrained).compactMap(\.matrix) : []
    }

    private static func moments(of rule: OptimizerKind, _ settings: OptimizerSettings) -> (m: Bool, v: Bool) {
        switch rule {
        case .adamW: (true, true)
        case .lion, .muon: (true, false)
        case .sgd: (settings.momentum > 0, false)
        }
    }

    private func plan() {
        passes = []
        for (index, group) in groups.enumerated() where !isFrozen[index] {
            let place = places[index]
            if let last = passes.last, last.place.rule == place.rule, place.rule != .muon,
                last.group.decays == group.decays, last.group.rate == group.rate,
                last.members.upperBound == index, updates[last.members.lowerBound] == updates[index]
            {
                passes[passes.count - 1].group = ParameterGroup(
                    offset: last.group.offset, count: last.group.count + group.count, decays: group.decays,
                    rate: group.rate, gradientOffset: last.group.gradientOffset)
                passes[passes.count - 1].members = last.members.lowerBound..<index + 1
            } else {
                passes.append(Pass(group: group, place: place, members: index..<index + 1))
            }
        }
    }

    /// The first moment of a group; nil when it has none, as while it is frozen.
    public func m(of index: Int) -> Tensor? {
        isFrozen[index] ? nil : places[index].m.map { m.slice($0, groups[index].count) }
    }

    /// The second moment of a group; nil when it has none, as while it is frozen.
    public func v(of index: Int) -> Tensor? {
        isFrozen[index] ? nil : places[index].v.map { v.slice($0, groups[index].count) }
    }

    /// Says which groups do not learn from now on. One that begins to learn again has moments of zero and a bias correction
    /// of its own: it has forgotten.
    public func freeze(_ mask: [Bool]) {
        precondition(mask.count == groups.count, "a mask of \(mask.count) for \(groups.count) groups")
        if mask == isFrozen { return }
        let before = isFrozen
        isFrozen = mask
        for index in groups.indices where before[index] && !mask[index] {
            precondition(groups[index].isTrained, "group \(index) was never to be trained")
            updates[index] = 0
            m(of: index)?.fill(0)
            v(of: index)?.fill(0)
        }
        plan()
    }

    /// Says how many updates each group has had; the moments are loaded beside it.
    public func resume(updates: [Int]) {
        precondition(updates.count == groups.count, "\(updates.count) counts of \(groups.count) groups")
        self.updates = updates
        plan()
    }

    /// √Σ g² over what is not frozen, summed in double; not finite when any element is not. Neighbours that learn are summed
    /// as one array, and such sums added in order.
    public func norm(of gradient: Tensor, _ engine: Engine) -> Double {
        var (sum, index) = (0.0, 0)
        while index < groups.count {
            let begin = groups[index].gradientOffset
            var end = begin
            while index < groups.count, !isFrozen[index] {
                end = groups[index].gradientOffset + groups[index].count
                index += 1
            }
            if end > begin { sum += engine.sumOfSquares(gradient.slice(begin, end - begin)) }
            index += 1
        }
        return sum.squareRoot()
    }

    /// What a gradient of that norm is multiplied with: clip / norm when norm > clip, else 1.
    public func clipScale(norm: Double) -> Double { norm > settings.clip ? settings.clip / norm : 1 }

    /// The largest norm, after clipping, that squares without overflow in fp32: a second moment that once became
    /// infinite would freeze its parameter for ever.
    public static let largestNorm = 1e18

    /// Whether a gradient of that norm may be applied: finite, and not so large that its squares overflow.
    public func accepts(norm: Double) -> Bool { norm.isFinite && norm * clipScale(norm: norm) <= Optimizer.largestNorm }

    /// One update.
    /// - Parameters:
    ///   - norm: of the gradient, as `norm(of:)` gives it.
    ///   - measure: told what each group that learns went through, in order; no bit of the update depends on it.
    /// - Returns: false, and nothing is touched, when `accepts` refuses the norm.
    public func update(
        _ parameters: Tensor, gradient: Tensor, norm: Double, learningRate: Double, _ engine: Engine,
        measure: ((_ group: Int, UpdateSquares) -> Void)? = nil
    ) -> Bool {
        guard accepts(norm: norm) else { return false }
        let scale = Float(clipScale(norm: norm))
        for pass in passes {
            for index in pass.members { updates[index] += 1 }
            /// To elements of the pass, from the `begin`-th on.
            func apply(_ begin: Int, _ count: Int) -> UpdateSquares? {
                self.apply(
                    pass, gradient.slice(pass.group.gradientOffset + begin, count),
                    parameters.slice(pass.group.offset + begin, count),
                    m: pass.place.m.map { m.slice($0 + begin, count) },
                    v: pass.place.v.map { v.slice($0 + begin, count) }, scale: scale,
                    rate: learningRate * pass.group.rate, t: updates[pass.members.lowerBound],
                    isMeasured: measure != nil, engine)
            }
            guard let measure else {
                _ = apply(0, pass.group.count)
                continue
            }
            for index in pass.members {
                let squares = apply(groups[index].offset - pass.group.offset, groups[index].count)
                if let squares { measure(index, squares) }
            }
        }
        return true
    }

    private func apply(
        _ pass: Pass, _ gradient: Tensor, _ parameters: Tensor, m: Tensor?, v: Tensor?, scale: Float, rate: Double,
        t: Int, isMeasured: Bool, _ engine: Engine
    ) -> UpdateSquares? {
        let s = settings
        let decay = pass.group.decays ? s.weightDecay : 0
        switch (pass.place.rule, m, v) {
        case (.adamW, let m?, let v?):
            let bias1 = 1 - Optimizer.power(s.beta1, t)
            let bias2 = 1 - Optimizer.power(s.beta2, t)
            return engine.adamW(
                AdamWUpdate(
                    gradientScale: scale, oneMinusBeta1: Float(1 - s.beta1), oneMinusBeta2: Float(1 - s.beta2),
                    decay: Float(rate * decay), stepSize: Float(rate / bias1),
                    inverseSquareRootBias2: Float(1 / bias2.squareRoot()), epsilon: Float(s.epsilon)),
                gradient: gradient, parameters: parameters, m: m, v: v, isMeasured: isMeasured)
        case (.lion, let m?, _):
            return engine.lion(
                LionUpdate(
                    gradientScale: scale, oneMinusBeta1: Float(1 - s.beta1), oneMinusBeta2: Float(1 - s.beta2),
                    decay: Float(rate * decay), stepSize: Float(rate)),
                gradient: gradient, parameters: parameters, m: m, isMeasured: isMeasured)
        case (.sgd, _, _):
            return engine.sgd(
                SGDUpdate(
                    gradientScale: scale, decay: Float(decay), momentum: Float(s.momentum), stepSize: Float(rate),
                    nesterov: s.nesterov), gradient: gradient, parameters: parameters, m: m, isMeasured: isMeasured)
        case (.muon, let m?, _):
            guard let newtonSchulz, let shape = pass.group.matrix else { preconditionFailure("no matrix") }
            engine.average(
                gradient, scale: scale, weight: Float(1 - s.momentum), into: m,
                direction: newtonSchulz.input.slice(0, gradient.count), nesterov: s.nesterov)
            let direction = newtonSchulz.orthogonalize(shape, engine)
            return engine.sgd(
                SGDUpdate(
                    gradientScale: Float(Optimizer.factor(shape, s.muonScale)), decay: Float(decay), momentum: 0,
                    stepSize: Float(rate), nesterov: false),
                gradient: direction, parameters: parameters, m: nil, isMeasured: isMeasured)
        default: preconditionFailure("\(pass.place.rule) without its moments")
        }
    }

    /// What Muon multiplies an orthogonal matrix of that shape with.
    static func factor(_ shape: ParameterGroup.Shape, _ scale: MuonScale) -> Double {
        let (rows, columns) = (Double(shape.rows), Double(shape.columns))
        switch scale {
        case .rms: return 0.2 * max(rows, columns).squareRoot()
        case .original: return max(1, shape.isInputMajor ? columns / rows : rows / columns).squareRoot()
        }
    }

    /// x^n by squaring: the same operations, so the same bits, everywhere.
    static func power(_ x: Double, _ n: Int) -> Double {
        var (result, base, rest) = (1.0, x, n)
        while rest > 0 {
            if rest & 1 == 1 { result *= base }
            base *= base
            rest >>= 1
        }
        return result
    }
}
