// The nearest orthogonal matrix, about: what Muon replaces a matrix's momentum with. Five steps of a Newton-Schulz
// iteration, all of it matrix products, whose bits are those of the engine's: the same on any number of threads and any
// instruction set.

public import Kernels

/// Buffers for orthogonalizing the largest of some matrices. Nothing is allocated afterwards.
public final class NewtonSchulz {
    /// p(σ) = aσ + bσ³ + cσ⁵, which drives singular values into about 0.7 … 1.2 in five steps (Jordan et al. 2024).
    static let (a, b, c): (Float, Float, Float) = (3.4445, -4.775, 2.0315)
    static let steps = 5
    /// Added to the norm that the matrix is divided by.
    static let epsilon = 1e-7

    /// Takes the matrix to be made orthogonal.
    public let input: Tensor
    private let other: Tensor
    private let gram, square: Tensor

    public init(largestOf shapes: [ParameterGroup.Shape]) {
        let (count, gramCount) = NewtonSchulz.counts(shapes)
        input = Tensor(zeroed: count)
        other = Tensor(zeroed: count)
        gram = Tensor(zeroed: gramCount)
        square = Tensor(zeroed: gramCount)
    }

    /// Bytes held.
    static func bytes(_ shapes: [ParameterGroup.Shape]) -> Int {
        let (count, gramCount) = counts(shapes)
        return 8 * (count + gramCount)
    }

    private static func counts(_ shapes: [ParameterGroup.Shape]) -> (matrix: Int, gram: Int) {
        let small = shapes.map { min($0.rows, $0.columns) }.max() ?? 0
        return (shapes.map { $0.rows * $0.columns }.max() ?? 0, small * small)
    }

    /// Makes a matrix of that shape, given in `input`, orthogonal: X = X / (‖X‖ + ε), then five times
    /// X = (a·1 + b·A + c·A²) X with A = X Xᵀ; a tall matrix is multiplied from the right, with A = Xᵀ X, so that A is the
    /// smaller one. O(rows · columns · min(rows, columns)).
    /// - Returns: a view of one of the two buffers, valid until the next call.
    public func orthogonalize(_ shape: ParameterGroup.Shape, _ engine: Engine) -> Tensor {
        let (rows, columns) = (shape.rows, shape.columns)
        let (isTall, side) = (rows > columns, min(rows, columns))
        var (x, next) = (input.slice(0, rows * columns), other.slice(0, rows * columns))
        let norm = engine.sumOfSquares(x).squareRoot()
        engine.combine(Float(1 / (norm + NewtonSchulz.epsilon)), x, 0, x)
        let gram = Matrix(gram.slice(0, side * side), rows: side, columns: side)
        let square = Matrix(square.slice(0, side * side), rows: side, columns: side)
        for _ in 0..<NewtonSchulz.steps {
            let matrix = Matrix(x, rows: rows, columns: columns)
            engine.gemm(matrix, transposeA: isTall, matrix, transposeB: !isTall, into: gram)
            engine.gemm(gram, gram, into: square)
            engine.combine(NewtonSchulz.b, gram.tensor, NewtonSchulz.c, square.tensor)
            for index in 0..<side { square.tensor[index * (side + 1)] += NewtonSchulz.a }
            let product = Matrix(next, rows: rows, columns: columns)
            if isTall {
                engine.gemm(matrix, square, into: product)
            } else {
                engine.gemm(square, matrix, into: product)
            }
            (x, next) = (next, x)
        }
        return x
    }
}
