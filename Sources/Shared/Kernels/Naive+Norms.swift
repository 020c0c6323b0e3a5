// The scalar twins of norms.c. Matrices are row-major arrays; gradients that the kernel adds to are `inout`.

extension Naive {
    /// y = x · r · w with r = 1 / sqrt(mean(x²) + epsilon), a row of `w.count` at a time (arXiv:1910.07467). On heads that
    /// lie side by side this is also the head norm.
    public static func rmsnorm(_ x: [Float], _ w: [Float], epsilon: Float) -> (y: [Float], rstd: [Float]) {
        let c = w.count
        var y = x
        var rstd: [Float] = []
        for row in stride(from: 0, to: x.count, by: c) {
            let r = 1 / (dot(x[row..<row + c], x[row..<row + c]) / Float(c) + epsilon).squareRoot()
            for i in 0..<c { y[row + i] = x[row + i] * r * w[i] }
            rstd.append(r)
        }
        return (y, rstd)
    }

    /// With h = x · r and g = dy · w: dx += r · (g − h · mean(g · h)); dw += Σ dy · h, one sum a period of rows
    /// (0: all rows are one period).
    public static func rmsnormBackward(
        _ x: [Float], _ w: [Float], rstd: [Float], dy: [Float], period: Int, dx: inout [Float], dw: inout [Float]
    ) {
        let c = w.count
        var sums = [Float](repeating: 0, count: c)
        for (row, r) in rstd.enumerated() {
            let start = row * c
            let g = (0..<c).map { dy[start + $0] * w[$0] }
            let h = (0..<c).map { x[start + $0] * r }
            let minusMean = -(dot(g[...], h[...]) / Float(c))
            for i in 0..<c {
                dx[start + i] = dx[start + i].addingProduct(g[i].addingProduct(h[i], minusMean), r)
                sums[i] = sums[i].addingProduct(dy[start + i], h[i])
            }
            if endsPeriod(row, of: rstd.count, period) {
                for i in 0..<c { dw[i] += sums[i] }
                sums = [Float](repeating: 0, count: c)
            }
        }
    }

    /// y = (x − mean) · r · w + b with r = 1 / sqrt(mean((x − mean)²) + epsilon) (arXiv:1607.06450).
    public static func layernorm(
        _ x: [Float], _ w: [Float], _ b: [Float], epsilon: Float
    ) -> (y: [Float], mean: [Float], rstd: [Float]) {
        let c = w.count
        var y = x
        var (means, rstd): ([Float], [Float]) = ([], [])
        for row in stride(from: 0, to: x.count, by: c) {
            let mean = sum(x[row..<row + c]) / Float(c)
            let centred = x[row..<row + c].map { $0 - mean }
            let r = 1 / (dot(centred[...], centred[...]) / Float(c) + epsilon).squareRoot()
            for i in 0..<c { y[row + i] = b[i].addingProduct(centred[i] * r, w[i]) }
            means.append(mean)
            rstd.append(r)
        }
        return (y, means, rstd)
    }

    /// With h = (x − mean) · r and g = dy · w: dx += r · (g − mean(g) − h · mean(g · h)); dw += Σ dy · h and db += Σ dy,
    /// one sum a period of rows (0: all rows are one period).
    public static func layernormBackward(
        _ x: [Float], _ w: [Float], mean: [Float], rstd: [Float], dy: [Float], period: Int, dx: inout [Float],
        dw: inout [Float], db: inout [Float]
    ) {
        let c = w.count
        var (products, sums) = ([Float](repeating: 0, count: c), [Float](repeating: 0, count: c))
        for (row, r) in rstd.enumerated() {
            let start = row * c
            let g = (0..<c).map { dy[start + $0] * w[$0] }
            let h = (0..<c).map { (x[start + $0] - mean[row]) * r }
            let meanOfG = sum(g[...]) / Float(c)
            let minusMean = -(dot(g[...], h[...]) / Float(c))
            for i in 0..<c {
                dx[start + i] = dx[start + i].addingProduct((g[i] - meanOfG).addingProduct(h[i], minusMean), r)
                products[i] = products[i].addingProduct(dy[start + i], h[i])
                sums[i] += dy[start + i]
            }
            if endsPeriod(row, of: rstd.count, period) {
                for i in 0..<c {
                    dw[i] += products[i]
                    db[i] += sums[i]
                }
                (products, sums) = ([Float](repeating: 0, count: c), [Float](repeating: 0, count: c))
            }
        }
    }

    /// db += the sum of the rows of dy, one sum a period of rows (0: all rows are one period).
    public static func biasBackward(_ dy: [Float], period: Int, db: inout [Float]) {
        let c = db.count
        var sums = [Float](repeating: 0, count: c)
        for row in 0..<dy.count / c {
            for i in 0..<c { sums[i] += dy[row * c + i] }
            if endsPeriod(row, of: dy.count / c, period) {
                for i in 0..<c { db[i] += sums[i] }
                sums = [Float](repeating: 0, count: c)
            }
        }
    }

    private static func endsPeriod(_ row: Int, of rows: Int, _ period: Int) -> Bool {
        row + 1 == rows || (period > 0 && (row + 1) % period == 0)
    }
}
