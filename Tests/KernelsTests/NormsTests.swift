// Normalization and biases: bits against the twins on every instruction set and number of threads; gradients against
// central differences of the formulas in Double.

import Kernels
import Testing

@Suite struct NormsTests {
    static let widths = RowsTests.widths

    // MARK: RMSNorm

    @Test(arguments: widths) func rmsnormHasTheTwinsBits(c: Int) throws {
        let n = 37
        let (x, w) = (numbers(n * c, seed: 1), numbers(c, seed: 2))
        let dy = numbers(n * c, seed: 3)
        let expected = Naive.rmsnorm(x, w, epsilon: 1e-5)
        for period in [0, 1, 10, 64] {
            var (dx, dw) = (numbers(n * c, seed: 4), numbers(c, seed: 5))
            let (dxBefore, dwBefore) = (dx, dw)
            Naive.rmsnormBackward(x, w, rstd: expected.rstd, dy: dy, period: period, dx: &dx, dw: &dw)
            for engine in try everyEngine() {
                let (y, rstd) = (Tensor(zeroed: n * c), Tensor(zeroed: n))
                engine.rmsnorm(Tensor(x), weight: Tensor(w), epsilon: 1e-5, y: y, rstd: rstd)
                #expect(sameBits(y.array, expected.y) && sameBits(rstd.array, expected.rstd))
                let (dxView, dwView) = (Tensor(dxBefore), Tensor(dwBefore))
                engine.rmsnormBackward(
                    Tensor(x), weight: Tensor(w), rstd: rstd, dy: Tensor(dy), period: period, dx: dxView, dw: dwView)
                #expect(sameBits(dxView.array, dx), "\(engine.instructionSet), \(engine.threads) threads, dx")
                #expect(sameBits(dwView.array, dw), "\(engine.instructionSet), \(engine.threads) threads, dw")
            }
        }
    }

    static func rmsnorm(_ x: [Double], _ w: [Double]) -> [Double] {
        let c = w.count
        return x.indices.map { i in
            let row = x[i / c * c..<(i / c + 1) * c]
            return x[i] / (row.reduce(0) { $0 + $1 * $1 } / Double(c) + 1e-5).squareRoot() * w[i % c]
        }
    }

    @Test func rmsnormGradients() {
        let (n, c) = (3, 21)
        let (x, w, dy) = (numbers(n * c, seed: 1), numbers(c, seed: 2), numbers(n * c, seed: 3))
        var (dx, dw) = ([Float](repeating: 0, count: n * c), [Float](repeating: 0, count: c))
        let rstd = Naive.rmsnorm(x, w, epsilon: 1e-5).rstd
        Naive.rmsnormBackward(x, w, rstd: rstd, dy: dy, period: 2, dx: &dx, dw: &dw)
        let byX = finiteDifferences(at: doubles(x)) { inner(Self.rmsnorm($0, doubles(w)), dy) }
        let byW = finiteDifferences(at: doubles(w)) { inner(Self.rmsnorm(doubles(x), $0), dy) }
        #expect(relativeDistance(dx, byX) < 1e-6)
        #expect(relativeDistance(dw, byW) < 1e-6)
    }

    /// The sum over rows depends on the period (part of the recipe) and not on how rows come in calls of whole periods.
    @Test func rmsnormGradientAddsByPeriods() throws {
        let (n, c) = (24, 20)
        let (x, w, dy) = (numbers(n * c, seed: 1), numbers(c, seed: 2), numbers(n * c, seed: 3))
        let engine = try Engine(threads: 2)
        let (y, rstd) = (Tensor(zeroed: n * c), Tensor(zeroed: n))
        engine.rmsnorm(Tensor(x), weight: Tensor(w), epsilon: 1e-5, y: y, rstd: rstd)
        let (dx, whole, split) = (Tensor(zeroed: n * c), Tensor(zeroed: c), Tensor(zeroed: c))
        let (xs, dys) = (Tensor(x), Tensor(dy))
        engine.rmsnormBackward(xs, weight: Tensor(w), rstd: rstd, dy: dys, period: 4, dx: dx, dw: whole)
        for part in 0..<3 {
            engine.rmsnormBackward(
                xs.slice(part * 8 * c, 8 * c), weight: Tensor(w), rstd: rstd.slice(part * 8, 8),
                dy: dys.slice(part * 8 * c, 8 * c), period: 4, dx: dx.slice(part * 8 * c, 8 * c), dw: split)
        }
        #expect(sameBits(whole.array, split.array))
    }

    // MARK: heads

