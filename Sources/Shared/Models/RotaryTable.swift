// The angles of rotary positions, computed once.

import Kernels

struct RotaryTable {
    /// (positions, d/2).
    let cosine: Tensor
    let sine: Tensor

    /// nil when the model does not rotate.
    init?(_ c: ModelConfiguration, positions: Int) {
        guard let theta = c.ropeTheta, let angles = RotaryAngles(c) else { return nil }
        (cosine, sine) =
            c.ropeScaling == nil
            ? Engine.ropeTable(theta: theta, positions: positions, d: c.headSize)
            : Engine.ropeTable(
                frequencies: angles.frequencies, magnitude: angles.magnitude, positions: positions)
    }
}
