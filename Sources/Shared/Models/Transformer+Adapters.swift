// Low-rank adapters, forward and backward. The adapters of matrices that share an input (queries, keys and values; gate and up)
// share one product with it; each B has a product of its own with the outputs that it adds to. x · Aᵀ is computed anew in the
// backward pass: a hundredth of the work of the matrix beside it, and nothing of it is kept for each layer.

import Kernels

extension Transformer {
    /// y (n, out) += s · (x (n, in) · Aᵀ) · Bᵀ, then the activation.
    func add(_ adapters: Adapters, of x: Matrix, to y: Matrix, activation: Activation?) {
        let low = reduced(x, adapters)
        precondition(
            activation == nil || adapters.outputs.count == 1 && adapters.outputs[0].columns.count == y.columns,
            "an activation of a part of a product")
        for index in adapters.outputs.indices {
            let part = columns(adapters.outputs[index].columns, of: y)
            engine.gemm(
                columns(adapters.columns(index), of: low), adapters.output(index), transposeB: true, into: part,
                base: part, precision: precision, activation: activation)
        }
    }

    /// From dy (n, out): dB = (`isFresh`) or += dyᵀ · s (x · Aᵀ); with dh = s (dy · B), dA likewise = dhᵀ · x and
    /// dx += dh · A, then the activation. What is not wanted is left out.
    func backward(
        _ adapters: Adapters, _ d: Adapters, _ t: TrainedParts.Affine, _ dy: Matrix, x: Matrix, dx: Matrix?,
        period: Int, isFresh: Bool, activation: Activation?
    ) {
        if t.adapterOutputs.contains(true) {
            let low = reduced(x, adapters)
            for index in adapters.outputs.indices where t.adapterOutputs[index] {
                let db = d.output(index)
                engine.gemm(
                    columns(adapters.outputs[index].columns, of: dy), transposeA: true,
                    columns(adapters.columns(index), of: low), into: db, base: isFresh ? nil : db, period: period,
                    precision: precision)
            }
        }
        if dx == nil && t.adapterInputs.isEmpty { return }
        let low = matrix(activations.adapters, dy.rows, adapters.count)
        for index in adapters.outputs.indices {
            engine.gemm(
                columns(adapters.outputs[index].columns, of: dy), adapters.output(index),
                into: columns(adapters.columns(index), of: low), precision: precision)
        }
        scale(low, adapters)
        for rows in t.adapterInputs {
            let da = d.input(rows)
            engine.gemm(
                columns(rows, of: low), transposeA: true, x, into: da, base: isFresh ? nil : da, period: period,
                precision: precision)
        }
        if let dx {
            engine.gemm(
                low, adapters.input(0..<adapters.count), into: dx, base: dx, precision: precision,
                activation: activation)
        }
    }

    /// s (x · Aᵀ) (n, targets · rank), in the passing buffer.
    private func reduced(_ x: Matrix, _ adapters: Adapters) -> Matrix {
        let low = matrix(activations.adapters, x.rows, adapters.count)
        engine.gemm(x, adapters.input(0..<adapters.count), transposeB: true, into: low, precision: precision)
        scale(low, adapters)
        return low
    }

    private func scale(_ low: Matrix, _ adapters: Adapters) {
        if adapters.scale != 1 { engine.combine(adapters.scale, low.tensor, 0, low.tensor) }
    }
}