    /// Heads inside wider rows: the bits of the plain norm over the heads laid side by side.
    @Test(arguments: [8, 33]) func headNormIsTheNormOfEachHead(d: Int) throws {
        let (n, heads, stride) = (12, 3, 3 * d + 7)
        let wide = numbers(n * stride, seed: 1)
        func sideBySide(_ x: [Float]) -> [Float] { (0..<n).flatMap { x[$0 * stride..<$0 * stride + heads * d] } }
        let (w, dy) = (numbers(d, seed: 2), numbers(n * stride, seed: 3))
        let expected = Naive.rmsnorm(sideBySide(wide), w, epsilon: 1e-6)
        var (dx, dw) = ([Float](repeating: 0, count: n * heads * d), numbers(d, seed: 4))
        let dwBefore = dw
        Naive.rmsnormBackward(
            sideBySide(wide), w, rstd: expected.rstd, dy: sideBySide(dy), period: 4 * heads, dx: &dx, dw: &dw)
        for engine in try everyEngine() {
            let (y, kept, rstd) = (Tensor(wide), Tensor(zeroed: n * heads * d), Tensor(zeroed: n * heads))
            engine.headNorm(
                y, stride: stride, heads: heads, weight: Tensor(w), epsilon: 1e-6, kept: kept, stride: heads * d,
                rstd: rstd)
            #expect(sameBits(sideBySide(y.array), expected.y) && sameBits(rstd.array, expected.rstd))
            #expect(sameBits(kept.array, sideBySide(wide)))
            let (gradient, dwView) = (Tensor(dy), Tensor(dwBefore))
            engine.headNormBackward(
                Tensor(wide), stride: stride, heads: heads, weight: Tensor(w), rstd: rstd, dy: gradient,
                stride: stride, period: 4, dw: dwView)
            #expect(sameBits(sideBySide(gradient.array), dx) && sameBits(dwView.array, dw), "\(engine.instructionSet)")
            // What lies between the heads of two tokens is not touched.
            #expect(gradient.array[heads * d] == dy[heads * d])
        }
    }

    // MARK: LayerNorm

    @Test(arguments: widths) func layernormHasTheTwinsBits(c: Int) throws {
        let n = 37
        let (x, w, b) = (numbers(n * c, seed: 1).map { $0 + 3 }, numbers(c, seed: 2), numbers(c, seed: 6))
        let dy = numbers(n * c, seed: 3)
        let expected = Naive.layernorm(x, w, b, epsilon: 1e-5)
        for period in [0, 1, 10, 64] {
            var (dx, dw, db) = (numbers(n * c, seed: 4), numbers(c, seed: 5), numbers(c, seed: 7))
            let before = (dx, dw, db)
            Naive.layernormBackward(
                x, w, mean: expected.mean, rstd: expected.rstd, dy: dy, period: period, dx: &dx, dw: &dw, db: &db)
            for engine in try everyEngine() {
                let (y, mean, rstd) = (Tensor(zeroed: n * c), Tensor(zeroed: n), Tensor(zeroed: n))
                engine.layernorm(
                    Tensor(x), weight: Tensor(w), bias: Tensor(b), epsilon: 1e-5, y: y, mean: mean, rstd: rstd)
                #expect(sameBits(y.array, expected.y) && sameBits(mean.array, expected.mean))
                #expect(sameBits(rstd.array, expected.rstd))
                let (dxView, dwView, dbView) = (Tensor(before.0), Tensor(before.1), Tensor(before.2))
                engine.layernormBackward(
                    Tensor(x), weight: Tensor(w), mean: mean, rstd: rstd, dy: Tensor(dy), period: period, dx: dxView,
                    dw: dwView, db: dbView)
                #expect(sameBits(dxView.array, dx) && sameBits(dwView.array, dw) && sameBits(dbView.array, db))
            }
        }
    }

    static func layernorm(_ x: [Double], _ w: [Double], _ b: [Double]) -> [Double] {
        let c = w.count
        return x.indices.map { i in
            let row = x[i / c * c..<(i / c + 1) * c]
            let mean = row.reduce(0, +) / Double(c)
            let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(c)
            return (x[i] - mean) / (variance + 1e-5).squareRoot() * w[i % c] + b[i % c]
        }
    }

    @Test func layernormGradients() {
        let (n, c) = (3, 21)
        let (x, w, b) = (numbers(n * c, seed: 1), numbers(c, seed: 2), numbers(c, seed: 4))
        let dy = numbers(n * c, seed: 3)
        let forward = Naive.layernorm(x, w, b, epsilon: 1e-5)
        #expect(relativeDistance(forward.y, Self.layernorm(doubles(x), doubles(w), doubles(b))) < 1e-6)
        var dx = [Float](repeating: 0, count: n * c)
        var (dw, db) = ([Float](repeating: 0, count: c), [Float](repeating: 0, count: c))
        Naive.layernormBackward(
            x, w, mean: forward.mean, rstd: forward.rstd, dy: dy, period: 2, dx: &dx, dw: &dw, db: &db)
        let byX = finiteDifferences(at: doubles(x)) { inner(Self.layernorm($0, doubles(w), doubles(b)), dy) }
        let byW = finiteDifferences(at: doubles(w)) { inner(Self.layernorm(doubles(x), $0, doubles(b)), dy) }
        let byB = finiteDifferences(at: doubles(b)) { inner(Self.layernorm(doubles(x), doubles(w), $0), dy) }
        #expect(relativeDistance(dx, byX) < 1e-6)
        #expect(relativeDistance(dw, byW) < 1e-6)
        #expect(relativeDistance(db, byB) < 1e-6)
    }

    // MARK: bias

    @Test(arguments: widths) func biasHasTheTwinsBits(c: Int) throws {
        let n = 37
        let (y, b) = (numbers(n * c, seed: 1), numbers(c, seed: 2))
        for engine in try everyEngine() {
            for period in [0, 1, 10, 64] {
                var expected = b
                Naive.biasBackward(y, period: period, db: &expected)
                let db = Tensor(b)
                engine.biasBackward(Tensor(y), period: period, db: db)
                #expect(sameBits(db.array, expected), "\(engine.instructionSet), period \(period)")
            }
        }
    }
}
