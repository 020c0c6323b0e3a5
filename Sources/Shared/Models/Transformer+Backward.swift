// The forward pass in reverse. d… is the gradient of the loss by …; weights' gradients add up with `period` = T, so that
// each row's share is summed apart and rows are added in order.

import Kernels

extension Transformer {
    /// From the gradient of the last norm's output, which `classify` left in `backward.norm`, down to the embedding. False
    /// when interrupted.
    func backwardPass(
        _ batch: ModelBatch, _ b: Activations.Backward, _ gradients: Gradients, isInterrupted: () -> Bool
    ) -> Bool {
        let c = configuration
        let n = batch.count
        let (d, parts) = (gradients.weights, gradients.parts)
        defer { gradients.endPart() }
        if !parts.needsStream { return true }
        let dx = b.residual.slice(0, n * c.hiddenSize)
        engine.zero(dx)
        normalizeBackward(
            activations.final, weights.norm, batch, mean: activations.finalMean, rstd: activations.finalRstd, b, d.norm)
        for index in (parts.lowest..<c.layers).reversed() {
            if isInterrupted() { return false }
            restore(batch, layer: index)
            let (a, w, dw) = (activations.layers[index], weights.layers[index], d.layers[index])
            let (trained, isBelow, isFresh) = (parts.layers[index], parts.isBelow(index), gradients.isFresh)
            backwardFeedForward(batch, a, w, b, dw, trained, isBelow: isBelow, isFresh: isFresh)
            if isBelow || trained.reachesAttention {
                backwardAttention(batch, a, w, b, dw, trained, isBelow: isBelow, isFresh: isFresh)
            }
        }
        if let positions = d.positions, parts.positions {
            engine.embeddingBackward(dx, c: c.hiddenSize, ids: batch.position.slice(0, n), dtable: positions)
        }
        if parts.embedding { gradients.gather(dx, ids: batch.inputs.slice(0, n), engine) }
        return true
    }

    /// out = y + down · activation(up · norm2(y)). On entry and on leaving, b.residual is the gradient of the stream, unless
    /// nothing in or under the layer asks for it any more.
    private func backwardFeedForward(
        _ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer, _ b: Activations.Backward,
        _ d: Weights.Layer, _ t: TrainedParts.Layer, isBelow: Bool, isFresh: Bool
    ) {
        let c = configuration
        let (n, inner) = (batch.count, c.intermediateSize)
        let needsNorm = isBelow || t.reachesAttention || t.norm2
        let needsUp = needsNorm || t.up.isTrained
        switch c.feedForward {
        case .swiGLU:
            backward(
                w.down, d.down, t.down, b.residual, x: a.product, batch, dx: needsUp ? b.product : nil,
                isFresh: isFresh)
            if !needsUp { return }
            engine.swigluBackward(
                a.up.slice(0, n * c.upWidth), width: inner, dout: b.product.slice(0, n * inner),
                dGateUp: b.up.slice(0, n * c.upWidth))
        case .gelu:
            backward(
                w.down, d.down, t.down, b.residual, x: a.product, batch, dx: needsUp ? b.up : nil, isFresh: isFresh,
                activation: .geluBackward(of: matrix(a.up, n, inner)))
            if !needsUp { return }
        }
        backward(w.up, d.up, t.up, b.up, x: a.norm2, batch, dx: needsNorm ? b.norm : nil, isFresh: isFresh)
        if !needsNorm { return }
        normalizeBackward(a.middle, w.norm2, batch, mean: a.mean2, rstd: a.rstd2, b, d.norm2)
    }

