// The forward pass of one new position against cached keys and values. Its sums run in the order of the whole pass, so
// a sequence fed id by id has the bits of one forward pass over it.

import Kernels

extension Transformer {
    /// One position through all layers. `cache` stores a layer's new key and value, which lie behind the query in `qkv`,
    /// and gives back all keys and values so far and their number.
    func decode(
        _ batch: ModelBatch, table: RotaryTable?,
        cache: (_ layer: Int, _ qkv: Tensor) -> (keys: Tensor, values: Tensor, count: Int)
    ) {
        let c = configuration
        let width = c.heads * c.headSize
        withoutActuallyEscaping(cache) { cache in
            _ = forward(batch, keeping: false, table: table) { [self] layer, a in
                let past = cache(layer, a.qkv)
                engine.attentionDecode(
                    count: past.count, heads: c.heads, kvHeads: c.keyValueHeads, d: c.headSize,
                    scale: 1 / Float(c.headSize).squareRoot(), q: a.qkv.slice(0, width), k: past.keys, v: past.values,
                    out: a.attention.slice(0, width))
            }
        }
    }

    /// Logits (V) of one position's last norm.
    func headLogits(of position: Int, into logits: Tensor) {
        let (v, hidden) = (configuration.vocabularySize, configuration.hiddenSize)
        engine.gemm(
            Matrix(activations.finalNorm.slice(position * hidden, hidden), rows: 1, columns: hidden),
            Matrix(weights.head, rows: v, columns: hidden), transposeB: true,
            into: Matrix(logits, rows: 1, columns: v), precision: precision)
    }
}
