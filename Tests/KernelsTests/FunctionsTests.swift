// exp and ln: the kernels against their twin bit by bit, the twins against the C library's in Double.

import Kernels
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite struct FunctionsTests {
    /// Distance in units of the last place of the true result.
    static func ulps(_ value: Float, _ truth: Double) -> Double {
        abs(Double(value) - truth) / Double(Float(truth).ulp)
    }

    @Test func exponentialIsWithinTwoUlps() {
        var worst = 0.0
        for i in 0..<400_000 {
            let x = -87.33 + Float(i) * (176.05 / 400_000)
            worst = max(worst, Self.ulps(Naive.exponential(x), exp(Double(x))))
        }
        #expect(worst < 1.5, "\(worst) ulp")
    }

    @Test func exponentialAtTheEdges() {
        #expect(Naive.exponential(Float(0)) == 1)
        #expect(Naive.exponential(-Float(0)) == 1)
        #expect(Naive.exponential(-Float.infinity) == 0)
        #expect(Naive.exponential(Float.infinity) == .infinity)
        #expect(Naive.exponential(Float.nan).isNaN)
        #expect(Naive.exponential(Float(-87.4)) == 0)
        #expect(Naive.exponential(Float(-87.3365402)) >= .leastNormalMagnitude)
        #expect(Naive.exponential(Float(88.7228317)).isFinite)
        #expect(Naive.exponential(Float(88.73)) == .infinity)
        #expect(Naive.exponential(-Float.greatestFiniteMagnitude) == 0)
    }

    @Test func logarithmIsWithinTwoUlps() {
        var worst = 0.0
        for i in 0..<300_000 {
            let x = Float(bitPattern: 0x0080_0000 + UInt32(i) * 7000)
            guard x != 1, x.isFinite else { continue }
            worst = max(worst, Self.ulps(Naive.logarithm(x), log(Double(x))))
        }
        for i in 1..<100_000 {
            let x = 0.5 + Float(i) * 2e-5
            guard x != 1 else { continue }
            worst = max(worst, Self.ulps(Naive.logarithm(x), log(Double(x))))
        }
        #expect(worst < 1.5, "\(worst) ulp")
        #expect(Naive.logarithm(Float(1)) == 0)
        #expect(Naive.logarithm(Float(0)) == -.infinity)
        #expect(Naive.logarithm(Float.infinity) == .infinity)
        #expect(Naive.logarithm(Float.nan).isNaN)
    }

    @Test func doubleFunctionsAgreeWithTheLibrary() {
        var worst = 0.0
        for i in 0..<50_000 {
            let x = 1e-3 + Double(i) * 17.31
            worst = max(worst, abs(Naive.logarithm(x) - log(x)) / log(x).ulp)
            let y = Double(i) * 0.028 - 700
            worst = max(worst, abs(Naive.exponential(y) - exp(y)) / exp(y).ulp)
            let angle = Naive.sineAndCosine(x)
            #expect(abs(angle.sine - sin(x)) < 4e-16 && abs(angle.cosine - cos(x)) < 4e-16)
        }
        #expect(worst < 3, "\(worst) ulp")
    }

    @Test func kernelHasTheTwinsBits() throws {
        var x = numbers(4096 + 5000, seed: 1, scale: 95)
        x += [0, -0.0, .infinity, -.infinity, .nan, -87.3365402, -87.33655, 88.7228317, 88.7228394, 1e30, -1e30]
        x += [.leastNonzeroMagnitude]
        let expected = x.map { Naive.exponential($0) }
        for engine in try everyEngine() {
            let y = Tensor(zeroed: x.count)
            engine.exponential(Tensor(x), y: y)
            #expect(sameBits(y.array, expected), "\(engine.instructionSet), \(engine.threads) threads")
        }
    }
}
