// The parameters (or their gradients) by their place in the network: slices of the flat array.

import Kernels

extension Transformer {
    /// y = x · Wᵀ + b, where W is stored (out, in); or y = x · W + b, where it is stored (in, out).
    struct Affine {
        let weight: Tensor
        let bias: Tensor?
        let inputs, outputs: Int
        let isInputMajor: Bool
        /// Outputs that have no place in `weight`: gradients of what never learns.
        var missing: [Range<Int>] = []

        var matrix: Matrix {
            isInputMajor
                ? Matrix(weight, rows: inputs, columns: outputs) : Matrix(weight, rows: outputs, columns: inputs)
        }

        /// The weights of some outputs.
        func matrix(_ range: Range<Int>) -> Matrix {
            if isInputMajor {
                return Matrix(
                    weight.slice(range.lowerBound, weight.count - range.lowerBound), rows: inputs,
                    columns: range.count, stride: outputs)
            }
            let start =
                range.lowerBound - missing.reduce(0) { $0 + ($1.upperBound <= range.lowerBound ? $1.count : 0) }
            return Matrix(weight.slice(start * inputs, range.count * inputs), rows: range.count, columns: inputs)
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

        /// Cuts `flat` (parameters or gradients) as the layout says.
        /// - Parameters:
        ///   - places: where they lie when `flat` holds gradients; what has no place is empty.
        ///   - gather: stands for the embedding where the head, which is tied to it, has its place in `flat`.
        init(
            _ flat: Tensor, _ layout: ParameterLayout, _ c: ModelConfiguration, places: GradientLayout? = nil,
            gather: Tensor? = nil
        ) {
            func cut(_ range: Range<Int>) -> Tensor {
                guard let places else { return flat.slice(range.lowerBound, range.count) }
                let place = places.place(of: range) ?? 0..<0
                return flat.slice(place.lowerBound, place.count)
            }
            func norm(_ pair: ParameterLayout.Pair) -> Norm {
                Norm(weight: cut(pair.weight), bias: pair.bias.map(cut))
            }
            func affine(_ pair: ParameterLayout.Pair, _ inputs: Int, _ outputs: Int) -> Affine {
                var affine = Affine(
                    weight: cut(pair.weight), bias: pair.bias.map(cut), inputs: inputs, outputs: outputs,
                    isInputMajor: c.isInputMajor)
                guard let parts = places?.parts(of: pair.weight), parts != [pair.weight] else { return affine }
                // Some of matrices side by side: what there is of them lies together.
                let kept = parts.map { range in
                    (range.lowerBound - pair.weight.lowerBound) / inputs..<(range.upperBound
                        - pair.weight.lowerBound) / inputs
                }
                let first = parts.first.flatMap { places?.place(of: $0)?.lowerBound } ?? 0
                affine = Affine(
                    weight: flat.slice(first, parts.reduce(0) { $0 + $1.count }), bias: affine.bias, inputs: inputs,
                    outputs: outputs, isInputMajor: c.isInputMajor)
                var end = 0
                for range in kept + [outputs..<outputs] {
                    if range.lowerBound > end { affine.missing.append(end..<range.lowerBound) }
                    end = range.upperBound
                }
                return affine
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
