// Lion, gradient descent and Muon against their papers in double, against the scalar twins to the bit, and what they keep.

import Kernels
import Optimizers
import Testing

@Suite struct OptimizerTests {
    /// A vector, a wide matrix, a tall one, one that is stored (in, out), a vector.
    private static let groups = [
        ParameterGroup(offset: 0, count: 33, decays: false),
        ParameterGroup(offset: 33, count: 24 * 70, decays: true, matrix: .init(rows: 24, columns: 70)),
        ParameterGroup(offset: 1713, count: 300 * 40, decays: true, matrix: .init(rows: 300, columns: 40)),
        ParameterGroup(
            offset: 13713, count: 16 * 48, decays: true, matrix: .init(rows: 16, columns: 48, isInputMajor: true)),
        ParameterGroup(offset: 14481, count: 19, decays: true),
    ]
    private static let count = 14500
    private static let settings: [OptimizerSettings] = [
        OptimizerSettings(kind: .lion, beta2: 0.99), OptimizerSettings(kind: .sgd),
        OptimizerSettings(kind: .sgd, nesterov: true), OptimizerSettings(kind: .sgd, momentum: 0),
        OptimizerSettings(kind: .muon, momentum: 0.95, nesterov: true),
        OptimizerSettings(kind: .muon, momentum: 0.95, muonScale: .original),
    ]

    private func normal(_ purpose: UInt64, deviation: Float = 1) -> Tensor {
        let tensor = Tensor(zeroed: Self.count)
        Random(seed: 5, purpose: purpose).normal(into: tensor, deviation: deviation)
        return tensor
    }

    /// Each rule in double, as its paper has it.
    private struct Reference {
        let settings: OptimizerSettings
        var p: [Double]
        var m: [Double]
        var v: [Double]
        var power1 = 1.0
        var power2 = 1.0

        mutating func update(_ gradient: [Double], rate: Double) {
            power1 *= settings.beta1
            power2 *= settings.beta2
            for group in OptimizerTests.groups {
                let decay = group.decays ? settings.weightDecay : 0
                let range = group.offset..<group.offset + group.count
                switch settings.kind {
                case .lion:
                    for i in range {
                        let c = settings.beta1 * m[i] + (1 - settings.beta1) * gradient[i]
                        m[i] = settings.beta2 * m[i] + (1 - settings.beta2) * gradient[i]
                        p[i] -= rate * ((c > 0 ? 1 : c < 0 ? -1 : 0) + decay * p[i])
                    }
                case .sgd:
                    for i in range {
                        let d = gradient[i] + decay * p[i]
                        m[i] = settings.momentum * m[i] + d
                        p[i] -= rate * (settings.nesterov ? d + settings.momentum * m[i] : m[i])
                    }
                case .muon where group.matrix != nil: muon(group, gradient, rate, decay)
                case .muon, .adamW:
                    for i in range {
                        m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * gradient[i]
                        v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * gradient[i] * gradient[i]
                        p[i] -= rate * decay * p[i]
                        p[i] -= rate * m[i] / (1 - power1) / ((v[i] / (1 - power2)).squareRoot() + settings.epsilon)
                    }
                }
            }
        }

        private mutating func muon(_ group: ParameterGroup, _ gradient: [Double], _ rate: Double, _ decay: Double) {
            guard let shape = group.matrix else { return }
            let range = group.offset..<group.offset + group.count
            for i in range { m[i] = settings.momentum * m[i] + (1 - settings.momentum) * gradient[i] }
            var x = range.map {
                settings.nesterov ? settings.momentum * m[$0] + (1 - settings.momentum) * gradient[$0] : m[$0]
            }
            let norm = x.reduce(0) { $0 + $1 * $1 }.squareRoot() + 1e-7
            x = x.map { $0 / norm }
            for _ in 0..<5 {
                // From the left, whatever the shape: the polynomial is odd, so both sides give the same matrix.
                let gram = OptimizerTests.product(x, shape.rows, shape.columns, x, shape.rows, transposed: true)
                let square = OptimizerTests.product(gram, shape.rows, shape.rows, gram, shape.rows)
                let polynomial = zip(gram, square).map { -4.775 * $0 + 2.0315 * $1 }
                let rest = OptimizerTests.product(polynomial, shape.rows, shape.rows, x, shape.columns)
                x = zip(x, rest).map { 3.4445 * $0 + $1 }
            }
            let (rows, columns) = (Double(shape.rows), Double(shape.columns))
            let factor =
                settings.muonScale == .rms
                ? 0.2 * max(rows, columns).squareRoot()
                : max(1, shape.isInputMajor ? columns / rows : rows / columns).squareRoot()
            for (index, i) in range.enumerated() { p[i] -= rate * (factor * x[index] + decay * p[i]) }
        }
    }

