// Attention: bits against the twin on every instruction set and number of threads, values and gradients against plain
// softmax attention in Double.

import Kernels
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A shape, where documents begin in each row, and numbers to fill it.
struct AttentionCase: CustomTestStringConvertible, Sendable {
    var shape: AttentionShape
    /// First tokens of documents in every row, beside 0.
    var documents: [Int]
    var scale: Float = 1

    var testDescription: String {
        "B\(shape.rows) T\(shape.length) H\(shape.heads) KV\(shape.kvHeads) d\(shape.d) documents \(documents)"
    }

    var q: [Float] { numbers(shape.rows * shape.length * shape.qStride, seed: 1, scale: scale) }
    var k: [Float] { numbers(shape.rows * shape.length * shape.kStride, seed: 2, scale: scale) }
    var v: [Float] { numbers(shape.rows * shape.length * shape.vStride, seed: 3) }
    var dout: [Float] { numbers(shape.rows * shape.length * shape.outStride, seed: 4) }
    /// Row r's documents begin r tokens later than row 0's, so that rows differ.
    var first: [Int32] {
        (0..<shape.rows).flatMap { row in
            (0..<shape.length).map { i in Int32(documents.map { $0 + row }.filter { $0 <= i }.max() ?? 0) }
        }
    }
    var statistics: Int { shape.rows * shape.heads * shape.length }

    static func make(
        _ b: Int, _ t: Int, _ h: Int, _ kv: Int, _ d: Int, _ documents: [Int] = [], scale: Float = 1
    )
        -> AttentionCase
    {
        AttentionCase(
            shape: AttentionShape(rows: b, length: t, heads: h, kvHeads: kv, d: d), documents: documents, scale: scale)
    }
}

@Suite struct AttentionTests {
    static let cases: [AttentionCase] = [
        .make(1, 1, 1, 1, 2),
        .make(2, 17, 2, 1, 6, [3, 9]),
        .make(1, 64, 2, 2, 16),
        .make(1, 65, 1, 1, 32, [64], scale: 6),
        .make(2, 100, 4, 2, 24, [1, 40, 63, 70]),
        .make(1, 131, 3, 1, 16, [50, 100], scale: 4),
        .make(1, 40, 2, 1, 256, [7]),
        .make(3, 33, 2, 1, 80),
    ]

    static func check(_ c: AttentionCase, _ engines: [Engine]) {
        let s = c.shape
        let (q, k, v, dout, first) = (c.q, c.k, c.v, c.dout, c.first)
        let forward = Naive.attention(s, q: q, k: k, v: v, first: first)
        let backward = Naive.attentionBackward(
            s, q: q, k: k, v: v, first: first, out: forward.out, logSumExp: forward.logSumExp, dout: dout)
        for engine in engines {
            let (out, lse, delta) = (
                Tensor(zeroed: dout.count), Tensor(zeroed: c.statistics), Tensor(zeroed: c.statistics)
            )
            let (dq, dk, dv) = (Tensor(zeroed: q.count), Tensor(zeroed: k.count), Tensor(zeroed: v.count))
            let (qs, ks, vs, firsts) = (Tensor(q), Tensor(k), Tensor(v), View(first))
            engine.attention(s, q: qs, k: ks, v: vs, first: firsts, out: out, logSumExp: lse)
            engine.attentionBackward(
                s, q: qs, k: ks, v: vs, first: firsts, out: out, logSumExp: lse, dout: Tensor(dout), delta: delta,
                dq: dq, dk: dk, dv: dv)
            let who = "\(engine.instructionSet), \(engine.threads) threads"
            #expect(sameBits(out.array, forward.out), "out, \(who)")
            #expect(sameBits(lse.array, forward.logSumExp), "log-sum-exp, \(who)")
            #expect(sameBits(dq.array, backward.dq), "dq, \(who)")
            #expect(sameBits(dk.array, backward.dk), "dk, \(who)")
            #expect(sameBits(dv.array, backward.dv), "dv, \(who)")
        }
    }

    @Test(arguments: cases) func kernelsHaveTheTwinsBits(c: AttentionCase) throws {
        Self.check(c, try everyEngine())
    }

