// The parameters (or their gradients) by their place in the network: slices of the flat array.

import Kernels

extension Transformer {
    /// y = x · Wᵀ + b, where W is stored (out, in); or y = x · W + b, where it is stored (in, out). Adapters add to it.
    struct Affine {
        let weight: Tensor
        let bias: Tensor?
        let inputs, outputs: Int
        let isInputMajor: Bool
        /// Outputs that have no place in `weight`: gradients of what never learns.
        var missing: [Range<Int>] = []
        var adapters: Adapters?

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
            return Transformer.rows(range, of: weight, width: inputs, missing: missing)
        }
    }

    /// y += s · (x · Aᵀ) · Bᵀ: what stands beside the matrices of an `Affine`.
    struct Adapters {
        /// Each A (rank, in), one below the other.
        let inputs: Tensor
        let width, rank: Int
        /// Rows that have no place in `inputs`: gradients of what never learns.
        let missing: [Range<Int>]
        /// Each B (out, rank), and the outputs that it adds to.
        let outputs: [(columns: Range<Int>, matrix: Tensor)]
        /// s.
        let scale: Float

        /// All rows of all A.
        var count: Int { outputs.count * rank }
        /// Rows of A.
        func input(_ range: Range<Int>) -> Matrix {
            Transformer.rows(range, of: inputs, width: width, missing: missing)
        }
        /// B of a target.
        func output(_ index: Int) -> Matrix {
            Matrix(outputs[index].matrix, rows: outputs[index].columns.count, columns: rank)
        }
        /// The columns of x · Aᵀ that belong to a target.
        func columns(_ index: Int) -> Range<Int> { index * rank..<(index + 1) * rank }
    }

    /// Rows of a matrix whose `missing` ones have no place.
    private static func rows(
        _ range: Range<Int>, of weight: Tensor, width: Int, missing: [Range<Int>]
    ) -> Matrix {
        let start = range.lowerBound - missing.reduce(0) { $0 + ($1.upperBound <= range.lowerBound ? $1.count : 0) }
        return Matrix(weight.slice(start * width, range.count * width), rows: range.count, columns: width)
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
            /// What of rows of `width` has a place, and which rows have none.
            func rows(_ range: Range<Int>, _ width: Int) -> (weight: Tensor, missing: [Range<Int>]) {
                guard let places, places.place(of: range) == nil else { return (cut(range), []) }
                let kept = places.parts(of: range)
                let first = kept.first.flatMap { places.place(of: $0)?.lowerBound } ?? 0
                var (missing, end): ([Range<Int>], Int) = ([], 0)
                for part in kept + [range.upperBound..<range.upperBound] {
                    let (from, to) = (
                        (part.lowerBound - range.lowerBound) / width, (part.upperBound - range.lowerBound) / width
                    )
                    if from > end { missing.append(end..<from) }
                    end = to
                }
                // Neighbours that have a place lie together.
                return (flat.slice(first, kept.reduce(0) { $0 + $1.count }), missing)
            }
            func adapters(_ places: ParameterLayout.Adapters, _ inputs: Int) -> Adapters? {
                guard let adapters = c.adapters else { return nil }
                let a = rows(places.inputs, inputs)
                return Adapters(
                    inputs: a.weight, width: inputs, rank: adapters.rank, missing: a.missing,
                    outputs: places.outputs.map { ($0.columns, cut($0.weight)) }, scale: Float(adapters.scale))
            }
            func affine(_ pair: ParameterLayout.Pair, _ inputs: Int, _ outputs: Int) -> Affine {
                // A matrix stored (in, out) stands alone: it has a place or has none.
                let w = c.isInputMajor ? (weight: cut(pair.weight), missing: []) : rows(pair.weight, inputs)
                return Affine(
                    weight: w.weight, bias: pair.bias.map(cut), inputs: inputs, outputs: outputs,
                    isInputMajor: c.isInputMajor, missing: w.missing,
                    adapters: pair.adapters.flatMap { adapters($0, inputs) })
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
