// The optimizer alone, with injected gradients, against its formula in double; clipping; the guard.

import Kernels
import Optimizers
import Testing

/// AdamW as the paper has it, in double.
private struct Reference {
    var p, m, v: [Double]

    mutating func update(_ g: [Double], scale: Double, rate: Double, decay: [Double], t: Int) {
        var (power1, power2) = (1.0, 1.0)
        for _ in 0..<t {
            power1 *= 0.9
            power2 *= 0.95
        }
        for i in p.indices {
            let gradient = g[i] * scale
            m[i] = 0.9 * m[i] + 0.1 * gradient
            v[i] = 0.95 * v[i] + 0.05 * gradient * gradient
            p[i] -= rate * decay[i] * p[i]
            p[i] -= rate * (m[i] / (1 - power1)) / ((v[i] / (1 - power2)).squareRoot() + 1e-8)
        }
    }
}

@Suite struct AdamWTests {
    private static let groups = [
        ParameterGroup(offset: 0, count: 700, decays: true), ParameterGroup(offset: 700, count: 33, decays: false),
        ParameterGroup(offset: 733, count: 5000, decays: true), ParameterGroup(offset: 5733, count: 99, decays: true),
    ]
    private static let count = 5832

    private func optimizer(clip: Double = 1, weightDecay: Double = 0.1) -> Optimizer {
        Optimizer(groups: AdamWTests.groups, settings: OptimizerSettings(weightDecay: weightDecay, clip: clip))
    }

    private func normal(_ purpose: UInt64, deviation: Float = 1) -> Tensor {
        let tensor = Tensor(zeroed: AdamWTests.count)
        Random(seed: 3, purpose: purpose).normal(into: tensor, deviation: deviation)
        return tensor
    }

    /// Each step starts from what fp32 holds, so that only one update's rounding is seen: 2 ulp of the parameter or of
    /// the step, whichever is larger.
    @Test func eachUpdateIsTheFormulaToTwoUlps() throws {
        let engine = try Engine(threads: 2)
        let adam = optimizer()
        let p = normal(1, deviation: 0.5)
        for t in 1...5 {
            let g = normal(UInt64(10 + t))
            let norm = adam.norm(of: g, engine)
            #expect(abs(norm / Double(AdamWTests.count).squareRoot() - 1) < 0.05)
            let before = p.array.map(Double.init)
            var reference = Reference(p: before, m: adam.m.array.map(Double.init), v: adam.v.array.map(Double.init))
            let decay = AdamWTests.groups.flatMap { Array(repeating: $0.decays ? 0.1 : 0, count: $0.count) }
            reference.update(g.array.map(Double.init), scale: 1 / norm, rate: 3e-4, decay: decay, t: t)
            #expect(adam.update(p, gradient: g, norm: norm, learningRate: 3e-4, engine))
            for (actual, expected, old) in zipped(p.array, reference.p, before) {
                let ulp = Double(Float(expected).ulp) + abs(expected - old) * 0x1p-22
                #expect(abs(Double(actual) - expected) <= 2 * ulp)
            }
            // m may cancel: its error is measured against the larger of its terms.
            for (actual, expected, gradient) in zipped(adam.m.array, reference.m, g.array.map { Double($0) / norm }) {
                #expect(abs(Double(actual) - expected) <= 0x1p-22 * max(abs(expected), abs(gradient)))
            }
            for (actual, expected) in zip(adam.v.array, reference.v) {
                #expect(abs(Double(actual) - expected) <= 0x1p-21 * expected)
            }
        }
    }

    private func zipped(_ a: [Float], _ b: [Double], _ c: [Double]) -> [(Float, Double, Double)] {
        zip(a, zip(b, c)).map { ($0, $1.0, $1.1) }
    }

    @Test func bitsDoNotDependOnThreadsOrInstructionSet() throws {
        func run(_ engine: Engine) -> [[UInt32]] {
            let adam = optimizer()
            let p = normal(1)
            for t in 1...3 {
                let g = normal(UInt64(10 + t))
                _ = adam.update(p, gradient: g, norm: adam.norm(of: g, engine), learningRate: 1e-3, engine)
            }
            return [p, adam.m, adam.v].map { $0.array.map(\.bitPattern) }
        }
        let first = run(try Engine(threads: 1, instructionSet: .scalar))
        for set in InstructionSet.supported {
            for threads in 1...3 {
                let engine = try Engine(threads: threads, instructionSet: set)
                #expect(run(engine) == first, "\(set) \(threads)")
            }
        }
    }

    @Test func decayReachesMarkedGroupsOnlyAndIsDecoupled() throws {
        let engine = try Engine(threads: 1)
        let adam = optimizer(weightDecay: 0.5)
        let p = normal(1)
        let before = p.array
        #expect(adam.update(p, gradient: Tensor(zeroed: p.count), norm: 0, learningRate: 0.25, engine))
        let after = p.array
        for group in AdamWTests.groups {
            for i in group.offset..<group.offset + group.count {
                #expect(after[i] == (group.decays ? before[i] * 0.875 : before[i]))
            }
        }
    }

    @Test func clippingScalesByMaximumOverNormOnlyAboveTheMaximum() {
        let adam = optimizer(clip: 2)
        #expect(adam.clipScale(norm: 4) == 0.5)
        #expect(adam.clipScale(norm: 2) == 1 && adam.clipScale(norm: 0) == 1)
        #expect(optimizer(clip: .infinity).clipScale(norm: 1e30) == 1)
    }

    @Test func aClippedGradientIsTheScaledGradient() throws {
        let engine = try Engine(threads: 1)
        let g = normal(5)
        let norm = optimizer().norm(of: g, engine)
        let (clipped, scaled) = (optimizer(clip: norm / 4), optimizer(clip: .infinity))
        let (p, q) = (normal(1), normal(1))
        #expect(clipped.update(p, gradient: g, norm: norm, learningRate: 1e-3, engine))
        let quarter = Tensor(g.array.map { $0 * 0.25 })
        #expect(scaled.update(q, gradient: quarter, norm: norm / 4, learningRate: 1e-3, engine))
        #expect(p.array == q.array && clipped.m.array == scaled.m.array && clipped.v.array == scaled.v.array)
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity, 1e30])
    func aGradientThatCannotBeAppliedTouchesNothing(bad: Float) throws {
        let engine = try Engine(threads: 2)
        let adam = optimizer(clip: .infinity)
        let p = normal(1)
        #expect(adam.update(p, gradient: normal(2), norm: 1, learningRate: 1e-3, engine))
        let before = [p, adam.m, adam.v].map { $0.array.map(\.bitPattern) }
        for index in [0, 17, 4096, AdamWTests.count - 1] {
            let g = normal(3)
            g[index] = bad
            let norm = adam.norm(of: g, engine)
            #expect(norm.isFinite == bad.isFinite && !adam.accepts(norm: norm))
            #expect(!adam.update(p, gradient: g, norm: norm, learningRate: 1e-3, engine))
            #expect([p, adam.m, adam.v].map { $0.array.map(\.bitPattern) } == before)
        }
    }

    /// With clipping the largest finite gradient is a small step, and everything stays finite.
    @Test func hugeFiniteGradientsAreClippedToFiniteMoments() throws {
        let engine = try Engine(threads: 1)
        let adam = optimizer()
        let p = normal(1)
        let g = normal(3, deviation: 1e37)
        #expect(adam.update(p, gradient: g, norm: adam.norm(of: g, engine), learningRate: 1e-3, engine))
        for tensor in [p, adam.m, adam.v] { #expect(tensor.array.allSatisfy { $0.isFinite }) }
    }
}
