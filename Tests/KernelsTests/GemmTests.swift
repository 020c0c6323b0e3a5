import Kernels
import Testing

/// Numbers without structure, the same on every run.
func noise(_ count: Int, _ purpose: UInt64) -> [Float] {
    let tensor = Tensor(zeroed: count)
    Random(seed: 7, purpose: purpose).normal(into: tensor, deviation: 1)
    return tensor.array
}

/// Fails without the arrays: to describe how two large ones differ takes minutes.
private func expectEqual(_ a: [Float], _ b: [Float], _ what: String = "", _ place: SourceLocation = #_sourceLocation) {
    let isEqual = a == b
    #expect(isEqual, "\(what)", sourceLocation: place)
}

@Suite struct GemmTests {
    @Test(arguments: InstructionSet.supported, [1, 2, 3])
    func equalBitsWithTwin(set: InstructionSet, threads: Int) throws {
        let engine = try Engine(threads: threads, instructionSet: set)
        let shapes = [
            (1, 1, 1), (7, 13, 33), (33, 70, 300), (15, 33, 513), (100, 64, 256), (29, 7, 600), (3, 5, 0),
            // Few columns, as adapters have; few rows.
            (70, 8, 300), (131, 16, 40), (45, 3, 1100), (8, 70, 300),
        ]
        for (m, n, k) in shapes {
            let a = noise(m * k, 1)
            let b = noise(k * n, 2)
            let before = noise(m * n, 3)
            for (transposeA, transposeB) in [(false, false), (false, true), (true, false), (true, true)] {
                for (accumulate, period, precision) in [
                    (false, 0, Precision.fp32), (true, 0, .fp32), (true, 64, .fp32), (false, 300, .fp32),
                    (true, 1, .fp32), (false, 0, .bf16), (true, 64, .bf16), (false, 301, .bf16), (true, 1, .bf16),
                ] {
                    var expected = before
                    let bias = period == 0 ? noise(n, 4) : nil
                    Naive.gemm(
                        m: m, n: n, k: k, a, transposeA: transposeA, b, transposeB: transposeB, into: &expected,
                        accumulate: accumulate, bias: bias, period: period, precision: precision)
                    // The base lies elsewhere, or is what is written to.
                    let c = Tensor(before)
                    let base = Matrix(period == 64 ? Tensor(before) : c, rows: m, columns: n)
                    engine.gemm(
                        Matrix(Tensor(a), rows: transposeA ? k : m, columns: transposeA ? m : k),
                        transposeA: transposeA,
                        Matrix(Tensor(b), rows: transposeB ? n : k, columns: transposeB ? k : n),
                        transposeB: transposeB, into: Matrix(c, rows: m, columns: n),
                        base: accumulate ? base : nil, bias: bias.map { Tensor($0) }, period: period,
                        precision: precision)
                    expectEqual(
                        c.array, expected,
                        "\(m) \(n) \(k) \(transposeA) \(transposeB) \(accumulate) \(period) \(precision)")
                }
            }
        }
    }

    /// Whole tiles and edges, sums of one run of blocks and of several, and no sum at all; the other matrix strided.
    @Test(arguments: InstructionSet.supported, [1, 2])
    func activationsFollowTheProduct(set: InstructionSet, threads: Int) throws {
        let engine = try Engine(threads: threads, instructionSet: set)
        for (m, n, k) in [(7, 13, 33), (33, 70, 300), (1, 40, 20), (28, 64, 4200), (3, 5, 0)] {
            let (a, b, bias) = (noise(m * k, 1), noise(k * n, 2), noise(n, 4))
            for (precision, transposeB) in [(Precision.fp32, false), (.fp32, true), (.bf16, false)] {
                let what = "\(m) \(n) \(k) \(precision) \(transposeB)"
                var product = [Float](repeating: 0, count: m * n)
                Naive.gemm(
                    m: m, n: n, k: k, a, transposeA: false, b, transposeB: transposeB, into: &product,
                    accumulate: false, bias: bias, period: 0, precision: precision)
                let stride = n + 3
                func multiply(_ activation: (Matrix) -> Activation, _ other: Tensor) -> Tensor {
                    let c = Tensor(zeroed: m * n)
                    engine.gemm(
                        Matrix(Tensor(a), rows: m, columns: k),
                        Matrix(Tensor(b), rows: transposeB ? n : k, columns: transposeB ? k : n),
                        transposeB: transposeB, into: Matrix(c, rows: m, columns: n), bias: Tensor(bias),
                        precision: precision, activation: activation(Matrix(other, rows: m, columns: n, stride: stride))
                    )
                    return c
                }
                let before = noise(m * stride, 5)
                let activated = Tensor(before)
                expectEqual(multiply(Activation.gelu(into:), activated).array, product, what)
                var expected = before
                for (i, x) in Naive.gelu(product).enumerated() { expected[i / n * stride + i % n] = x }
                expectEqual(activated.array, expected, what)
                let x = (0..<m * n).map { before[$0 / n * stride + $0 % n] }
                let read = Tensor(before)
                expectEqual(
                    multiply(Activation.geluBackward(of:), read).array, Naive.geluBackward(x, dout: product), what)
                expectEqual(read.array, before, what)
            }
        }
    }

