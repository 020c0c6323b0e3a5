// Causal attention inside documents: the Swift face of attention.c. Sizes are checked here, once a call.

internal import CKernels

extension Engine {
    /// out (B·T, H·d) and logSumExp (B, H, T) of softmax attention where token i of a row sees keys first[i] ... i.
    /// Blocked online softmax (arXiv:2112.05682, arXiv:2205.14135), O(T) memory; masked blocks are skipped.
    public func attention(
        _ shape: AttentionShape, q: Tensor, k: Tensor, v: Tensor, first: View<Int32>, out: Tensor, logSumExp: Tensor
    ) {
        check(shape, q: q, k: k, v: v, first: first, out: out, logSumExp: logSumExp)
        var code = shape.code
        // SAFETY: the extents were checked.
        unsafe mr_attention_forward(
            context, &code, q.pointer, k.pointer, v.pointer, first.pointer, out.pointer, logSumExp.pointer)
    }

    /// dq, dk, dv (strides of q, k, v) are overwritten; `delta` (B, H, T) is scratch. `out` and `logSumExp` are those of
    /// the forward pass.
    public func attentionBackward(
        _ shape: AttentionShape, q: Tensor, k: Tensor, v: Tensor, first: View<Int32>, out: Tensor, logSumExp: Tensor,
        dout: Tensor, delta: Tensor, dq: Tensor, dk: Tensor, dv: Tensor
    ) {
        check(shape, q: q, k: k, v: v, first: first, out: out, logSumExp: logSumExp)
        check(shape, q: dq, k: dk, v: dv, first: first, out: dout, logSumExp: delta)
        var code = shape.code
        // SAFETY: the extents were checked.
        unsafe mr_attention_backward(
            context, &code, q.pointer, k.pointer, v.pointer, first.pointer, out.pointer, logSumExp.pointer,
            dout.pointer, delta.pointer, dq.pointer, dk.pointer, dv.pointer)
    }

    /// One new token against a cache: q (H, d), caches k and v (count, KV, d), out (H, d). The bits are those of the
    /// last row of `attention` over the whole sequence.
    public func attentionDecode(
        count: Int, heads: Int, kvHeads: Int, d: Int, scale: Float, q: Tensor, k: Tensor, v: Tensor, out: Tensor
    ) {
        let shape = AttentionShape(rows: 1, length: count, heads: heads, kvHeads: kvHeads, d: d, scale: scale)
        let cached = shape.extent(shape.kStride, kvHeads * d)
        precondition(
            count > 0 && q.count >= heads * d && out.count >= heads * d && k.count >= cached && v.count >= cached,
            "decoding against \(count) tokens: q \(q.count), out \(out.count), k \(k.count), v \(v.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_attention_decode(
            context, Int64(count), Int64(heads), Int64(kvHeads), Int64(d), scale, q.pointer, k.pointer, v.pointer,
            out.pointer)
    }

    private func check(
        _ s: AttentionShape, q: Tensor, k: Tensor, v: Tensor, first: View<Int32>, out: Tensor, logSumExp: Tensor
    ) {
        let (wide, narrow) = (s.heads * s.d, s.kvHeads * s.d)
        precondition(
            q.count >= s.extent(s.qStride, wide) && k.count >= s.extent(s.kStride, narrow)
                && v.count >= s.extent(s.vStride, narrow) && out.count >= s.extent(s.outStride, wide),
            "attention over \(s): q \(q.count), k \(k.count), v \(v.count), out \(out.count) floats")
        precondition(
            first.count >= s.rows * s.length && logSumExp.count >= s.rows * s.heads * s.length,
            "attention over \(s): first \(first.count), log-sum-exp \(logSumExp.count)")
        for row in 0..<s.rows {
            for i in 0..<s.length {
                let key = Int(first[row * s.length + i])
                precondition(key >= 0 && key <= i, "first key \(key) of token \(i)")
            }
        }
    }
}