    /// a (m, k) · b (k, n), or · bᵀ with b (n, k).
    private static func product(
        _ a: [Double], _ m: Int, _ k: Int, _ b: [Double], _ n: Int, transposed: Bool = false
    ) -> [Double] {
        var c = [Double](repeating: 0, count: m * n)
        for i in 0..<m {
            for j in 0..<n {
                var sum = 0.0
                for l in 0..<k { sum += a[i * k + l] * (transposed ? b[j * k + l] : b[l * n + j]) }
                c[i * n + j] = sum
            }
        }
        return c
    }

    @Test(arguments: settings.indices) func threeUpdatesAreThePapers(index: Int) throws {
        let settings = Self.settings[index]
        let engine = try Engine(threads: 2)
        let optimizer = Optimizer(groups: Self.groups, settings: settings)
        let p = normal(1, deviation: 0.5)
        let before = p.array.map(Double.init)
        let zero = [Double](repeating: 0, count: Self.count)
        var reference = Reference(settings: settings, p: before, m: zero, v: zero)
        for t in 1...3 {
            let g = normal(UInt64(10 + t))
            let norm = optimizer.norm(of: g, engine)
            #expect(optimizer.update(p, gradient: g, norm: norm, learningRate: 1e-2, engine))
            reference.update(g.array.map { Double($0) / norm }, rate: 1e-2)
        }
        #expect(optimizer.updates == Array(repeating: 3, count: Self.groups.count))
        for group in Self.groups {
            var (difference, change) = (0.0, 0.0)
            for i in group.offset..<group.offset + group.count {
                difference += (Double(p[i]) - reference.p[i]) * (Double(p[i]) - reference.p[i])
                change += (reference.p[i] - before[i]) * (reference.p[i] - before[i])
            }
            // Parameters near 0.5 have an ulp of 6e-8; changes are between 1e-4 and 3e-2.
            let gate = settings.kind == .sgd ? 1e-3 : 1e-5
            #expect((difference / change).squareRoot() < gate, "\(settings.kind) at \(group.offset)")
        }
    }

    @Test(arguments: settings.indices) func bitsDoNotDependOnThreadsOrInstructionSet(index: Int) throws {
        func run(_ engine: Engine) -> [[UInt32]] {
            let optimizer = Optimizer(groups: Self.groups, settings: Self.settings[index])
            let p = normal(1)
            for t in 1...2 {
                let g = normal(UInt64(10 + t))
                _ = optimizer.update(
                    p, gradient: g, norm: optimizer.norm(of: g, engine), learningRate: 1e-3, engine)
            }
            return [p, optimizer.m, optimizer.v].map { $0.array.map(\.bitPattern) }
        }
        let first = run(try Engine(threads: 1, instructionSet: .scalar))
        for set in InstructionSet.supported {
            for threads in 1...3 {
                #expect(run(try Engine(threads: threads, instructionSet: set)) == first, "\(set) \(threads)")
            }
        }
    }

