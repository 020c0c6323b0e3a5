// The matrix product. Shapes and the order of summation: CKernels.h, docs/numerics.md.

internal import CKernels

/// A matrix inside a tensor: `rows` × `columns`, a row every `stride` elements from `offset`.
public struct Matrix: Sendable {
    public let tensor: Tensor
    public let rows: Int
    public let columns: Int
    public let stride: Int

    /// The whole tensor as (rows, columns), or the columns from `column` of a wider one when `stride` is given.
    public init(_ tensor: Tensor, rows: Int, columns: Int, stride: Int? = nil) {
        let stride = stride ?? columns
        precondition(
            rows >= 0 && columns >= 0 && stride >= columns
                && (rows == 0 || (rows - 1) * stride + columns <= tensor.count),
            "a matrix (\(rows), \(columns)) with stride \(stride) in \(tensor.count) elements")
        self.tensor = tensor
        self.rows = rows
        self.columns = columns
        self.stride = stride
    }
}

/// What operands of matrix products are rounded to. Sums, results and everything else are fp32 in either.
public enum Precision: String, Sendable, CaseIterable {
    case fp32, bf16

    var code: mr_precision {
        switch self {
        case .fp32: MR_FP32
        case .bf16: MR_BF16
        }
    }
}

/// What becomes of the numbers of a product when they are finished; GELU in its tanh form (arXiv:1606.08415),
/// gelu(x) = x · σ(2u) with u = √(2/π) (x + 0.044715 x³).
public enum Activation: Sendable {
    /// gelu of the product goes to the matrix; the product stays.
    case gelu(into: Matrix)
    /// The product, the gradient of gelu(x), becomes that of x.
    case geluBackward(of: Matrix)

    var code: mr_activation {
        switch self {
        case .gelu: MR_GELU
        case .geluBackward: MR_GELU_BACKWARD
        }
    }

    var other: Matrix {
        switch self {
        case .gelu(let matrix), .geluBackward(let matrix): matrix
        }
    }
}

extension Engine {
    /// Floats of k whose products are added in one go; block sums are added to the result in order.
    public static let gemmBlock = Int(MR_GEMM_KC)

    /// `c` (m, n) = `base` + op(a) (m, k) · op(b) (k, n) + `bias`. `transposeA`: `a` is stored (k, m). `transposeB`: `b` is
    /// stored (n, k). O(m · n · k).
    /// - Parameters:
    ///   - base: (m, n), may be `c`; nil: nothing.
    ///   - bias: (n); nil: nothing.
    ///   - period: sums over k restart at each multiple (rows of a batch, so that gradients do not depend on how rows are
    ///     split); 0 = one period.
    ///   - precision: what numbers of `a` and `b` are rounded to.
    ///   - activation: what follows; its matrix is (m, n) and neither `c` nor an operand.
    public func gemm(
        _ a: Matrix, transposeA: Bool = false, _ b: Matrix, transposeB: Bool = false, into c: Matrix,
        base: Matrix? = nil, bias: Tensor? = nil, period: Int = 0, precision: Precision = .fp32,
        activation: Activation? = nil
    ) {
        let (m, k) = transposeA ? (a.columns, a.rows) : (a.rows, a.columns)
        let (kb, n) = transposeB ? (b.columns, b.rows) : (b.rows, b.columns)
        precondition(
            k == kb && m == c.rows && n == c.columns && period >= 0
                && (base.map { $0.rows == m && $0.columns == n } ?? true)
                && (bias.map { $0.count == n } ?? true)
                && (activation.map { $0.other.rows == m && $0.other.columns == n } ?? true),
            "(\(m), \(k)) · (\(kb), \(n)) into (\(c.rows), \(c.columns))")
        // SAFETY: each Matrix has checked that its rows lie inside its tensor.
        var product = unsafe mr_product(
            transpose_a: transposeA, transpose_b: transposeB, m: Int64(m), n: Int64(n), k: Int64(k),
            period: Int64(period), a: a.tensor.pointer, b: b.tensor.pointer, lda: Int64(a.stride), ldb: Int64(b.stride),
            base: base?.tensor.pointer, ldbase: Int64(base?.stride ?? 0), bias: bias?.pointer, c: c.tensor.pointer,
            ldc: Int64(c.stride), precision: precision.code, activation: activation?.code ?? MR_NO_ACTIVATION,
            other: activation?.other.tensor.pointer, ldother: Int64(activation?.other.stride ?? 0))
        unsafe mr_gemm(context, &product)
    }
}