    /// Longer rows on the fast instruction sets: many tiles, many blocks, both routes of the backward pass.
    @Test func longRowsHaveTheTwinsBits() throws {
        let engines = try everyEngine().filter { $0.instructionSet != .scalar }
        Self.check(.make(1, 450, 2, 1, 32, [200, 210, 399]), engines)
        Self.check(.make(1, 300, 3, 3, 48), engines)
    }

    /// Queries, keys and values side by side in one matrix; what lies between them is left alone.
    @Test func stridesAreHonoured() throws {
        let (b, t, h, kv, d) = (2, 45, 4, 2, 18)
        let width = (h + 2 * kv) * d + 7
        let s = AttentionShape(
            rows: b, length: t, heads: h, kvHeads: kv, d: d, qStride: width, kStride: width, vStride: width,
            outStride: h * d + 3)
        let qkv = numbers(b * t * width, seed: 1)
        let c = AttentionCase(shape: s, documents: [10])
        let (k, v) = ([Float](qkv[(h * d)...]), [Float](qkv[((h + kv) * d)...]))
        let forward = Naive.attention(s, q: qkv, k: k, v: v, first: c.first)
        let backward = Naive.attentionBackward(
            s, q: qkv, k: k, v: v, first: c.first, out: forward.out, logSumExp: forward.logSumExp, dout: c.dout)
        for engine in try everyEngine() {
            func parts(_ x: Tensor) -> (Tensor, Tensor, Tensor) {
                (x, x.slice(h * d, x.count - h * d), x.slice((h + kv) * d, x.count - (h + kv) * d))
            }
            let gradient = Tensor(zeroed: qkv.count)
            gradient.fill(-7)
            let ((q, k, v), (dq, dk, dv)) = (parts(Tensor(qkv)), parts(gradient))
            let (out, lse, delta) = (
                Tensor(zeroed: c.dout.count), Tensor(zeroed: c.statistics), Tensor(zeroed: c.statistics)
            )
            engine.attention(s, q: q, k: k, v: v, first: View(c.first), out: out, logSumExp: lse)
            engine.attentionBackward(
                s, q: q, k: k, v: v, first: View(c.first), out: out, logSumExp: lse, dout: Tensor(c.dout), delta: delta,
                dq: dq, dk: dk, dv: dv)
            var expected = [Float](repeating: -7, count: qkv.count)
            for token in 0..<b * t {
                let start = token * width
                for i in 0..<h * d { expected[start + i] = backward.dq[start + i] }
                for i in 0..<kv * d {
                    expected[start + h * d + i] = backward.dk[start + i]
                    expected[start + (h + kv) * d + i] = backward.dv[start + i]
                }
            }
            #expect(sameBits(out.array, forward.out))
            #expect(sameBits(gradient.array, expected), "\(engine.instructionSet), \(engine.threads) threads")
        }
    }

