// From ids to the last norm. x is (N, C), N = rows · length.

import Kernels

extension Transformer {
    /// How a layer gets from its rotated queries and keys and its values to attention's output.
    typealias Attention = (_ layer: Int, _ activations: LayerActivations) -> Void

    /// Fills the activations.
    /// - Parameters:
    ///   - keeping: each layer has its own buffers, for the backward pass; else all share the first's.
    ///   - table: angles that reach further than the model's own.
    ///   - attend: something else than attention inside the rows of the batch.
    ///   - isInterrupted: asked between layers.
    /// - Returns: false when interrupted.
    @discardableResult
    func forward(
        _ batch: ModelBatch, keeping: Bool, table: RotaryTable? = nil, attend: Attention? = nil,
        isInterrupted: () -> Bool = { false }
    ) -> Bool {
        let c = configuration
        let n = batch.count
        let attend = attend ?? { [self] _, a in attendWithinRows(batch, a) }
        func layer(_ index: Int) -> LayerActivations { activations.layers[keeping ? index : 0] }
        engine.embedding(
            weights.embedding, c: c.hiddenSize, ids: batch.inputs.slice(0, n),
            positions: weights.positions.map { ($0, batch.position.slice(0, n)) },
            out: layer(0).residual.slice(0, n * c.hiddenSize))
        tap?(.embedding, layer(0).residual.slice(0, n * c.hiddenSize))
        streamObserver?("embedding", layer(0).residual.slice(0, n * c.hiddenSize), c.hiddenSize)
        for index in 0..<c.layers {
            if isInterrupted() { return false }
            let (a, w) = (layer(index), weights.layers[index])
            project(batch, a, w, table ?? rotary)
            attend(index, a)
            tap?(.attention(layer: index), a.attention.slice(0, n * c.heads * c.headSize))
            // Without `keeping` this is the layer's own input buffer, which nobody reads any more.
            let next = index + 1 < c.layers ? layer(index + 1).residual : activations.final
            finish(batch, a, w, out: next)
            tap?(.feedForward(layer: index), next.slice(0, n * c.hiddenSize))
            streamObserver?("layer_\(index)", next.slice(0, n * c.hiddenSize), c.hiddenSize)
        }
        normalize(
            activations.final, weights.norm, n, out: activations.finalNorm, mean: activations.finalMean,
            rstd: activations.finalRstd)
        tap?(.norm, activations.finalNorm.slice(0, n * c.hiddenSize))
        return true
    }

    /// Queries, keys and values of norm(x), with heads normalized and rotated.
    private func project(_ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer, _ table: RotaryTable?) {
        let c = configuration
        let n = batch.count
        normalize(a.residual, w.norm1, n, out: a.norm1, mean: a.mean1, rstd: a.rstd1)
        apply(w.queryKeyValue, a.norm1, n, into: a.qkv)
        if let queryNorm = w.queryNorm, let keyNorm = w.keyNorm {
            normalizeHeads(a, n, queryNorm, keyNorm)
        }
        if let table {
            engine.rope(
                a.qkv.slice(0, n * c.qkvWidth), heads: c.heads + c.keyValueHeads, d: c.headSize, stride: c.qkvWidth,
                positions: batch.position.slice(0, n), cosine: table.cosine, sine: table.sine)
        }
    }

    /// Causal attention inside each document of each row.
    func attendWithinRows(_ batch: ModelBatch, _ a: LayerActivations) {
        let c = configuration
        let n = batch.count
        let (q, k, v) = split(a.qkv, n)
        engine.attention(
            shape(batch), q: q, k: k, v: v, first: batch.first.slice(0, n),
            out: a.attention.slice(0, n * c.heads * c.headSize), logSumExp: a.logSumExp.slice(0, n * c.heads))
    }

    /// Fills the buffers of layer `index` that it does not keep with the bits of the forward pass. Those of the last layer
    /// are still there.
    func restore(_ batch: ModelBatch, layer index: Int) {
        if recompute == .none || index + 1 == configuration.layers { return }
        let (a, w) = (activations.layers[index], weights.layers[index])
        if recompute == .layer {
            project(batch, a, w, rotary)
            attendWithinRows(batch, a)
            leaveAttention(batch, a, w)
        }
        activate(batch, a, w)
    }

    /// y = x + output · attention; out = y + down · activation(up · norm(y)).
    private func finish(_ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer, out: Tensor) {
        leaveAttention(batch, a, w)
        activate(batch, a, w)
        apply(w.down, a.product, batch.count, into: out, base: a.middle)
    }

