// Row kernels: bits against the twins on every instruction set and number of threads; gradients against central
// differences of the formulas in Double.

import Kernels
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite struct RowsTests {
    static let widths = [1, 15, 16, 17, 33, 64, 129]

    // MARK: RoPE

    @Test func ropeTableHasTheTwinsBits() {
        for (theta, d) in [(10000.0, 64), (500_000, 34), (2, 2)] {
            let table = Engine.ropeTable(theta: theta, positions: 300, d: d)
            let expected = Naive.ropeTable(theta: theta, positions: 300, d: d)
            #expect(sameBits(table.cosine.array, expected.cosine) && sameBits(table.sine.array, expected.sine))
            for p in stride(from: 0, to: 300, by: 7) {
                for i in 0..<d / 2 {
                    let angle = Double(p) * pow(theta, -2 * Double(i) / Double(d))
                    #expect(abs(Double(expected.cosine[p * (d / 2) + i]) - cos(angle)) < 6.1e-8)
                    #expect(abs(Double(expected.sine[p * (d / 2) + i]) - sin(angle)) < 6.1e-8)
                }
            }
        }
    }

    @Test(arguments: [2, 6, 32, 34, 64, 100]) func ropeHasTheTwinsBits(d: Int) throws {
        let (n, heads) = (19, 3)
        let stride = heads * d + 5
        let x = numbers(n * stride, seed: 1)
        let positions = (0..<n).map { UInt32($0 % 11) }
        let table = Naive.ropeTable(theta: 10000, positions: 11, d: d)
        for inverse in [false, true] {
            var expected = x
            Naive.rope(
                &expected, heads: heads, d: d, stride: stride, positions: positions, cosine: table.cosine,
                sine: table.sine, inverse: inverse)
            for engine in try everyEngine() {
                let y = Tensor(x)
                engine.rope(
                    y, heads: heads, d: d, stride: stride, positions: View(positions), cosine: Tensor(table.cosine),
                    sine: Tensor(table.sine), inverse: inverse)
                #expect(sameBits(y.array, expected), "\(engine.instructionSet), \(engine.threads) threads")
            }
        }
    }

    /// The inverse rotation is the transpose, so it is the gradient; and it undoes the rotation.
    @Test func ropeGradient() {
        let (d, positions) = (10, [UInt32](0..<7))
        let (x, dy) = (numbers(7 * d, seed: 1), numbers(7 * d, seed: 2))
        let table = Naive.ropeTable(theta: 100, positions: 7, d: d)
        func rotate(_ x: [Double]) -> [Double] {
            var y = x
            for p in 0..<7 {
                for i in 0..<d / 2 {
                    let angle = Double(p) * pow(100, -2 * Double(i) / Double(d))
                    let (x0, x1) = (x[p * d + i], x[p * d + i + d / 2])
                    y[p * d + i] = x0 * cos(angle) - x1 * sin(angle)
                    y[p * d + i + d / 2] = x0 * sin(angle) + x1 * cos(angle)
                }
            }
            return y
        }
        func turned(_ x: [Float], inverse: Bool) -> [Float] {
            var y = x
            Naive.rope(
                &y, heads: 1, d: d, stride: d, positions: positions, cosine: table.cosine, sine: table.sine,
                inverse: inverse)
            return y
        }
        #expect(relativeDistance(turned(x, inverse: false), rotate(doubles(x))) < 1e-6)
        let gradient = finiteDifferences(at: doubles(x)) { inner(rotate($0), dy) }
        #expect(relativeDistance(turned(dy, inverse: true), gradient) < 1e-6)
        #expect(relativeDistance(turned(turned(x, inverse: false), inverse: true), doubles(x)) < 1e-6)
    }

    // MARK: SwiGLU

    @Test(arguments: widths) func swigluHasTheTwinsBits(width: Int) throws {
        let n = 35
        let gateUp = numbers(n * 2 * width, seed: 1, scale: 20)
        let dout = numbers(n * width, seed: 2)
        let expected = Naive.swiglu(gateUp, width: width)
        let gradient = Naive.swigluBackward(gateUp, dout: dout, width: width)
        for engine in try everyEngine() {
            let (out, inPlace, apart) = (Tensor(zeroed: n * width), Tensor(gateUp), Tensor(zeroed: gateUp.count))
            engine.swiglu(inPlace, width: width, out: out)
            engine.swigluBackward(inPlace, width: width, dout: Tensor(dout), dGateUp: apart)
            engine.swigluBackward(inPlace, width: width, dout: Tensor(dout), dGateUp: inPlace)
            #expect(sameBits(out.array, expected), "\(engine.instructionSet), \(engine.threads) threads")
            #expect(sameBits(apart.array, gradient), "\(engine.instructionSet), \(engine.threads) threads")
            #expect(sameBits(inPlace.array, gradient), "\(engine.instructionSet), \(engine.threads) threads")
        }
    }

    @Test func swigluGradient() {
        let (n, width) = (2, 9)
        let (gateUp, dout) = (numbers(n * 2 * width, seed: 1, scale: 4), numbers(n * width, seed: 2))
        func swiglu(_ x: [Double]) -> [Double] {
            (0..<n * width).map { i in
                let gate = i / width * 2 * width + i % width
                return x[gate] / (1 + exp(-x[gate])) * x[gate + width]
            }
        }
        #expect(relativeDistance(Naive.swiglu(gateUp, width: width), swiglu(doubles(gateUp))) < 1e-6)
        let expected = finiteDifferences(at: doubles(gateUp)) { inner(swiglu($0), dout) }
        #expect(relativeDistance(Naive.swigluBackward(gateUp, dout: dout, width: width), expected) < 1e-6)
    }

    // MARK: GELU

    @Test func geluGradient() {
        let (x, dout) = (numbers(40, seed: 1, scale: 5), numbers(40, seed: 2))
        func gelu(_ x: [Double]) -> [Double] {
            x.map { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }
        }
        #expect(relativeDistance(Naive.gelu(x), gelu(doubles(x))) < 1e-6)
        let expected = finiteDifferences(at: doubles(x)) { inner(gelu($0), dout) }
        #expect(relativeDistance(Naive.geluBackward(x, dout: dout), expected) < 1e-6)
    }

    // MARK: embedding

    @Test func embeddingAddsPositions() throws {
        let (c, ids, positions): (Int, [UInt32], [UInt32]) = (18, [3, 0, 3, 2], [0, 1, 2, 0])
        let (table, second) = (numbers(5 * c, seed: 1), numbers(3 * c, seed: 2))
        let expected = zip(
            Naive.embedding(table, c: c, ids: ids), Naive.embedding(second, c: c, ids: positions)
        ).map { $0 + $1 }
        for engine in try everyEngine() {
            let out = Tensor(zeroed: 4 * c)
            engine.embedding(
                Tensor(table), c: c, ids: View(ids), positions: (Tensor(second), View(positions)), out: out)
            #expect(sameBits(out.array, expected))
        }
    }

    @Test(arguments: widths) func embeddingHasTheTwinsBits(c: Int) throws {
        let (vocabulary, n) = (13, 50)
        let ids = (0..<n).map { UInt32(($0 * $0 + 3) % vocabulary) }
        let (table, dout) = (numbers(vocabulary * c, seed: 1), numbers(n * c, seed: 2))
        var dtable = numbers(vocabulary * c, seed: 3)
        let before = dtable
        Naive.embeddingBackward(dout, c: c, ids: ids, dtable: &dtable)
        for engine in try everyEngine() {
            let (out, gradient) = (Tensor(zeroed: n * c), Tensor(before))
            engine.embedding(Tensor(table), c: c, ids: View(ids), out: out)
            engine.embeddingBackward(Tensor(dout), c: c, ids: View(ids), dtable: gradient)
            #expect(sameBits(out.array, Naive.embedding(table, c: c, ids: ids)))
            #expect(sameBits(gradient.array, dtable), "\(engine.instructionSet), \(engine.threads) threads")
        }
    }

    // MARK: cross-entropy

    @Test(arguments: [1, 2, 16, 31, 257, 1024, 2049, 5000]) func crossEntropyHasTheTwinsBits(v: Int) throws {
        let (n, stride) = (11, v + 3)
        let logits = numbers(n * stride, seed: 1, scale: 30)
        let targets = (0..<n).map { UInt32($0 * 7919 % v) }
        var weights = numbers(n, seed: 2)
        weights[4] = 0
        for gradient in [false, true] {
            var expected = logits
            let losses = Naive.crossEntropy(
                &expected, v: v, stride: stride, targets: targets, weights: weights, gradient: gradient)
            #expect(losses[4] == 0)
            for engine in try everyEngine() {
                let (x, y) = (Tensor(logits), Tensor(zeroed: n))
                engine.crossEntropy(
                    x, v: v, stride: stride, targets: View(targets), weights: Tensor(weights), losses: y,
                    gradient: gradient)
                #expect(sameBits(y.array, losses), "\(engine.instructionSet), \(engine.threads) threads, losses")
                #expect(sameBits(x.array, expected), "\(engine.instructionSet), \(engine.threads) threads, logits")
            }
        }
    }

    @Test func crossEntropyGradient() {
        let (n, v) = (3, 40)
        let logits = numbers(n * v, seed: 1, scale: 5)
        let (targets, weights): ([UInt32], [Float]) = ([0, 17, 39], [0.5, -0.25, 1])
        func losses(_ x: [Double]) -> [Double] {
            (0..<n).map { row in
                log((0..<v).reduce(0) { $0 + exp(x[row * v + $1]) }) - x[row * v + Int(targets[row])]
            }
        }
        var gradient = logits
        let values = Naive.crossEntropy(
            &gradient, v: v, stride: v, targets: targets, weights: weights, gradient: true)
        #expect(relativeDistance(values, losses(doubles(logits))) < 1e-7)
        let expected = finiteDifferences(at: doubles(logits)) { inner(losses($0), weights) }
        #expect(relativeDistance(gradient, expected) < 1e-6)
    }

    /// A non-finite logit must show in the loss, or the guard would let it through; a row of weight 0 hides it.
    @Test func crossEntropyShowsNonFiniteLogits() throws {
        for engine in try everyEngine() {
            for bad in [Float.nan, .infinity] {
                var logits = numbers(3 * 33, seed: 1)
                logits[33 + 20] = bad
                let (x, losses) = (Tensor(logits), Tensor(zeroed: 3))
                engine.crossEntropy(
                    x, v: 33, targets: View([1, 2, 3]), weights: Tensor([1, 1, 1]), losses: losses, gradient: true)
                #expect(losses[0].isFinite && !losses[1].isFinite && losses[2].isFinite)
                let hidden = Tensor(logits)
                engine.crossEntropy(
                    hidden, v: 33, targets: View([1, 2, 3]), weights: Tensor([1, 0, 1]), losses: losses,
                    gradient: true)
                #expect(losses[1] == 0 && !hidden.array.contains { !$0.isFinite })
            }
        }
    }
}