    /// More keys and values than are packed at once: all heads in one call have the bits of one call a head and row.
    @Test func partsHaveTheBitsOfTheWhole() throws {
        let (b, t, h, kv, d) = (2, 2100, 12, 6, 64)
        let width = (h + 2 * kv) * d
        func shape(_ rows: Int, _ heads: Int, _ kvHeads: Int) -> AttentionShape {
            AttentionShape(
                rows: rows, length: t, heads: heads, kvHeads: kvHeads, d: d, qStride: width, kStride: width,
                vStride: width, outStride: h * d)
        }
        let (qkv, dout) = (Tensor(numbers(b * t * width, seed: 1)), Tensor(numbers(b * t * h * d, seed: 2)))
        let first = View((0..<b * t).map { Int32($0 % t / 90 * 90) })
        let engine = try Engine(threads: 2)
        func run(_ gradient: Tensor, _ out: Tensor, rows: Range<Int>, heads: Range<Int>) {
            let (count, group) = (heads.count * (h / kv), h / kv)
            func part(_ x: Tensor, _ offset: Int, _ stride: Int) -> Tensor {
                let start = rows.lowerBound * t * stride + offset
                return x.slice(start, min(x.count - start, rows.count * t * stride))
            }
            func parts(_ x: Tensor) -> (q: Tensor, k: Tensor, v: Tensor) {
                (
                    part(x, heads.lowerBound * group * d, width), part(x, (h + heads.lowerBound) * d, width),
                    part(x, (h + kv + heads.lowerBound) * d, width)
                )
            }
            let s = shape(rows.count, count, heads.count)
            let lse = Tensor(zeroed: rows.count * count * t)
            let (x, dx) = (parts(qkv), parts(gradient))
            let offset = heads.lowerBound * group * d
            let some = first.slice(rows.lowerBound * t, rows.count * t)
            engine.attention(s, q: x.q, k: x.k, v: x.v, first: some, out: part(out, offset, h * d), logSumExp: lse)
            engine.attentionBackward(
                s, q: x.q, k: x.k, v: x.v, first: some, out: part(out, offset, h * d), logSumExp: lse,
                dout: part(dout, offset, h * d), delta: Tensor(zeroed: lse.count), dq: dx.q, dk: dx.k, dv: dx.v)
        }
        let (whole, wholeOut) = (Tensor(zeroed: qkv.count), Tensor(zeroed: dout.count))
        run(whole, wholeOut, rows: 0..<b, heads: 0..<kv)
        let (single, singleOut) = (Tensor(zeroed: qkv.count), Tensor(zeroed: dout.count))
        for row in 0..<b {
            for head in 0..<kv { run(single, singleOut, rows: row..<row + 1, heads: head..<head + 1) }
        }
        let isEqual = (sameBits(whole.array, single.array), sameBits(wholeOut.array, singleOut.array))
        #expect(isEqual.0 && isEqual.1)
        #expect(whole.array.contains { $0 != 0 } && wholeOut.array.allSatisfy { $0.isFinite && $0 != 0 })
    }

    // MARK: against plain softmax in Double

    /// q, k, v one after the other; returns the output.
    static func plain(_ s: AttentionShape, _ first: [Int32], _ q: [Double], _ k: [Double], _ v: [Double]) -> [Double] {
        let group = s.heads / s.kvHeads
        var out = [Double](repeating: 0, count: s.rows * s.length * s.heads * s.d)
        for token in 0..<s.rows * s.length {
            let base = token / s.length * s.length
            for head in 0..<s.heads {
                let keys = base + Int(first[token])...token
                let query = (token * s.heads + head) * s.d
                let scores = keys.map { key in
                    let start = (key * s.kvHeads + head / group) * s.d
                    return Double(s.scale) * (0..<s.d).reduce(0) { $0 + q[query + $1] * k[start + $1] }
                }
                let largest = scores.max() ?? 0
                let total = scores.reduce(0) { $0 + exp($1 - largest) }
                for (key, score) in zip(keys, scores) {
                    let start = (key * s.kvHeads + head / group) * s.d
                    for i in 0..<s.d { out[query + i] += exp(score - largest) / total * v[start + i] }
                }
            }
        }
        return out
    }

    @Test(arguments: cases) func outputIsSoftmaxAttention(c: AttentionCase) throws {
        let forward = Naive.attention(c.shape, q: c.q, k: c.k, v: c.v, first: c.first)
        let expected = Self.plain(c.shape, c.first, doubles(c.q), doubles(c.k), doubles(c.v))
        #expect(zip(forward.out, expected).allSatisfy { abs(Double($0) - $1) < 1e-5 })
        #expect(relativeDistance(forward.out, expected) < 2e-6)
    }