    /// y = x + output · attention(queryKeyValue · norm1(x)).
    private func backwardAttention(
        _ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer, _ b: Activations.Backward,
        _ d: Weights.Layer, _ t: TrainedParts.Layer, isBelow: Bool, isFresh: Bool
    ) {
        let c = configuration
        let n = batch.count
        let needsNorm = isBelow || t.norm1
        let needsHeads = needsNorm || t.queryKeyValue.isTrained || t.headNorms
        backward(
            w.output, d.output, t.output, b.residual, x: a.attention, batch, dx: needsHeads ? b.attention : nil,
            isFresh: isFresh)
        if !needsHeads { return }
        let (q, k, v) = split(a.qkv, n)
        let (dq, dk, dv) = split(b.qkv, n)
        let width = c.heads * c.headSize
        engine.attentionBackward(
            shape(batch), q: q, k: k, v: v, first: batch.first.slice(0, n), out: a.attention.slice(0, n * width),
            logSumExp: a.logSumExp.slice(0, n * c.heads), dout: b.attention.slice(0, n * width),
            delta: b.delta.slice(0, n * c.heads), dq: dq, dk: dk, dv: dv)
        if let rotary {
            engine.rope(
                b.qkv.slice(0, n * c.qkvWidth), heads: c.heads + c.keyValueHeads, d: c.headSize, stride: c.qkvWidth,
                positions: batch.position.slice(0, n), cosine: rotary.cosine, sine: rotary.sine, inverse: true)
        }
        if let queryNorm = w.queryNorm, let keyNorm = w.keyNorm, let dQuery = d.queryNorm, let dKey = d.keyNorm {
            let raw = split(a.unnormalized, n, stride: c.normalizedWidth)
            for (x, gradient, weight, rstd, count, dw) in [
                (raw.q, dq, queryNorm, a.queryRstd, c.heads, dQuery),
                (raw.k, dk, keyNorm, a.keyRstd, c.keyValueHeads, dKey),
            ] {
                engine.headNormBackward(
                    x, stride: c.normalizedWidth, heads: count, weight: weight, rstd: rstd.slice(0, n * count),
                    dy: gradient, stride: c.qkvWidth, period: batch.length, dw: dw)
            }
        }
        backward(
            w.queryKeyValue, d.queryKeyValue, t.queryKeyValue, b.qkv, x: a.norm1, batch, dx: needsNorm ? b.norm : nil,
            isFresh: isFresh)
        if !needsNorm { return }
        normalizeBackward(a.residual, w.norm1, batch, mean: a.mean1, rstd: a.rstd1, b, d.norm1)
    }

    /// For y = x · W + b: dx = dy · Wᵀ, or what the activation makes of it, dW = (`isFresh`) or += xᵀ · dy, db += Σ dy, and the
    /// same of its adapters: what is wanted of it. Outputs of W that are frozen between others have no product; no other bit depends on that.
    private func backward(
        _ w: Affine, _ d: Affine, _ t: TrainedParts.Affine, _ dy: Tensor, x: Tensor, _ batch: ModelBatch, dx: Tensor?,
        isFresh: Bool, activation: Activation? = nil
    ) {
        let n = batch.count
        let (dy, x) = (matrix(dy, n, w.outputs), matrix(x, n, w.inputs))
        if let dx {
            engine.gemm(
                dy, w.matrix, transposeB: w.isInputMajor, into: matrix(dx, n, w.inputs), precision: precision,
                activation: w.adapters == nil ? activation : nil)
        }
        for outputs in t.outputs {
            let (part, columns) = (d.matrix(outputs), columns(outputs, of: dy))
            let (left, right) = w.isInputMajor ? (x, columns) : (columns, x)
            engine.gemm(
                left, transposeA: true, right, into: part, base: isFresh ? nil : part, period: batch.length,
                precision: precision)
        }
        if let bias = d.bias, t.bias { engine.biasBackward(dy.tensor, period: batch.length, db: bias) }
        if let adapters = w.adapters, let gradients = d.adapters {
            backward(
                adapters, gradients, t, dy, x: x, dx: dx.map { matrix($0, n, w.inputs) }, period: batch.length,
                isFresh: isFresh, activation: activation)
        }
    }

    /// From the gradient of a norm's output, in b.norm, to that of the stream, which is added to.
    private func normalizeBackward(
        _ x: Tensor, _ w: Norm, _ batch: ModelBatch, mean: Tensor, rstd: Tensor, _ b: Activations.Backward, _ d: Norm
    ) {
        let n = batch.count
        let count = n * configuration.hiddenSize
        let (x, dy, dx) = (x.slice(0, count), b.norm.slice(0, count), b.residual.slice(0, count))
        if let bias = d.bias {
            engine.layernormBackward(
                x, weight: w.weight, mean: mean.slice(0, n), rstd: rstd.slice(0, n), dy: dy, period: batch.length,
                dx: dx, dw: d.weight, db: bias)
        } else {
            engine.rmsnormBackward(
                x, weight: w.weight, rstd: rstd.slice(0, n), dy: dy, period: batch.length, dx: dx, dw: d.weight)
        }
    }
}
