// The scalar twin of attention.c: causal attention inside documents as plain loops over queries and keys. It fixes the
// order of every sum; which pairs are worked on together, and by whom, is the kernels' affair and changes no bit.

extension Naive {
    /// One dot product in order of its elements, each a fused multiply-add.
    static func chain(_ a: [Float], _ aStart: Int, _ b: [Float], _ bStart: Int, count: Int, scale: Float = 1) -> Float {
        var sum: Float = 0
        for i in 0..<count { sum = sum.addingProduct(a[aStart + i], b[bStart + i] * scale) }
        return sum
    }

    /// out and log_sum_exp. Softmax over keys first[i] ... i, online: per block of 64 keys (blocks begin at multiples of
    /// 64) the largest score so far is taken out and what was summed before is scaled down; keys add in order.
    public static func attention(
        _ shape: AttentionShape, q: [Float], k: [Float], v: [Float], first: [Int32]
    ) -> (out: [Float], logSumExp: [Float]) {
        let s = shape
        var out = [Float](repeating: 0, count: s.rows * s.length * s.outStride)
        var logSumExp = [Float](repeating: 0, count: s.rows * s.heads * s.length)
        for row in 0..<s.rows {
            for head in 0..<s.heads {
                for i in 0..<s.length {
                    let token = row * s.length
                    var largest = -Float.greatestFiniteMagnitude
                    var total: Float = 0
                    var output = [Float](repeating: 0, count: s.d)
                    var low = Int(first[token + i])
                    while low <= i {
                        let high = min(low / 64 * 64 + 64, i + 1)
                        let scores = (low..<high).map { key in
                            chain(k, s.k(token + key, head), q, s.q(token + i, head), count: s.d, scale: s.scale)
                        }
                        var now = largest
                        for score in scores where score > now { now = score }
                        let correction = exponential(largest - now)
                        total = total * correction
                        for c in 0..<s.d { output[c] = output[c] * correction }
                        for (key, score) in zip(low..<high, scores) {
                            let p = exponential(score - now)
                            total = total + p
                            for c in 0..<s.d {
                                output[c] = output[c].addingProduct(v[s.v(token + key, head) + c], p)
                            }
                        }
                        largest = now
                        low = high
                    }
                    let inverse = 1 / total
                    for c in 0..<s.d { out[s.out(token + i, head) + c] = output[c] * inverse }
                    logSumExp[s.statistic(row, head, i)] = largest + logarithm(total)
                }
            }
        }
        return (out, logSumExp)
    }

    /// dq, dk, dv, of the sizes and strides of q, k, v (floats between heads stay 0).
    ///
    /// p = exp(s − log_sum_exp), delta = Σ dout · out, ds = p · (dp − delta) · scale; dq takes keys in order, dk and dv
    /// take the heads of a group, then queries, in order.
    public static func attentionBackward(
        _ shape: AttentionShape, q: [Float], k: [Float], v: [Float], first: [Int32], out: [Float],
        logSumExp: [Float], dout: [Float]
    ) -> (dq: [Float], dk: [Float], dv: [Float]) {
        let s = shape
        var dq = [Float](repeating: 0, count: q.count)
        var dk = [Float](repeating: 0, count: k.count)
        var dv = [Float](repeating: 0, count: v.count)
        for row in 0..<s.rows {
            for head in 0..<s.heads {
                for i in 0..<s.length {
                    let token = row * s.length
                    let (qi, oi) = (s.q(token + i, head), s.out(token + i, head))
                    let delta = dot(dout[oi..<oi + s.d], out[oi..<oi + s.d])
                    for key in Int(first[token + i])...i {
                        let (kj, vj) = (s.k(token + key, head), s.v(token + key, head))
                        let score = chain(k, kj, q, qi, count: s.d, scale: s.scale)
                        let p = exponential(score - logSumExp[s.statistic(row, head, i)])
                        let ds = p * (chain(v, vj, dout, oi, count: s.d) - delta) * s.scale
                        for c in 0..<s.d {
                            dq[qi + c] = dq[qi + c].addingProduct(k[kj + c], ds)
                            dk[kj + c] = dk[kj + c].addingProduct(q[qi + c], ds)
                            dv[vj + c] = dv[vj + c].addingProduct(dout[oi + c], p)
                        }
                    }
                }
            }
        }
        return (dq, dk, dv)
    }

    /// One new query (heads, d) against caches of keys and values (count, kvHeads, d): the last row of `attention`.
    public static func attentionDecode(
        count: Int, heads: Int, kvHeads: Int, d: Int, scale: Float, q: [Float], k: [Float], v: [Float]
    ) -> [Float] {
        let shape = AttentionShape(rows: 1, length: count, heads: heads, kvHeads: kvHeads, d: d, scale: scale)
        let before = [Float](repeating: 0, count: (count - 1) * heads * d)
        let first = [Int32](repeating: 0, count: count)
        return [Float](attention(shape, q: before + q, k: k, v: v, first: first).out.suffix(heads * d))
    }
}
