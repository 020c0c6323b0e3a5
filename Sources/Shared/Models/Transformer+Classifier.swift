// The head, a chunk of positions at a time: logits, loss, and the logits turned into their own gradient in place, so that
// no buffer of (N, V) exists.

import Kernels

extension Transformer {
    /// Losses of all positions; with `gradients` also the head's gradient and, in `backward.norm`, that of the last
    /// norm's output. False when interrupted.
    @discardableResult
    func classify(
        _ batch: ModelBatch, losses: Tensor, gradients: Gradients?, isInterrupted: () -> Bool = { false }
    ) -> Bool {
        let (v, c) = (configuration.vocabularySize, configuration.hiddenSize)
        let head = Matrix(weights.head, rows: v, columns: c)
        let length = batch.length
        let chunk = Activations.chunk(limit: activations.logits.count / v, rows: batch.rows, length: length)
        var start = 0
        while start < batch.count {
            if isInterrupted() { return false }
            // A chunk is whole rows, or a part of one row.
            let end = chunk >= length ? batch.count : (start / length + 1) * length
            let count = min(chunk, end - start)
            let x = Matrix(activations.finalNorm.slice(start * c, count * c), rows: count, columns: c)
            let logits = Matrix(activations.logits.slice(0, count * v), rows: count, columns: v)
            engine.gemm(x, head, transposeB: true, into: logits, precision: precision)
            tap?(.head, logits.tensor)
            engine.crossEntropy(
                logits.tensor, v: v, targets: batch.targets.slice(start, count),
                weights: batch.weight.slice(start, count), losses: losses.slice(start, count),
                gradient: gradients != nil)
            if let gradients, let backward = activations.backward, gradients.parts.needsStream {
                engine.gemm(
                    logits, head, into: Matrix(backward.norm.slice(start * c, count * c), rows: count, columns: c),
                    precision: precision)
            }
            if let gradients, gradients.parts.head {
                let d = Matrix(gradients.weights.head, rows: v, columns: c)
                engine.gemm(
                    logits, transposeA: true, x, into: d, base: gradients.isFresh && start == 0 ? nil : d,
                    period: min(length, count), precision: precision)
            }
            start += count
        }
        return true
    }
}