    private func leaveAttention(_ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer) {
        apply(w.output, a.attention, batch.count, into: a.middle, base: a.residual)
    }

    /// activation(up · norm(y)).
    private func activate(_ batch: ModelBatch, _ a: LayerActivations, _ w: Weights.Layer) {
        let c = configuration
        let n = batch.count
        normalize(a.middle, w.norm2, n, out: a.norm2, mean: a.mean2, rstd: a.rstd2)
        let product = matrix(a.product, n, c.intermediateSize)
        switch c.feedForward {
        case .swiGLU:
            apply(w.up, a.norm2, n, into: a.up)
            engine.swiglu(a.up.slice(0, n * c.upWidth), width: c.intermediateSize, out: product.tensor)
        case .gelu:
            apply(w.up, a.norm2, n, into: a.up, activation: .gelu(into: product))
        }
    }

    /// y (n, out) = base + x (n, in) · W + b, and what adapters add to that.
    private func apply(
        _ affine: Affine, _ x: Tensor, _ n: Int, into y: Tensor, base: Tensor? = nil, activation: Activation? = nil
    ) {
        let (x, y) = (matrix(x, n, affine.inputs), matrix(y, n, affine.outputs))
        engine.gemm(
            x, affine.matrix, transposeB: !affine.isInputMajor, into: y,
            base: base.map { matrix($0, n, affine.outputs) }, bias: affine.bias, precision: precision,
            activation: affine.adapters == nil ? activation : nil)
        if let adapters = affine.adapters { add(adapters, of: x, to: y, activation: activation) }
    }

    private func normalize(_ x: Tensor, _ norm: Norm, _ n: Int, out: Tensor, mean: Tensor, rstd: Tensor) {
        let (count, epsilon) = (n * configuration.hiddenSize, Float(configuration.normEpsilon))
        if let bias = norm.bias {
            engine.layernorm(
                x.slice(0, count), weight: norm.weight, bias: bias, epsilon: epsilon, y: out.slice(0, count),
                mean: mean.slice(0, n), rstd: rstd.slice(0, n))
        } else {
            engine.rmsnorm(
                x.slice(0, count), weight: norm.weight, epsilon: epsilon, y: out.slice(0, count),
                rstd: rstd.slice(0, n))
        }
    }

    /// The heads of queries and keys, which are kept as they were for the backward pass.
    private func normalizeHeads(_ a: LayerActivations, _ n: Int, _ queryNorm: Tensor, _ keyNorm: Tensor) {
        let c = configuration
        let (raw, heads) = (split(a.unnormalized, n, stride: c.normalizedWidth), split(a.qkv, n))
        for (x, kept, weight, rstd, count) in [
            (heads.q, raw.q, queryNorm, a.queryRstd, c.heads), (heads.k, raw.k, keyNorm, a.keyRstd, c.keyValueHeads),
        ] {
            engine.headNorm(
                x, stride: c.qkvWidth, heads: count, weight: weight, epsilon: Float(c.normEpsilon), kept: kept,
                stride: c.normalizedWidth, rstd: rstd.slice(0, n * count))
        }
    }

    /// Some columns of rows of a buffer.
    func columns(_ range: Range<Int>, of matrix: Matrix) -> Matrix {
        Matrix(
            matrix.tensor.slice(range.lowerBound, matrix.tensor.count - range.lowerBound), rows: matrix.rows,
            columns: range.count, stride: matrix.stride)
    }

    /// The first `rows` rows of a buffer.
    func matrix(_ tensor: Tensor, _ rows: Int, _ columns: Int) -> Matrix {
        Matrix(tensor.slice(0, rows * columns), rows: rows, columns: columns)
    }

    func shape(_ batch: ModelBatch) -> AttentionShape {
        let c = configuration
        return AttentionShape(
            rows: batch.rows, length: batch.length, heads: c.heads, kvHeads: c.keyValueHeads, d: c.headSize,
            qStride: c.qkvWidth, kStride: c.qkvWidth, vStride: c.qkvWidth)
    }

    /// q, k and v inside a buffer of rows of (H + 2·KV)·d; each reaches to the buffer's end. With a `stride` of
    /// (H + KV)·d there is no v.
    func split(_ qkv: Tensor, _ n: Int, stride: Int? = nil) -> (q: Tensor, k: Tensor, v: Tensor) {
        let c = configuration
        let (k, count) = (c.heads * c.headSize, n * (stride ?? c.qkvWidth))
        let v = stride == nil ? k + c.keyValueHeads * c.headSize : count
        return (qkv.slice(0, count), qkv.slice(k, count - k), qkv.slice(v, count - v))
    }
}
