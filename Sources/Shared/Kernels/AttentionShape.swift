// How the heads of an attention call lie in memory.

internal import CKernels

/// Sizes and strides of causal attention inside documents. Token t, head h of the queries lies at
/// t · qStride + h · d floats; keys, values (with kvHeads heads) and output alike.
public struct AttentionShape: Sendable, Equatable {
    /// Rows B of the batch and tokens T in each.
    public var rows, length: Int
    /// Query heads H, key-value heads KV (a divisor of H), head width d (even, at most 256).
    public var heads, kvHeads, d: Int
    /// Floats from one token to the next.
    public var qStride, kStride, vStride, outStride: Int
    /// What scores are multiplied by: 1 / sqrt(d).
    public var scale: Float

    /// Strides default to a tight layout: heads · d and kvHeads · d.
    public init(
        rows: Int, length: Int, heads: Int, kvHeads: Int, d: Int, qStride: Int? = nil, kStride: Int? = nil,
        vStride: Int? = nil, outStride: Int? = nil, scale: Float? = nil
    ) {
        precondition(
            rows >= 0 && length >= 0 && kvHeads > 0 && heads > 0 && heads % kvHeads == 0 && d > 0 && d <= 256
                && d % 2 == 0,
            "attention over \(heads) heads, \(kvHeads) key-value heads of width \(d)")
        self.rows = rows
        self.length = length
        self.heads = heads
        self.kvHeads = kvHeads
        self.d = d
        self.qStride = qStride ?? heads * d
        self.kStride = kStride ?? kvHeads * d
        self.vStride = vStride ?? kvHeads * d
        self.outStride = outStride ?? heads * d
        self.scale = scale ?? 1 / Float(d).squareRoot()
        precondition(
            self.qStride >= heads * d && self.kStride >= kvHeads * d && self.vStride >= kvHeads * d
                && self.outStride >= heads * d,
            "strides \(self.qStride), \(self.kStride), \(self.vStride), \(self.outStride) of heads of width \(d)")
    }

    var code: mr_attention_shape {
        mr_attention_shape(
            rows: Int64(rows), length: Int64(length), heads: Int64(heads), kv_heads: Int64(kvHeads), d: Int64(d),
            q_stride: Int64(qStride), k_stride: Int64(kStride), v_stride: Int64(vStride),
            out_stride: Int64(outStride), scale: scale)
    }

    /// Elements from the first to the last of a matrix of B · T tokens, `stride` apart and `width` wide.
    func extent(_ stride: Int, _ width: Int) -> Int { rows * length == 0 ? 0 : (rows * length - 1) * stride + width }

    /// Where query, key, value and output of a token and query head begin.
    func q(_ token: Int, _ head: Int) -> Int { token * qStride + head * d }
    func k(_ token: Int, _ head: Int) -> Int { token * kStride + head / (heads / kvHeads) * d }
    func v(_ token: Int, _ head: Int) -> Int { token * vStride + head / (heads / kvHeads) * d }
    func out(_ token: Int, _ head: Int) -> Int { token * outStride + head * d }
    /// Where the log-sum-exp of row, head and token i of the row lies.
    func statistic(_ row: Int, _ head: Int, _ i: Int) -> Int { (row * heads + head) * length + i }
}
