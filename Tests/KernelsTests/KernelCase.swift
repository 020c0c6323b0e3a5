// What the kernel tests share: every engine that this processor can run, numbers to feed it, and comparisons.

import Bytes
import Kernels

/// An engine for each supported instruction set and for 1, 2 and 3 threads.
func everyEngine() throws -> [Engine] {
    try InstructionSet.supported.flatMap { set in
        try [1, 2, 3].map { try Engine(threads: $0, instructionSet: set) }
    }
}

/// Floats in -scale ..< scale from a counter-based generator (splitmix64): the same on every run.
func numbers(_ count: Int, seed: UInt64, scale: Float = 1) -> [Float] {
    (0..<count).map { i in
        var z = (seed &* 0xd134_2543_de82_ef95) &+ UInt64(i) &* 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return scale * (Float((z ^ (z >> 31)) >> 40) / Float(1 << 23) - 1)
    }
}

func doubles(_ x: [Float]) -> [Double] { x.map(Double.init) }

/// Whether two arrays have the same bits (so -0 differs from 0, and NaN equals itself).
func sameBits(_ a: [Float], _ b: [Float]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern }
}

/// ‖a − b‖ / ‖b‖.
func relativeDistance(_ a: [Float], _ b: [Double]) -> Double {
    var (difference, norm) = (0.0, 0.0)
    for (x, y) in zip(a, b) {
        difference += (Double(x) - y) * (Double(x) - y)
        norm += y * y
    }
    return (difference / max(norm, 1e-300)).squareRoot()
}

/// The gradient of a scalar function by central differences in Double.
func finiteDifferences(at x: [Double], step: Double = 1e-5, of function: ([Double]) -> Double) -> [Double] {
    x.indices.map { i in
        var (above, below) = (x, x)
        above[i] += step
        below[i] -= step
        return (function(above) - function(below)) / (2 * step)
    }
}

/// Σ a·b, to make a scalar of a function's output.
func inner(_ a: [Double], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * Double($1.1) } }
