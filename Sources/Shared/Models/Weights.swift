// The parameters (or their gradients) by their place in the network: slices of the flat array.

import Kernels

extension Transformer {
    /// y = x · Wᵀ + b, where W is stored (out, in); or y = x · W + b, where it is stored (in, out).
    struct Affine {
        let weight: Tensor
        let bias: Tensor?
        let inputs, outputs: Int
        let isInputMajor: Bool

        var matrix: Matrix {
            isInputMajor
                ? Matrix(weight, rows: inputs, columns: outputs) : Matrix(weight, rows: outputs, columns: inputs)
        }

        /// The weights of some outputs.
        func matrix(_ range: Range<Int>) -> Matrix {
            isInputMajor
                ? Matrix(
                    weight.slice(range.lowerBound, weight.count - range.lowerBound), rows: inputs,
                    columns: range.count, stride: outputs)
                : Matrix(
                    weight.slice(range.lowerBound * inputs, range.count * inputs), rows: range.count, columns: inputs)
        }
    }

    /// A norm's weight, and its bias when it is a LayerNorm.
    struct Norm {
        let weight: Tensor
        let bias: Tensor?
    }

    struct Weights {
        struct Layer {
            let norm1: Norm
            /// q, k and v at once.
            let queryKeyValue: Affine
            /// Of each head of queries and keys; nil when heads are not normalized.
            let queryNorm, keyNorm: Tensor?
            let output: Affine
            let norm2: Norm
            /// Gate and up at once, or the one projection of a GELU block.
            let up: Affine
            let down: Affine
        }
        let embedding: Tensor
        let positions: Tensor?
        let layers: [Layer]
        let norm: Norm
        let head: Tensor

        /// Cuts `flat` (parameters or gradients) as the layout says. `gather` stands for the embedding where the head, which
        /// is tied to it, has its place in `flat`.
        init(_ flat: Tensor, _ layout: ParameterLayout, _ c: ModelConfiguration, gather: Tensor? = nil) {
            func cut(_ range: Range<Int>) -> Tensor { flat.slice(range.lowerBound, range.count) }
            func norm(_ pair: ParameterLayout.Pair) -> Norm {
                Norm(weight: cut(pair.weight), bias: pair.bias.map(cut))
            }
            func affine(_ pair: ParameterLayout.Pair, _ inputs: Int, _ outputs: Int) -> Affine {
                Affine(
                    weight: cut(pair.weight), bias: pair.bias.map(cut), inputs: inputs, outputs: outputs,
                    isInputMajor: c.isInputMajor)
            }
            embedding = gather ?? cut(layout.embedding)
            positions = layout.positions.map(cut)
            layers = layout.layers.map { layer in
                Layer(
                    norm1: norm(layer.norm1), queryKeyValue: affine(layer.queryKeyValue, c.hiddenSize, c.qkvWidth),
                    queryNorm: layer.queryNorm.map(cut), keyNorm: layer.keyNorm.map(cut),
                    output: affine(layer.output, c.heads * c.headSize, c.hiddenSize), norm2: norm(layer.norm2),
                    up: affine(layer.up, c.hiddenSize, c.upWidth),
                    down: affine(layer.down, c.intermediateSize, c.hiddenSize))
            }
            self.norm = norm(layout.norm)
            head = cut(layout.head ?? layout.embedding)
        }
    }
}

extension ModelConfiguration {
    /// Floats of q, k and v of one position.
    var qkvWidth: Int { (heads + 2 * keyValueHeads) * headSize }
    /// Floats of q and k of one position: the heads that may be normalized.
    var normalizedWidth: Int { (heads + keyValueHeads) * headSize }
    /// Floats that enter the activation function: gate and up, or one projection.
    var upWidth: Int { feedForward == .swiGLU ? 2 * intermediateSize : intermediateSize }
}
