// Normalization and biases: the Swift face of norms.c. Sizes are checked here, once a call. n counts tokens.

internal import CKernels

extension Engine {
    /// y = x · rstd · w with rstd = 1 / sqrt(mean(x²) + epsilon) (RMSNorm, arXiv:1910.07467). x, y are (n, c), w is (c),
    /// rstd is (n).
    public func rmsnorm(_ x: Tensor, weight w: Tensor, epsilon: Float, y: Tensor, rstd: Tensor) {
        let (n, c) = (rstd.count, w.count)
        precondition(x.count == n * c && y.count == n * c, "rmsnorm of (\(n), \(c)): x \(x.count), y \(y.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_rmsnorm_forward(
            context, Int64(n), Int64(c), x.pointer, w.pointer, epsilon, y.pointer, rstd.pointer)
    }

    /// dx += and dw +=. dw takes one sum for each `period` rows (0: all n).
    public func rmsnormBackward(
        _ x: Tensor, weight w: Tensor, rstd: Tensor, dy: Tensor, period: Int = 0, dx: Tensor, dw: Tensor
    ) {
        let (n, c) = (rstd.count, w.count)
        precondition(
            x.count == n * c && dy.count == n * c && dx.count == n * c && dw.count == c && period >= 0,
            "rmsnorm of (\(n), \(c)): x \(x.count), dy \(dy.count), dx \(dx.count), dw \(dw.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_rmsnorm_backward(
            context, Int64(n), Int64(c), Int64(period), x.pointer, w.pointer, rstd.pointer, dy.pointer, dx.pointer,
            dw.pointer)
    }

    /// RMSNorm of each of `heads` heads of width d = w.count, in place, all with the same weight (Qwen3, arXiv:2505.09388).
    /// Tokens of x are `stride` floats apart; `kept` takes x as it was, tokens `keptStride` apart; rstd is (n, heads).
    public func headNorm(
        _ x: Tensor, stride: Int, heads: Int, weight w: Tensor, epsilon: Float, kept: Tensor, stride keptStride: Int,
        rstd: Tensor
    ) {
        let (n, d) = (rstd.count / heads, w.count)
        precondition(
            rstd.count == n * heads && holds(x, n, stride, heads * d) && holds(kept, n, keptStride, heads * d),
            "norm of \(heads) heads of \(n) tokens: x \(x.count), kept \(kept.count), rstd \(rstd.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_head_norm_forward(
            context, Int64(n), Int64(heads), Int64(d), x.pointer, Int64(stride), w.pointer, epsilon, kept.pointer,
            Int64(keptStride), rstd.pointer)
    }

    /// dy becomes dx in place; dw += takes one sum for each `period` tokens (0: all n).
    public func headNormBackward(
        _ x: Tensor, stride xStride: Int, heads: Int, weight w: Tensor, rstd: Tensor, dy: Tensor,
        stride yStride: Int, period: Int = 0, dw: Tensor
    ) {
        let (n, d) = (rstd.count / heads, w.count)
        precondition(
            rstd.count == n * heads && holds(x, n, xStride, heads * d) && holds(dy, n, yStride, heads * d)
                && dw.count == d && period >= 0,
            "norm of \(heads) heads of \(n) tokens: x \(x.count), dy \(dy.count), rstd \(rstd.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_head_norm_backward(
            context, Int64(n), Int64(heads), Int64(d), Int64(period), x.pointer, Int64(xStride), w.pointer,
            rstd.pointer, dy.pointer, Int64(yStride), dw.pointer)
    }

    /// y = (x − mean) · rstd · w + b with rstd = 1 / sqrt(mean((x − mean)²) + epsilon) (LayerNorm, arXiv:1607.06450).
    /// x, y are (n, c), w and b (c), mean and rstd (n).
    public func layernorm(
        _ x: Tensor, weight w: Tensor, bias b: Tensor, epsilon: Float, y: Tensor, mean: Tensor, rstd: Tensor
    ) {
        let (n, c) = (rstd.count, w.count)
        precondition(
            x.count == n * c && y.count == n * c && b.count == c && mean.count == n,
            "layernorm of (\(n), \(c)): x \(x.count), y \(y.count), mean \(mean.count), bias \(b.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_layernorm_forward(
            context, Int64(n), Int64(c), x.pointer, w.pointer, b.pointer, epsilon, y.pointer, mean.pointer,
            rstd.pointer)
    }

    /// dx +=, dw +=, db +=. dw and db take one sum for each `period` rows (0: all n).
    public func layernormBackward(
        _ x: Tensor, weight w: Tensor, mean: Tensor, rstd: Tensor, dy: Tensor, period: Int = 0, dx: Tensor,
        dw: Tensor, db: Tensor
    ) {
        let (n, c) = (rstd.count, w.count)
        precondition(
            x.count == n * c && dy.count == n * c && dx.count == n * c && dw.count == c && db.count == c
                && mean.count == n && period >= 0,
            "layernorm of (\(n), \(c)): x \(x.count), dy \(dy.count), dx \(dx.count), dw \(dw.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_layernorm_backward(
            context, Int64(n), Int64(c), Int64(period), x.pointer, w.pointer, mean.pointer, rstd.pointer, dy.pointer,
            dx.pointer, dw.pointer, db.pointer)
    }

    /// db (c) += the sum of the rows of dy (n, c), one sum for each `period` rows (0: all n).
    public func biasBackward(_ dy: Tensor, period: Int = 0, db: Tensor) {
        precondition(
            db.count > 0 && dy.count % db.count == 0 && period >= 0, "a bias of \(db.count) on \(dy.count) floats")
        // SAFETY: the extents were checked.
        unsafe mr_bias_backward(
            context, Int64(dy.count / db.count), Int64(db.count), Int64(period), dy.pointer, db.pointer)
    }

    /// Whether n tokens of `width` floats, `stride` apart, lie inside.
    private func holds(_ x: Tensor, _ n: Int, _ stride: Int, _ width: Int) -> Bool {
        stride >= width && (n == 0 || x.count >= (n - 1) * stride + width)
    }
}