    /// The twin: the same steps of plain loops.
    @Test(arguments: [(24, 70), (70, 24), (30, 30), (1, 9), (300, 40)])
    func orthogonalMatricesHaveTheBitsOfTheTwin(rows: Int, columns: Int) throws {
        let engine = try Engine(threads: 2)
        let shape = ParameterGroup.Shape(rows: rows, columns: columns)
        let newtonSchulz = NewtonSchulz(largestOf: [shape, .init(rows: 7, columns: 400)])
        let matrix = normal(3).array.prefix(rows * columns)
        newtonSchulz.input.slice(0, rows * columns).copy(Array(matrix))
        let result = newtonSchulz.orthogonalize(shape, engine).array

        var x = Array(matrix)
        let norm = Naive.sumOfSquares(x).squareRoot()
        Naive.combine(Float(1 / (norm + 1e-7)), x, 0, &x)
        let (isTall, side) = (rows > columns, min(rows, columns))
        for _ in 0..<5 {
            var gram = [Float](repeating: 0, count: side * side)
            Naive.gemm(
                m: side, n: side, k: max(rows, columns), x, transposeA: isTall, x, transposeB: !isTall, into: &gram,
                accumulate: false, period: 0)
            var square = gram
            Naive.gemm(
                m: side, n: side, k: side, gram, transposeA: false, gram, transposeB: false, into: &square,
                accumulate: false, period: 0)
            Naive.combine(-4.775, gram, 2.0315, &square)
            for i in 0..<side { square[i * (side + 1)] += 3.4445 }
            var next = x
            Naive.gemm(
                m: rows, n: columns, k: side, isTall ? x : square, transposeA: false, isTall ? square : x,
                transposeB: false, into: &next, accumulate: false, period: 0)
            x = next
        }
        #expect(result.map(\.bitPattern) == x.map(\.bitPattern))
        // Rows (or columns) of nearly unit length: singular values end between 0.6 and 1.3.
        let squares = result.reduce(0.0) { $0 + Double($1) * Double($1) }
        #expect(squares > 0.36 * Double(side) && squares < 1.69 * Double(side))
    }

