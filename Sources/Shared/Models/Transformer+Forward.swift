// From ids to the last norm. x is (N, C), N = rows · length.

import Kernels

extension Transformer {
    /// Fills the activations. `keeping`: each layer has its own buffers, for the backward pass; else all share the
    /// first's. `visit` is shown each layer's rotated queries and keys and its values (N, (H + 2·KV)·d).
    func forward(_ batch: ModelBatch, keeping: Bool, visit: ((_ layer: Int, _ qkv: Tensor) -> Void)? = nil) {
        let c = configuration
        let n = batch.count
        func layer(_ index: Int) -> LayerActivations { activations.layers[keeping ? index : 0] }
        engine.embedding(
            weights.embedding, c: c.hiddenSize, ids: batch.inputs.slice(0, n),
            out: layer(0).residual.slice(0, n * c.hiddenSize))
        for index in 0..<c.layers {
            let next = index + 1 < c.layers ? layer(index + 1).residual : activations.final
            forwardLayer(batch, layer(index), weights.layers[index], out: next)
            visit?(index, layer(index).qkv)
        }
        engine.rmsnorm(
            activations.final.slice(0, n * c.hiddenSize), weight: weights.norm, epsilon: Float(c.normEpsilon),
            y: activations.finalNorm.slice(0, n * c.hiddenSize), rstd: activations.finalRstd.slice(0, n))
    }

    /// x + attention(norm(x)), then y + mlp(norm(y)). Without `keeping`, `out` is this layer's own input buffer.
    private func forwardLayer(_ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer, out: Tensor) {
        let c = configuration
        let n = batch.count
        let (width, hidden) = (c.heads * c.headSize, c.hiddenSize)
        let epsilon = Float(c.normEpsilon)
        let residual = a.residual.slice(0, n * hidden)
        let middle = a.middle.slice(0, n * hidden)

        engine.rmsnorm(
            residual, weight: w.norm1, epsilon: epsilon, y: a.norm1.slice(0, n * hidden), rstd: a.rstd1.slice(0, n))
        engine.gemm(
            matrix(a.norm1, n, hidden), matrix(w.qkv, qkvWidth, hidden), transposeB: true,
            into: matrix(a.qkv, n, qkvWidth))
        rotate(a.qkv, batch, inverse: false)
        let (q, k, v) = split(a.qkv, n)
        engine.attention(
            shape(batch), q: q, k: k, v: v, first: batch.first.slice(0, n), out: a.attention.slice(0, n * width),
            logSumExp: a.logSumExp.slice(0, n * c.heads))
        middle.copy(residual)
        engine.gemm(
            matrix(a.attention, n, width), matrix(w.output, hidden, width), transposeB: true,
            into: matrix(a.middle, n, hidden), accumulate: true)

        engine.rmsnorm(
            middle, weight: w.norm2, epsilon: epsilon, y: a.norm2.slice(0, n * hidden), rstd: a.rstd2.slice(0, n))
        engine.gemm(
            matrix(a.norm2, n, hidden), matrix(w.gateUp, 2 * c.intermediateSize, hidden), transposeB: true,
            into: matrix(a.gateUp, n, 2 * c.intermediateSize))
        engine.swiglu(
            a.gateUp.slice(0, n * 2 * c.intermediateSize), width: c.intermediateSize,
            out: a.product.slice(0, n * c.intermediateSize))
        out.slice(0, n * hidden).copy(middle)
        engine.gemm(
            matrix(a.product, n, c.intermediateSize), matrix(w.down, hidden, c.intermediateSize), transposeB: true,
            into: matrix(out, n, hidden), accumulate: true)
    }

    /// Floats of q, k and v of one position.
    var qkvWidth: Int { (configuration.heads + 2 * configuration.keyValueHeads) * configuration.headSize }

    /// The first `rows` rows of a buffer.
    func matrix(_ tensor: Tensor, _ rows: Int, _ columns: Int) -> Matrix {
        Matrix(tensor.slice(0, rows * columns), rows: rows, columns: columns)
    }

    func shape(_ batch: ModelBatch) -> AttentionShape {
        AttentionShape(
            rows: batch.rows, length: batch.length, heads: configuration.heads,
            kvHeads: configuration.keyValueHeads, d: configuration.headSize, qStride: qkvWidth, kStride: qkvWidth,
            vStride: qkvWidth)
    }

    /// q, k and v inside a buffer (N, (H + 2·KV)·d); each reaches to the buffer's end.
    func split(_ qkv: Tensor, _ n: Int) -> (q: Tensor, k: Tensor, v: Tensor) {
        let k = configuration.heads * configuration.headSize
        let v = k + configuration.keyValueHeads * configuration.headSize
        let count = n * qkvWidth
        return (qkv.slice(0, count), qkv.slice(k, count - k), qkv.slice(v, count - v))
    }

    /// Rotary positions on queries and keys, which lie side by side; `inverse` is the backward pass.
    func rotate(_ qkv: Tensor, _ batch: ModelBatch, inverse: Bool) {
        engine.rope(
            qkv.slice(0, batch.count * qkvWidth), heads: configuration.heads + configuration.keyValueHeads,
            d: configuration.headSize, stride: qkvWidth, positions: batch.position.slice(0, batch.count),
            cosine: rotary.cosine, sine: rotary.sine, inverse: inverse)
    }
}
