// The forward pass in reverse. d… is the gradient of the loss by …; weights' gradients add up with `period` = T, so that
// each row's share is summed apart and rows are added in order.

import Kernels

extension Transformer {
    /// From the gradient of the last norm's output, which `classify` left in `backward.norm`, down to the embedding.
    func backwardPass(_ batch: ModelBatch, _ b: Activations.Backward, gradients d: Weights) {
        let c = configuration
        let n = batch.count
        let dx = b.residual.slice(0, n * c.hiddenSize)
        dx.fill(0)
        engine.rmsnormBackward(
            activations.final.slice(0, n * c.hiddenSize), weight: weights.norm,
            rstd: activations.finalRstd.slice(0, n), dy: b.norm.slice(0, n * c.hiddenSize), period: batch.length,
            dx: dx, dw: d.norm)
        for index in (0..<c.layers).reversed() {
            backwardFeedForward(batch, activations.layers[index], weights.layers[index], b, d.layers[index])
            backwardAttention(batch, activations.layers[index], weights.layers[index], b, d.layers[index])
        }
        engine.embeddingBackward(dx, c: c.hiddenSize, ids: batch.inputs.slice(0, n), dtable: d.embedding)
    }

    /// out = y + down · swiglu(gateUp · norm2(y)). On entry and on leaving, b.residual is the gradient of the stream.
    private func backwardFeedForward(
        _ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer, _ b: Activations.Backward,
        _ d: Weights.Layer
    ) {
        let c = configuration
        let (n, hidden, inner) = (batch.count, c.hiddenSize, c.intermediateSize)
        let dx = matrix(b.residual, n, hidden)
        project(dx, matrix(w.down, hidden, inner), into: matrix(b.product, n, inner))
        accumulate(dx, matrix(a.product, n, inner), into: matrix(d.down, hidden, inner), batch)
        engine.swigluBackward(
            a.gateUp.slice(0, n * 2 * inner), width: inner, dout: b.product.slice(0, n * inner),
            dGateUp: b.gateUp.slice(0, n * 2 * inner))
        let dGateUp = matrix(b.gateUp, n, 2 * inner)
        project(dGateUp, matrix(w.gateUp, 2 * inner, hidden), into: matrix(b.norm, n, hidden))
        accumulate(dGateUp, matrix(a.norm2, n, hidden), into: matrix(d.gateUp, 2 * inner, hidden), batch)
        engine.rmsnormBackward(
            a.middle.slice(0, n * hidden), weight: w.norm2, rstd: a.rstd2.slice(0, n),
            dy: b.norm.slice(0, n * hidden), period: batch.length, dx: dx.tensor, dw: d.norm2)
    }

    /// y = x + output · attention(rotate(qkv · norm1(x))).
    private func backwardAttention(
        _ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer, _ b: Activations.Backward,
        _ d: Weights.Layer
    ) {
        let c = configuration
        let (n, hidden, width) = (batch.count, c.hiddenSize, c.heads * c.headSize)
        let dx = matrix(b.residual, n, hidden)
        project(dx, matrix(w.output, hidden, width), into: matrix(b.attention, n, width))
        accumulate(dx, matrix(a.attention, n, width), into: matrix(d.output, hidden, width), batch)
        let (q, k, v) = split(a.qkv, n)
        let (dq, dk, dv) = split(b.qkv, n)
        engine.attentionBackward(
            shape(batch), q: q, k: k, v: v, first: batch.first.slice(0, n), out: a.attention.slice(0, n * width),
            logSumExp: a.logSumExp.slice(0, n * c.heads), dout: b.attention.slice(0, n * width),
            delta: b.delta.slice(0, n * c.heads), dq: dq, dk: dk, dv: dv)
        rotate(b.qkv, batch, inverse: true)
        let dqkv = matrix(b.qkv, n, qkvWidth)
        project(dqkv, matrix(w.qkv, qkvWidth, hidden), into: matrix(b.norm, n, hidden))
        accumulate(dqkv, matrix(a.norm1, n, hidden), into: matrix(d.qkv, qkvWidth, hidden), batch)
        engine.rmsnormBackward(
            a.residual.slice(0, n * hidden), weight: w.norm1, rstd: a.rstd1.slice(0, n),
            dy: b.norm.slice(0, n * hidden), period: batch.length, dx: dx.tensor, dw: d.norm1)
    }

    /// For y = x · Wᵀ: dx = dy · W.
    private func project(_ dy: Matrix, _ w: Matrix, into dx: Matrix) { engine.gemm(dy, w, into: dx) }

    /// For y = x · Wᵀ: dW += dyᵀ · x.
    private func accumulate(_ dy: Matrix, _ x: Matrix, into dw: Matrix, _ batch: ModelBatch) {
        engine.gemm(dy, transposeA: true, x, into: dw, accumulate: true, period: batch.length)
    }
}
