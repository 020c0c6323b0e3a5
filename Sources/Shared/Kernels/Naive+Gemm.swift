// The twin of the matrix product.

extension Naive {
    /// As `Engine.gemm`, over row-major arrays: `a` (m, k) or (k, m), `b` (k, n) or (n, k), `c` (m, n). With
    /// `accumulate` the base is `c` itself, else there is none.
    public static func gemm(
        m: Int, n: Int, k: Int, _ a: [Float], transposeA: Bool, _ b: [Float], transposeB: Bool, into c: inout [Float],
        accumulate: Bool, bias: [Float]? = nil, period: Int, precision: Precision = .fp32
    ) {
        let period = period == 0 ? max(k, 1) : period
        let (a, b) = precision == .bf16 ? (a.map(roundedToBF16), b.map(roundedToBF16)) : (a, b)
        // Each block's steps of k in their order.
        let blocks = stride(from: 0, to: k, by: period).flatMap { begin in
            let end = min(begin + period, k)
            return stride(from: begin, to: end, by: Engine.gemmBlock).map { block in
                let steps = block..<min(block + Engine.gemmBlock, end)
                return precision == .bf16 ? pairwise(steps) : Array(steps)
            }
        }
        for i in 0..<m {
            for j in 0..<n {
                var result = accumulate ? c[i * n + j] : 0
                var isFirst = !accumulate
                for block in blocks {
                    var sum: Float = 0
                    for l in block {
                        sum.addProduct(
                            transposeA ? a[l * m + i] : a[i * k + l], transposeB ? b[j * k + l] : b[l * n + j])
                    }
                    result = isFirst ? sum : result + sum
                    isFirst = false
                }
                c[i * n + j] = bias.map { result + $0[j] } ?? result
            }
        }
    }

    /// To nearest, ties to even; what is not a number stays so.
    static func roundedToBF16(_ x: Float) -> Float {
        if x.isNaN { return x }
        let bits = x.bitPattern
        return Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
    }

    /// 1, 0, 3, 2 … counted from the beginning: the order of products of bf16. (Subnormal numbers, which count as zero there,
    /// are not in this twin.)
    private static func pairwise(_ steps: Range<Int>) -> [Int] {
        stride(from: steps.lowerBound, to: steps.upperBound, by: 2).flatMap { l in
            l + 1 < steps.upperBound ? [l + 1, l] : [l]
        }
    }
}
