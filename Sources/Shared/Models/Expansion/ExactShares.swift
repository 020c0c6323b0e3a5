// A float shared out among copies so that the shares add up to it in exact arithmetic, not only after rounding: this is
// why widening by copies keeps the function to the last bits of a float64 pass although weights are stored in fp32.

import Kernels

/// Shares of one value among `copies` copies, near value / copies each.
///
/// Halving is exact. Otherwise the value x is cut in two, a = fl(f · x) with ½ ≤ f ≤ 1 and b = x − a: a lies between x/2
/// and x, so the difference has no rounding error (Sterbenz, Floating-Point Computation, 1974, 4.3.1). Below the smallest
/// normal number halving may lose the last bit.
package enum ExactShares {
    /// Share `ordinal` of `copies`.
    /// - Parameter uniform: numbers in [0, 1) by place in the tree of cuts, for uneven shares; nil: even ones.
    package static func share(
        _ value: Float, _ ordinal: Int, of copies: Int, uniform: ((_ node: Int) -> Double)?
    ) -> Float {
        var (x, ordinal, count, node) = (value, ordinal, copies, 1)
        while count > 1 {
            // `large` copies have the larger part, the others the rest.
            let large = count % 2 == 0 ? count / 2 : count - 1
            var (fraction, isSwapped) = (Double(large) / Double(count), false)
            if let uniform {
                let u = uniform(node)
                if count % 2 == 0 {
                    // From 1/2 to 3/4 for one side or, just as often, for the other.
                    isSwapped = u < 0.5
                    fraction = 0.5 + 0.25 * (isSwapped ? 2 * u : 2 * u - 1)
                } else {
                    fraction += (u - 0.5) * (1 - fraction)
                }
            }
            let a = Float(fraction) * x
            let isFirst = ordinal < large
            x = isFirst != isSwapped ? a : x - a
            node = 2 * node + (isFirst ? 0 : 1)
            (ordinal, count) = isFirst ? (ordinal, large) : (ordinal - large, count - large)
        }
        return x
    }
}