    @Test(arguments: [
        AttentionCase.make(1, 9, 1, 1, 4), .make(1, 12, 4, 2, 4, [5], scale: 2), .make(2, 8, 2, 1, 6, [2, 3]),
    ])
    func gradientsMatchFiniteDifferences(c: AttentionCase) {
        let (s, first, dout) = (c.shape, c.first, c.dout)
        let forward = Naive.attention(s, q: c.q, k: c.k, v: c.v, first: first)
        let gradient = Naive.attentionBackward(
            s, q: c.q, k: c.k, v: c.v, first: first, out: forward.out, logSumExp: forward.logSumExp, dout: dout)
        let (q, k, v) = (doubles(c.q), doubles(c.k), doubles(c.v))
        let byQ = finiteDifferences(at: q) { inner(Self.plain(s, first, $0, k, v), dout) }
        let byK = finiteDifferences(at: k) { inner(Self.plain(s, first, q, $0, v), dout) }
        let byV = finiteDifferences(at: v) { inner(Self.plain(s, first, q, k, $0), dout) }
        #expect(relativeDistance(gradient.dq, byQ) < 2e-6)
        #expect(relativeDistance(gradient.dk, byK) < 2e-6)
        #expect(relativeDistance(gradient.dv, byV) < 2e-6)
    }

    // MARK: promises

    /// A document's tokens come out the same whatever stands before it in the row, when it begins at the same place.
    @Test func documentsDoNotSeeEachOther() throws {
        let c = AttentionCase.make(1, 150, 2, 1, 32, [70])
        let (q, k, v) = (c.q, c.k, c.v)
        var (otherQ, otherK, otherV) = (q, k, v)
        for i in 0..<70 * 64 { otherQ[i] += 1 }
        for i in 0..<70 * 32 {
            otherK[i] = -3 * k[i]
            otherV[i] += 100
        }
        let engine = try Engine(threads: 1)
        func run(_ q: [Float], _ k: [Float], _ v: [Float]) -> [Float] {
            let (out, lse) = (Tensor(zeroed: q.count), Tensor(zeroed: c.statistics))
            engine.attention(
                c.shape, q: Tensor(q), k: Tensor(k), v: Tensor(v), first: View(c.first), out: out, logSumExp: lse)
            return out.array
        }
        let (one, other) = (run(q, k, v), run(otherQ, otherK, otherV))
        #expect(sameBits([Float](one[(70 * 64)...]), [Float](other[(70 * 64)...])))
        #expect(!sameBits([Float](one[..<(70 * 64)]), [Float](other[..<(70 * 64)])))
    }

    /// A cache changes no bit: decoding token after token gives the rows of the forward pass.
    @Test(arguments: [(3, 1, 16), (4, 2, 34), (1, 1, 256)]) func decodingHasTheForwardBits(
        h: Int, kv: Int, d: Int
    ) throws {
        let t = 140
        let c = AttentionCase.make(1, t, h, kv, d, scale: 2)
        let forward = Naive.attention(c.shape, q: c.q, k: c.k, v: c.v, first: c.first)
        for engine in try everyEngine() {
            let (q, k, v, out) = (Tensor(c.q), Tensor(c.k), Tensor(c.v), Tensor(zeroed: h * d))
            for count in [1, 2, 63, 64, 65, 128, 129, t] {
                engine.attentionDecode(
                    count: count, heads: h, kvHeads: kv, d: d, scale: c.shape.scale,
                    q: q.slice((count - 1) * h * d, h * d), k: k, v: v, out: out)
                let expected = [Float](forward.out[(count - 1) * h * d..<count * h * d])
                #expect(sameBits(out.array, expected), "\(engine.instructionSet), \(engine.threads) threads, \(count)")
            }
        }
    }

    /// A non-finite query, key or value shows in the output of what sees it.
    @Test func nonFiniteInputsShow() throws {
        let c = AttentionCase.make(1, 80, 1, 1, 16)
        for engine in try everyEngine() {
            for (which, bad) in [(0, Float.nan), (1, .nan), (2, .nan), (0, .infinity), (1, .infinity), (2, .infinity)] {
                var inputs = [c.q, c.k, c.v]
                inputs[which][40 * 16 + 3] = bad
                let (out, lse) = (Tensor(zeroed: 80 * 16), Tensor(zeroed: 80))
                engine.attention(
                    c.shape, q: Tensor(inputs[0]), k: Tensor(inputs[1]), v: Tensor(inputs[2]), first: View(c.first),
                    out: out, logSumExp: lse)
                #expect(out.array[40 * 16..<41 * 16].contains { !$0.isFinite })
            }
        }
    }
}
