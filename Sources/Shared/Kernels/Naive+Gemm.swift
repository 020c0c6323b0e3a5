// The twin of the matrix product.

extension Naive {
    /// As `Engine.gemm`, over row-major arrays: `a` (m, k) or (k, m), `b` (k, n) or (n, k), `c` (m, n). With
    /// `accumulate` the base is `c` itself, else there is none.
    public static func gemm(
        m: Int, n: Int, k: Int, _ a: [Float], transposeA: Bool, _ b: [Float], transposeB: Bool, into c: inout [Float],
        accumulate: Bool, bias: [Float]? = nil, period: Int
    ) {
        let period = period == 0 ? max(k, 1) : period
        for i in 0..<m {
            for j in 0..<n {
                var result = accumulate ? c[i * n + j] : 0
                var isFirst = !accumulate
                for begin in stride(from: 0, to: k, by: period) {
                    let end = min(begin + period, k)
                    for block in stride(from: begin, to: end, by: Engine.gemmBlock) {
                        var sum: Float = 0
                        for l in block..<min(block + Engine.gemmBlock, end) {
                            sum.addProduct(
                                transposeA ? a[l * m + i] : a[i * k + l], transposeB ? b[j * k + l] : b[l * n + j])
                        }
                        result = isFirst ? sum : result + sum
                        isFirst = false
                    }
                }
                c[i * n + j] = bias.map { result + $0[j] } ?? result
            }
        }
    }
}
