import Kernels
import Testing

@Suite struct OptimizerKernelTests {
    @Test(arguments: InstructionSet.supported, [1, 2, 3])
    func equalBitsWithTwins(set: InstructionSet, threads: Int) throws {
        let engine = try Engine(threads: threads, instructionSet: set)
        for count in [0, 1, 7, 16, 33, 4095, 4096, 4097, 20000] {
            let g = noise(count, 1)
            #expect(engine.sumOfSquares(Tensor(g)) == Naive.sumOfSquares(g))
            let update = AdamWUpdate(
                gradientScale: 0.7, oneMinusBeta1: 0.1, oneMinusBeta2: 0.05, decay: 1e-4,
                stepSize: 3e-3, inverseSquareRootBias2: 1.7, epsilon: 1e-8)
            var p = noise(count, 2)
            var m = noise(count, 3)
            var v = noise(count, 4).map { $0 * $0 }
            let tensors = [Tensor(p), Tensor(m), Tensor(v)]
            engine.adamW(update, gradient: Tensor(g), parameters: tensors[0], m: tensors[1], v: tensors[2])
            Naive.adamW(update, gradient: g, parameters: &p, m: &m, v: &v)
            #expect(tensors[0].array == p && tensors[1].array == m && tensors[2].array == v)
            engine.add(Tensor(g), to: tensors[0])
            #expect(tensors[0].array == zip(p, g).map { $0 + $1 })
        }
    }

    @Test(arguments: InstructionSet.supported, [1, 2, 3])
    func lionSGDAndAveragesHaveTheBitsOfTheirTwins(set: InstructionSet, threads: Int) throws {
        let engine = try Engine(threads: threads, instructionSet: set)
        for count in [0, 1, 7, 16, 33, 4095, 4096, 4097, 20000] {
            let (g, p0, m0) = (noise(count, 1), noise(count, 2), noise(count, 3))
            var (p, m) = (p0, m0)
            let tensors = [Tensor(p), Tensor(m)]
            // A moment and a gradient that cancel, so that a sign is zero.
            if count > 5 { for i in 0..<2 { (p[i], m[i]) = (0, 0) } }
            if count > 5 { for i in 0..<2 { (tensors[0][i], tensors[1][i]) = (0, 0) } }
            var signs = g
            if count > 5 { signs[0] = 0 }
            let lion = LionUpdate(
                gradientScale: 0.7, oneMinusBeta1: 0.1, oneMinusBeta2: 0.01, decay: 1e-4, stepSize: 3e-3)
            engine.lion(lion, gradient: Tensor(signs), parameters: tensors[0], m: tensors[1])
            Naive.lion(lion, gradient: signs, parameters: &p, m: &m)
            #expect(sameBits(tensors[0].array, p) && sameBits(tensors[1].array, m))
            if count > 5 { #expect(p[0] == 0) }

            for (momentum, nesterov) in [(Float(0), false), (0.9, false), (0.9, true)] {
                let sgd = SGDUpdate(
                    gradientScale: 0.7, decay: 1e-2, momentum: momentum, stepSize: 3e-3, nesterov: nesterov)
                var (p, m) = (p0, momentum == 0 ? [] : m0)
                let tensors = [Tensor(p), Tensor(m)]
                engine.sgd(sgd, gradient: Tensor(g), parameters: tensors[0], m: momentum == 0 ? nil : tensors[1])
                Naive.sgd(sgd, gradient: g, parameters: &p, m: &m)
                #expect(sameBits(tensors[0].array, p) && sameBits(tensors[1].array, m))

                var average = m0
                let (y, direction) = (Tensor(m0), Tensor(zeroed: count))
                engine.average(
                    Tensor(g), scale: 0.7, weight: 0.05, into: y, direction: direction, nesterov: nesterov)
                let expected = Naive.average(g, scale: 0.7, weight: 0.05, into: &average, nesterov: nesterov)
                #expect(sameBits(y.array, average) && sameBits(direction.array, expected))
            }
            var combined = p0
            let y = Tensor(p0)
            engine.combine(-4.775, Tensor(g), 2.0315, y)
            Naive.combine(-4.775, g, 2.0315, &combined)
            #expect(sameBits(y.array, combined))
        }
    }

    /// Measuring changes nothing, and what it says is the twin's to the bit; also over more than one batch of blocks.
    @Test(arguments: InstructionSet.supported, [1, 2, 3])
    func updatesAreMeasured(set: InstructionSet, threads: Int) throws {
        let engine = try Engine(threads: threads, instructionSet: set)
        let sizes = [0, 1, 7, 16, 33, 4095, 4096, 4097, 20000] + (set == .scalar ? [] : [4096 * 1024 + 4111])
        for count in sizes {
            let (g, p, m, v) = (noise(count, 1), noise(count, 2), noise(count, 3), noise(count, 4).map { $0 * $0 })
            #expect(engine.magnitude(Tensor(g)) == Naive.magnitude(g))
            func check(_ update: (_ p: Tensor, _ m: Tensor, _ v: Tensor, _ isMeasured: Bool) -> UpdateSquares?) {
                let (one, other) = ([Tensor(p), Tensor(m), Tensor(v)], [Tensor(p), Tensor(m), Tensor(v)])
                #expect(update(one[0], one[1], one[2], false) == nil)
                let squares = update(other[0], other[1], other[2], true)
                #expect(zip(one, other).allSatisfy { sameBits($0.array, $1.array) })
                #expect(squares == Naive.updateSquares(before: p, after: one[0].array))
            }
            // No epsilon: what lies behind the last element must not show.
            let adamW = AdamWUpdate(
                gradientScale: 0.7, oneMinusBeta1: 0.1, oneMinusBeta2: 0.05, decay: 1e-4, stepSize: 3e-3,
                inverseSquareRootBias2: 1.7, epsilon: 0)
            check { engine.adamW(adamW, gradient: Tensor(g), parameters: $0, m: $1, v: $2, isMeasured: $3) }
            if count > 20000 { continue }
            let lion = LionUpdate(
                gradientScale: 0.7, oneMinusBeta1: 0.1, oneMinusBeta2: 0.01, decay: 1e-4, stepSize: 3e-3)
            check { p, m, _, isMeasured in
                engine.lion(lion, gradient: Tensor(g), parameters: p, m: m, isMeasured: isMeasured)
            }
            for (momentum, nesterov) in [(Float(0), false), (0.9, true)] {
                let sgd = SGDUpdate(
                    gradientScale: 0.7, decay: 1e-2, momentum: momentum, stepSize: 3e-3, nesterov: nesterov)
                check { p, m, _, isMeasured in
                    engine.sgd(
                        sgd, gradient: Tensor(g), parameters: p, m: momentum == 0 ? nil : m, isMeasured: isMeasured)
                }
            }
        }
    }

    @Test(arguments: InstructionSet.supported)
    func largestIsNotANumberWhenAnElementIs(set: InstructionSet) throws {
        let engine = try Engine(threads: 2, instructionSet: set)
        for (bad, place) in [(Float.nan, 0), (-.nan, 8191), (.nan, 8999), (.infinity, 8191), (-.infinity, 3)] {
            var x = noise(9000, 1)
            x[place] = bad
            let found = engine.magnitude(Tensor(x))
            #expect(bad.isNaN ? found.largest.isNaN : found.largest == .infinity)
            #expect(!found.squares.isFinite)
        }
        #expect(engine.magnitude(Tensor([0, -3, 1, 0])).outlier == 3 / 2.5.squareRoot())
        #expect(engine.magnitude(Tensor([0, 0])).outlier == nil)
    }

    @Test func peakIsAPlausibleRate() throws {
        let peak = try Engine(threads: 1).measurePeakRate()
        #expect(peak > 1e8 && peak < 1e13)
    }

    @Test func nonFiniteInputShows() throws {
        let engine = try Engine(threads: 2)
        for bad in [Float.nan, .infinity, -.infinity] {
            var x = noise(9000, 1)
            x[8191] = bad
            #expect(!engine.sumOfSquares(Tensor(x)).isFinite)
        }
        #expect(engine.sumOfSquares(Tensor([Float](repeating: .greatestFiniteMagnitude, count: 100))).isFinite)
    }
}

@Suite struct RandomTests {
    @Test func normalNumbersAreNormal() {
        let tensor = Tensor(noise(200_000, 9))
        let values = tensor.array.map(Double.init)
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
        #expect(abs(mean) < 0.01)
        #expect(abs(variance - 1) < 0.02)
        #expect(abs(Double(values.count { abs($0) < 1 }) / Double(values.count) - 0.6827) < 0.01)
    }

