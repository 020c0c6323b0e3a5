// The forward pass of one new position against cached keys and values. Its sums run in the order of the whole pass, so
// a sequence fed id by id has the bits of one forward pass over it.

import Kernels

extension Transformer {
    /// One position through all layers. `cache` stores a layer's new key and value, which lie behind the query in `qkv`,
    /// and gives back all keys and values so far and their number.
    func decode(
        _ batch: ModelBatch, rotary: (cosine: Tensor, sine: Tensor),
        cache: (_ layer: Int, _ qkv: Tensor) -> (keys: Tensor, values: Tensor, count: Int)
    ) {
        let c = configuration
        let (hidden, width, inner) = (c.hiddenSize, c.heads * c.headSize, c.intermediateSize)
        let epsilon = Float(c.normEpsilon)
        let a = activations.layers[0]
        let x = a.residual.slice(0, hidden)
        let middle = a.middle.slice(0, hidden)
        engine.embedding(weights.embedding, c: hidden, ids: batch.inputs.slice(0, 1), out: x)
        for (index, w) in weights.layers.enumerated() {
            engine.rmsnorm(
                x, weight: w.norm1, epsilon: epsilon, y: a.norm1.slice(0, hidden), rstd: a.rstd1.slice(0, 1))
            engine.gemm(
                matrix(a.norm1, 1, hidden), matrix(w.qkv, qkvWidth, hidden), transposeB: true,
                into: matrix(a.qkv, 1, qkvWidth))
            engine.rope(
                a.qkv.slice(0, qkvWidth), heads: c.heads + c.keyValueHeads, d: c.headSize, stride: qkvWidth,
                positions: batch.position.slice(0, 1), cosine: rotary.cosine, sine: rotary.sine)
            let past = cache(index, a.qkv)
            engine.attentionDecode(
                count: past.count, heads: c.heads, kvHeads: c.keyValueHeads, d: c.headSize,
                scale: 1 / Float(c.headSize).squareRoot(), q: a.qkv.slice(0, width), k: past.keys, v: past.values,
                out: a.attention.slice(0, width))
            middle.copy(x)
            engine.gemm(
                matrix(a.attention, 1, width), matrix(w.output, hidden, width), transposeB: true,
                into: matrix(a.middle, 1, hidden), accumulate: true)
            engine.rmsnorm(
                middle, weight: w.norm2, epsilon: epsilon, y: a.norm2.slice(0, hidden), rstd: a.rstd2.slice(0, 1))
            engine.gemm(
                matrix(a.norm2, 1, hidden), matrix(w.gateUp, 2 * inner, hidden), transposeB: true,
                into: matrix(a.gateUp, 1, 2 * inner))
            engine.swiglu(a.gateUp.slice(0, 2 * inner), width: inner, out: a.product.slice(0, inner))
            x.copy(middle)
            engine.gemm(
                matrix(a.product, 1, inner), matrix(w.down, hidden, inner), transposeB: true,
                into: matrix(a.residual, 1, hidden), accumulate: true)
        }
        engine.rmsnorm(
            x, weight: weights.norm, epsilon: epsilon, y: activations.finalNorm.slice(0, hidden),
            rstd: activations.finalRstd.slice(0, 1))
    }

    /// Logits (V) of one position's last norm.
    func headLogits(of position: Int, into logits: Tensor) {
        let (v, hidden) = (configuration.vocabularySize, configuration.hiddenSize)
        engine.gemm(
            Matrix(activations.finalNorm.slice(position * hidden, hidden), rows: 1, columns: hidden),
            Matrix(weights.head, rows: v, columns: hidden), transposeB: true,
            into: Matrix(logits, rows: 1, columns: v))
    }
}
