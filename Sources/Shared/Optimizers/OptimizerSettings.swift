// Which rule turns gradients into updates, and its numbers: what a recipe says of the optimizer.

/// A rule of update.
public enum OptimizerKind: String, Sendable, CaseIterable {
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101).
    case adamW = "adamw"
    /// The sign of an interpolated moment (Chen et al. 2023, arXiv:2302.06675).
    case lion
    /// The nearest orthogonal matrix to the momentum, for matrices of the blocks (Jordan et al. 2024,
    /// kellerjordan.github.io/posts/muon); AdamW for embeddings, head, norms and biases.
    case muon
    /// Gradient descent with momentum (Sutskever et al. 2013), decay added to the gradient.
    case sgd
}

/// What Muon multiplies its orthogonal matrices with.
public enum MuonScale: String, Sendable, CaseIterable {
    /// 0.2 · √max(rows, columns): updates as large as AdamW's, so that one learning rate serves both (Liu et al. 2025,
    /// arXiv:2502.16982).
    case rms
    /// √max(1, outputs / inputs), Jordan's own.
    case original
}

/// The numbers of an optimizer. Which of them count depends on `kind`.
public struct OptimizerSettings: Sendable, Equatable {
    public var kind: OptimizerKind
    /// AdamW's and Lion's.
    public var beta1: Double
    public var beta2: Double
    /// AdamW's.
    public var epsilon: Double
    /// Of gradient descent and of Muon; gradient descent with 0 has no moments.
    public var momentum: Double
    public var nesterov: Bool
    public var muonScale: MuonScale
    public var weightDecay: Double
    /// Largest global norm of a gradient; infinity clips nothing.
    public var clip: Double

    public init(
        kind: OptimizerKind = .adamW, beta1: Double = 0.9, beta2: Double = 0.95, epsilon: Double = 1e-8,
        momentum: Double = 0.9, nesterov: Bool = false, muonScale: MuonScale = .rms, weightDecay: Double = 0.1,
        clip: Double = 1
    ) {
        self.kind = kind
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.momentum = momentum
        self.nesterov = nesterov
        self.muonScale = muonScale
        self.weightDecay = weightDecay
        self.clip = clip
    }
}