    @Test(arguments: InstructionSet.supported, [(17, 35), (99, 8), (40, 5)])
    func stridedMatrices(set: InstructionSet, size: (m: Int, n: Int)) throws {
        let engine = try Engine(threads: 2, instructionSet: set)
        let (m, n, k, strideA, strideB, strideC) = (size.m, size.n, 40, 43, 37, 50)
        let a = noise(m * strideA, 1)
        let b = noise(k * strideB, 2)
        let before = noise(m * strideC, 3)
        let c = Tensor(before)
        engine.gemm(
            Matrix(Tensor(a), rows: m, columns: k, stride: strideA),
            Matrix(Tensor(b), rows: k, columns: n, stride: strideB),
            into: Matrix(c, rows: m, columns: n, stride: strideC))
        var expected = before
        for i in 0..<m {
            for j in 0..<n {
                var sum: Float = 0
                for l in 0..<k { sum.addProduct(a[i * strideA + l], b[l * strideB + j]) }
                expected[i * strideC + j] = sum
            }
        }
        expectEqual(c.array, expected)
    }

    /// One row, one column, more strips than one task packs, more than the panel holds at once: every way to cut C, with
    /// either operand shared.
    @Test(arguments: InstructionSet.supported, [1, 2, 5])
    func everyCutGivesEqualBits(set: InstructionSet, threads: Int) throws {
        let engine = try Engine(threads: threads, instructionSet: set)
        for (m, n, k) in [
            (1, 1500, 70), (1500, 1, 70), (5, 4200, 17), (4200, 5, 17), (2, 130, 2100), (450, 300, 270),
            (300, 4100, 40),
        ] {
            let a = noise(m * k, 1)
            let b = noise(k * n, 2)
            for (transposeA, transposeB, precision) in [
                (false, true, Precision.fp32), (true, false, .fp32), (false, true, .bf16), (true, false, .bf16),
            ] {
                var expected = [Float](repeating: 0, count: m * n)
                Naive.gemm(
                    m: m, n: n, k: k, a, transposeA: transposeA, b, transposeB: transposeB, into: &expected,
                    accumulate: false, period: 300, precision: precision)
                let c = Tensor(zeroed: m * n)
                engine.gemm(
                    Matrix(Tensor(a), rows: transposeA ? k : m, columns: transposeA ? m : k), transposeA: transposeA,
                    Matrix(Tensor(b), rows: transposeB ? n : k, columns: transposeB ? k : n), transposeB: transposeB,
                    into: Matrix(c, rows: m, columns: n), period: 300, precision: precision)
                expectEqual(c.array, expected, "\(m) \(n) \(k) \(transposeA) \(transposeB) \(precision)")
            }
        }
    }

    /// Products larger than the shared panel (1 Mi floats) go block group by block group.
    @Test func largerThanThePanel() throws {
        let (m, n, k) = (40, 33, 40_000)
        let a = noise(m * k, 1)
        let b = noise(k * n, 2)
        var expected = [Float](repeating: 0, count: m * n)
        Naive.gemm(
            m: m, n: n, k: k, a, transposeA: true, b, transposeB: false, into: &expected, accumulate: false,
            period: 1000)
        let c = Tensor(zeroed: m * n)
        try Engine(threads: 2).gemm(
            Matrix(Tensor(a), rows: k, columns: m), transposeA: true, Matrix(Tensor(b), rows: k, columns: n),
            into: Matrix(c, rows: m, columns: n), period: 1000)
        expectEqual(c.array, expected)
    }

