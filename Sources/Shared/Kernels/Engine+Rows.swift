// Work on rows: rotation, SwiGLU, embedding, cross-entropy. The Swift face of rows.c; sizes, ids and
// positions are checked here, once a call, so that the C loops need not. `n` is the number of rows (tokens).

internal import CKernels

extension Engine {
    /// Tables (positions, d/2) of the cosine and sine of p · theta^(-2i/d), computed in double by our own functions and
    /// rounded: the same bits on every processor.
    public static func ropeTable(theta: Double, positions: Int, d: Int) -> (cosine: Tensor, sine: Tensor) {
        precondition(theta > 0 && positions >= 0 && d >= 0 && d % 2 == 0, "rope of \(positions) positions, width \(d)")
        let tables = (cosine: Tensor(zeroed: positions * d / 2), sine: Tensor(zeroed: positions * d / 2))
        // SAFETY: the tables have the size that the function fills.
        unsafe mr_rope_table(theta, Int64(positions), Int64(d), tables.cosine.pointer, tables.sine.pointer)
        return tables
    }

    /// Tables (positions, d/2) of the cosine and sine of p · frequencies[i], times `magnitude`.
    public static func ropeTable(
        frequencies: [Double], magnitude: Double, positions: Int
    ) -> (cosine: Tensor, sine: Tensor) {
        let half = frequencies.count
        precondition(positions >= 0, "rope of \(positions) positions")
        let tables = (cosine: Tensor(zeroed: positions * half), sine: Tensor(zeroed: positions * half))
        // SAFETY: the tables have the size that the function fills, and the frequencies live for the call.
        unsafe frequencies.withUnsafeBufferPointer { frequencies in
            if let base = frequencies.baseAddress {
                unsafe mr_rope_table_of(
                    base, magnitude, Int64(positions), Int64(half), tables.cosine.pointer, tables.sine.pointer)
            }
        }
        return tables
    }

    /// Rotates `heads` heads of width d in each row of x, in place (RoPE, arXiv:2104.09864; pairs (i, i + d/2)); a row
    /// begins every `stride` floats. `inverse` rotates back, which is the backward pass.
    public func rope(
        _ x: Tensor, heads: Int, d: Int, stride: Int, positions: View<UInt32>, cosine: Tensor, sine: Tensor,
        inverse: Bool = false
    ) {
        let n = positions.count
        let known = d == 0 ? 0 : cosine.count / (d / 2)
        precondition(
            d % 2 == 0 && cosine.count == sine.count && stride >= heads * d
                && (n == 0 || x.count >= (n - 1) * stride + heads * d),
            "rope of \(n) rows of \(heads) heads of width \(d), \(stride) apart: x \(x.count) floats")
        for i in 0..<n {
            let position = Int(positions[i])
            precondition(position < known, "position \(position) in a table of \(known)")
        }
        // SAFETY: extents and positions were checked.
        unsafe mr_rope(
            context, Int64(n), Int64(heads), Int64(d), Int64(stride), x.pointer, positions.pointer, cosine.pointer,
            sine.pointer, inverse)
    }

