// The angles of rotary positions, computed once.

import Kernels

struct RotaryTable {
    /// (positions, d/2).
    let cosine: Tensor
    let sine: Tensor

    /// nil when the model does not rotate.
    init?(_ c: ModelConfiguration, positions: Int) {
        guard let theta = c.ropeTheta else { return nil }
        (cosine, sine) = Engine.ropeTable(theta: theta, positions: positions, d: c.headSize)
    }
}