    @Test func rowSplitGivesEqualBits() throws {
        // A gradient over four rows of 40 tokens: at once, and row by row.
        let engine = try Engine(threads: 2)
        let (rows, period, m, n) = (4, 40, 30, 50)
        let a = Tensor(noise(rows * period * m, 1))
        let b = Tensor(noise(rows * period * n, 2))
        let whole = Tensor(zeroed: m * n)
        engine.gemm(
            Matrix(a, rows: rows * period, columns: m), transposeA: true, Matrix(b, rows: rows * period, columns: n),
            into: Matrix(whole, rows: m, columns: n), period: period)
        let parts = Tensor(zeroed: m * n)
        for row in 0..<rows {
            engine.gemm(
                Matrix(a.slice(row * period * m, period * m), rows: period, columns: m), transposeA: true,
                Matrix(b.slice(row * period * n, period * n), rows: period, columns: n),
                into: Matrix(parts, rows: m, columns: n), base: row == 0 ? nil : Matrix(parts, rows: m, columns: n),
                period: period)
        }
        expectEqual(whole.array, parts.array)
    }

    /// Rounding of operands: ties go to even, and what is infinite or not a number stays so; subnormal numbers count as zero,
    /// in operands, sums and results, on every instruction set.
    @Test(arguments: InstructionSet.supported)
    func bf16AtItsEdges(set: InstructionSet) throws {
        let engine = try Engine(threads: 1, instructionSet: set)
        func product(_ a: [Float], _ b: [Float], base: Float = 0) -> Float {
            let c = Tensor([base])
            engine.gemm(
                Matrix(Tensor(a), rows: 1, columns: a.count), Matrix(Tensor(b), rows: b.count, columns: 1),
                into: Matrix(c, rows: 1, columns: 1), base: Matrix(c, rows: 1, columns: 1), precision: .bf16)
            return c[0]
        }
        let half: Float = 0x1p-8  // half a unit in bf16's last place at 1
        #expect(product([1 + half], [1]) == 1 && product([1 + 3 * half], [1]) == 1 + 4 * half)
        #expect(product([(1 + half).nextUp], [1]) == 1 + 2 * half)
        #expect(product([.greatestFiniteMagnitude], [1]) == .infinity && product([-.infinity], [2]) == -.infinity)
        #expect(product([.nan], [1]).isNaN && product([Float(bitPattern: 0x7FFF_FFFF)], [1]).isNaN)
        #expect(product([.leastNonzeroMagnitude * 1024], [0x1p100]) == 0)
        // The largest subnormal number is nearest to 2^-126, and zero all the same.
        #expect(product([Float.leastNormalMagnitude.nextDown], [0x1p126]) == 0)
        #expect(product([0x1p-70], [0x1p-70]) == 0 && product([0x1p-63], [0x1p-63]) == 0x1p-126)
        // The second of a pair is added first: 1 − 2^24 + 2^24, where 1 + 2^24 would have lost the 1.
        #expect(product([1, 0, 1, 1], [1, 0, 0x1p24, -0x1p24]) == 1)
        // Not in activations: σ is subnormal here.
        let (x, activated) = (Tensor(zeroed: 1), Tensor(zeroed: 1))
        engine.gemm(
            Matrix(Tensor([1, 1]), rows: 1, columns: 2), Matrix(Tensor([-10, -0.03125]), rows: 2, columns: 1),
            into: Matrix(x, rows: 1, columns: 1), precision: .bf16,
            activation: .gelu(into: Matrix(activated, rows: 1, columns: 1)))
        #expect(x[0] == -10.03125 && activated[0] < 0 && activated.array == Naive.gelu([-10.03125]))
        // What other products in fp32 do with subnormal numbers is not changed by it.
        let c = Tensor(zeroed: 1)
        engine.gemm(
            Matrix(Tensor([0x1p-70]), rows: 1, columns: 1), Matrix(Tensor([0x1p-70]), rows: 1, columns: 1),
            into: Matrix(c, rows: 1, columns: 1))
        #expect(c[0] == 0x1p-140)
    }
}