    @Test(arguments: settings.indices) func aGroupsRateIsAFactorOfTheLearningRate(index: Int) throws {
        let engine = try Engine(threads: 1)
        func run(_ factor: Double, rate: Double) -> [[Float]] {
            let groups = Self.groups.enumerated().map { index, group in
                ParameterGroup(
                    offset: group.offset, count: group.count, decays: group.decays, rate: index == 1 ? factor : 1,
                    matrix: group.matrix)
            }
            let optimizer = Optimizer(groups: groups, settings: Self.settings[index])
            let p = normal(1)
            for t in 1...2 {
                #expect(optimizer.update(p, gradient: normal(UInt64(10 + t)), norm: 100, learningRate: rate, engine))
            }
            return groups.map { p.slice($0.offset, $0.count).array }
        }
        let (plain, half, quick) = (run(1, rate: 0.01), run(0.5, rate: 0.01), run(1, rate: 0.005))
        for group in Self.groups.indices { #expect(half[group] == (group == 1 ? quick : plain)[group]) }
        #expect(plain[1] != half[1])
    }

    /// Frozen: not moved, not in the norm, no moments. Thawed: as if it had just begun.
    @Test(arguments: -1..<6) func aFrozenGroupRestsAndBeginsAnew(index: Int) throws {
        let settings = index < 0 ? OptimizerSettings() : Self.settings[index]
        let engine = try Engine(threads: 1)
        let optimizer = Optimizer(groups: Self.groups, settings: settings)
        let p = normal(1)
        func step(_ optimizer: Optimizer, _ p: Tensor, _ t: Int) {
            #expect(optimizer.update(p, gradient: normal(UInt64(10 + t)), norm: 100, learningRate: 0.01, engine))
        }
        func parts(_ p: Tensor) -> [[Float]] { Self.groups.map { p.slice($0.offset, $0.count).array } }
        step(optimizer, p, 1)
        let mask = [true, false, true, false, false]
        optimizer.freeze(mask)
        #expect(optimizer.m(of: 0) == nil && optimizer.m(of: 2) == nil)
        let g = normal(12)
        let squares = zip(Self.groups, mask).reduce(0.0) { sum, pair in
            let part = g.slice(pair.0.offset, pair.0.count)
            return pair.1 ? sum : sum + part.array.reduce(0) { $0 + Double($1) * Double($1) }
        }
        #expect(abs(optimizer.norm(of: g, engine) / squares.squareRoot() - 1) < 1e-12)
        g[Self.groups[2].offset] = .nan
        #expect(optimizer.norm(of: g, engine).isFinite)
        let before = parts(p)
        step(optimizer, p, 2)
        for (index, (old, new)) in zip(before, parts(p)).enumerated() { #expect((old == new) == mask[index]) }

        optimizer.freeze(mask.map { _ in false })
        #expect(optimizer.updates == [0, 2, 0, 2, 2])
        let (fresh, copy) = (Optimizer(groups: Self.groups, settings: settings), Tensor(p.array))
        for t in 3...4 {
            step(optimizer, p, t)
            step(fresh, copy, t)
        }
        for (index, (old, new)) in zip(parts(p), parts(copy)).enumerated() where mask[index] { #expect(old == new) }
        // A group that never learns has no room.
        let groups = zip(Self.groups, mask).map { group, isFrozen in
            ParameterGroup(
                offset: group.offset, count: group.count, decays: group.decays, matrix: group.matrix,
                isTrained: !isFrozen)
        }
        let small = Optimizer(groups: groups, settings: settings)
        if settings.momentum > 0 || settings.kind != .sgd { #expect(small.m.count == 14500 - 33 - 12000) }
        #expect(
            Optimizer.bytes(groups: groups, settings: settings)
                < Optimizer.bytes(groups: Self.groups, settings: settings)
                || optimizer.m.count == 0)
    }

    @Test func aZeroGradientMovesNothing() throws {
        let engine = try Engine(threads: 1)
        for var settings in Self.settings {
            settings.weightDecay = 0
            let optimizer = Optimizer(groups: Self.groups, settings: settings)
            let p = normal(1)
            let before = p.array
            #expect(
                optimizer.update(p, gradient: Tensor(zeroed: Self.count), norm: 0, learningRate: 0.1, engine))
            #expect(p.array == before)
        }
    }

    @Test(arguments: settings.indices) func aGradientThatCannotBeAppliedTouchesNothing(index: Int) throws {
        let engine = try Engine(threads: 2)
        let optimizer = Optimizer(groups: Self.groups, settings: Self.settings[index])
        let p = normal(1)
        #expect(optimizer.update(p, gradient: normal(2), norm: 100, learningRate: 1e-3, engine))
        let before = [p, optimizer.m, optimizer.v].map { $0.array.map(\.bitPattern) }
        let g = normal(3)
        g[4711] = .nan
        #expect(!optimizer.update(p, gradient: g, norm: optimizer.norm(of: g, engine), learningRate: 1e-3, engine))
        #expect([p, optimizer.m, optimizer.v].map { $0.array.map(\.bitPattern) } == before)
        #expect(optimizer.updates.allSatisfy { $0 == 1 })
    }

    @Test func onlyWhatARuleNeedsIsKeptAndCounted() {
        func floats(_ settings: OptimizerSettings) -> [Int] {
            let optimizer = Optimizer(groups: Self.groups, settings: settings)
            let scratch = settings.kind == .muon ? 2 * (300 * 40 + 40 * 40) : 0
            #expect(
                Optimizer.bytes(groups: Self.groups, settings: settings)
                    == 4 * (optimizer.m.count + optimizer.v.count + scratch))
            return [optimizer.m.count, optimizer.v.count]
        }
        #expect(floats(OptimizerSettings()) == [14500, 14500])
        #expect(floats(OptimizerSettings(kind: .lion)) == [14500, 0])
        #expect(floats(OptimizerSettings(kind: .sgd)) == [14500, 0])
        #expect(floats(OptimizerSettings(kind: .sgd, momentum: 0)) == [0, 0])
        #expect(floats(OptimizerSettings(kind: .muon)) == [14500, 52])
    }
}