    @Test func rangesAgreeAndPurposesDiffer() {
        let whole = Tensor(zeroed: 100)
        Random(seed: 1, purpose: 2).normal(into: whole, deviation: 0.5)
        let part = Tensor(zeroed: 40)
        Random(seed: 1, purpose: 2).normal(into: part, first: 60, deviation: 0.5)
        #expect(part.array == Array(whole.array[60...]))
        let other = Tensor(zeroed: 100)
        Random(seed: 1, purpose: 3).normal(into: other, deviation: 0.5)
        #expect(zip(other.array, whole.array).count { $0 == $1 } == 0)
    }

    /// The numbers themselves are part of the promise: a changed generator changes every run.
    @Test func knownNumbers() {
        let random = Random(seed: 1, purpose: 2, step: 3)
        #expect(random.bits(0) == 0x194e_af3a_61e1_17c3)
        #expect(random.bits(1) == 0x094e_d6a1_4c9e_9d0f)
        let normal = Tensor(zeroed: 3)
        random.normal(into: normal, deviation: 1)
        #expect(normal.array.map(\.bitPattern) == [0x4006_1b64, 0xbf56_3f1e, 0xbedc_2607])
        #expect((0..<1000).allSatisfy { (0..<1).contains(random.uniform($0)) })
    }
}

@Suite struct EngineTests {
    @Test func tooManyThreadsIsAnError() {
        #expect(throws: (any Error).self) { try Engine(threads: 100_000) }
        #expect(throws: (any Error).self) { try Engine(threads: -1) }
    }

    @Test func viewsShareMemory() {
        let tensor = Tensor([1, 2, 3, 4])
        tensor.slice(1, 2).fill(9)
        #expect(tensor.array == [1, 9, 9, 4])
        tensor.copy(bytes: [0, 0, 128, 63], atByte: 12)
        #expect(tensor[3] == 1)
    }
}