    /// out (n, width) = silu(gate) · up, where a row of gateUp (n, 2·width) is gate, then up (SwiGLU, arXiv:2002.05202).
    public func swiglu(_ gateUp: Tensor, width: Int, out: Tensor) {
        let n = rows(of: out, width)
        precondition(gateUp.count == 2 * n * width, "swiglu of (\(n), \(width)): gate and up \(gateUp.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_swiglu_forward(context, Int64(n), Int64(width), gateUp.pointer, out.pointer)
    }

    /// dGateUp (n, 2·width) is overwritten; it may be gateUp itself.
    public func swigluBackward(_ gateUp: Tensor, width: Int, dout: Tensor, dGateUp: Tensor) {
        let n = rows(of: dout, width)
        precondition(
            gateUp.count == 2 * n * width && dGateUp.count == 2 * n * width,
            "swiglu of (\(n), \(width)): gate and up \(gateUp.count), gradient \(dGateUp.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_swiglu_backward(context, Int64(n), Int64(width), gateUp.pointer, dout.pointer, dGateUp.pointer)
    }

    /// out (n, c) = table[ids], plus row `positions` of another table where there is one.
    public func embedding(
        _ table: Tensor, c: Int, ids: View<UInt32>, positions: (table: Tensor, ids: View<UInt32>)? = nil, out: Tensor
    ) {
        checkEmbedding(table, c, ids, out)
        if let positions { checkEmbedding(positions.table, c, positions.ids, out) }
        // SAFETY: extents and ids were checked.
        unsafe mr_embedding_forward(
            context, Int64(ids.count), Int64(c), table.pointer, ids.pointer, positions?.table.pointer,
            positions?.ids.pointer, out.pointer)
    }

    /// dtable[ids[i]] += dout[i], in order of i.
    public func embeddingBackward(_ dout: Tensor, c: Int, ids: View<UInt32>, dtable: Tensor) {
        checkEmbedding(dtable, c, ids, dout)
        // SAFETY: extents and ids were checked.
        unsafe mr_embedding_backward(context, Int64(ids.count), Int64(c), dout.pointer, ids.pointer, dtable.pointer)
    }

    /// Cross-entropy of each row of logits (n, v), rows `stride` apart: losses[i] = log Σ exp(logits) − logits[target],
    /// or 0 where weights[i] is 0. With `gradient`, logits become weights[i] · (softmax − one-hot).
    public func crossEntropy(
        _ logits: Tensor, v: Int, stride: Int? = nil, targets: View<UInt32>, weights: Tensor, losses: Tensor,
        gradient: Bool
    ) {
        let (n, stride) = (targets.count, stride ?? v)
        precondition(
            v > 0 && stride >= v && (n == 0 || logits.count >= (n - 1) * stride + v) && weights.count == n
                && losses.count == n,
            "cross-entropy of (\(n), \(v)): logits \(logits.count), weights \(weights.count), losses \(losses.count)")
        for i in 0..<n { precondition(targets[i] < v, "target \(targets[i]) of \(v) classes") }
        // SAFETY: extents and targets were checked.
        unsafe mr_cross_entropy(
            context, Int64(n), Int64(v), Int64(stride), logits.pointer, targets.pointer, weights.pointer,
            losses.pointer, gradient)
    }

    /// y = e^x by the polynomial that every kernel uses.
    public func exponential(_ x: Tensor, y: Tensor) {
        precondition(x.count == y.count, "exponential of \(x.count) elements into \(y.count)")
        // SAFETY: the extents were checked.
        unsafe mr_exp(context, Int64(x.count), x.pointer, y.pointer)
    }

    private func rows(of matrix: Tensor, _ width: Int) -> Int {
        precondition(width > 0 && matrix.count % width == 0, "\(matrix.count) floats in rows of \(width)")
        return matrix.count / width
    }

    private func checkEmbedding(_ table: Tensor, _ c: Int, _ ids: View<UInt32>, _ rows: Tensor) {
        precondition(
            c > 0 && table.count % c == 0 && rows.count == ids.count * c,
            "embedding of \(ids.count) ids of width \(c): \(rows.count) floats from a table of \(table.count)")
        checkIDs(ids, table, c)
    }

    private func checkIDs(_ ids: View<UInt32>, _ table: Tensor, _ c: Int) {
        let known = table.count / c
        for i in 0..<ids.count { precondition(ids[i] < known, "id \(ids[i]) in a table of \(known)") }
    }

    /// Rows `ids` of `table` (…, c) become 0.
    public func zero(rows ids: View<UInt32>, of table: Tensor, c: Int) {
        checkIDs(ids, table, c)
        unsafe mr_zero_rows(context, Int64(ids.count), Int64(c), ids.pointer, table.pointer)
    }

    /// Rows `ids`, all different, of `table` (…, c) += those of `x`.
    public func add(rows ids: View<UInt32>, of x: Tensor, to table: Tensor, c: Int) {
        checkIDs(ids, table, c)
        precondition(x.count == table.count, "adding rows of \(x.count) floats to \(table.count)")
        unsafe mr_add_rows(context, Int64(ids.count), Int64(c), ids.pointer, x.pointer, table.pointer)
    }
}
