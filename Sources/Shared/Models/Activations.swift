// Every buffer of a forward and backward pass, cut from one arena that is allocated once. N = rows · length positions.

import Kernels

/// What a layer's backward pass computes anew instead of having it kept: less memory for more work, the same bits.
public enum Recompute: String, Sendable, CaseIterable {
    case none
    /// The second half up to the activation function's output: `norm2`, `up` and `product`.
    case mlp
    /// Everything but the layer's input.
    case layer
}

/// What one layer keeps from its forward pass for its backward pass; what is recomputed lies in buffers that all layers
/// share.
struct LayerActivations {
    /// The residual stream as it enters the layer (N, C).
    let residual: Tensor
    /// First norm: output (N, C), mean (N; LayerNorm only) and 1/rms or 1/deviation (N).
    let norm1: Tensor
    let mean1: Tensor
    let rstd1: Tensor
    /// Rotated queries and keys, values: (N, (H + 2·KV)·d).
    let qkv: Tensor
    /// Attention's output (N, H·d) and log-sum-exp (B, H, T).
    let attention: Tensor
    let logSumExp: Tensor
    /// The residual stream between the two halves (N, C).
    let middle: Tensor
    let norm2: Tensor
    let mean2: Tensor
    let rstd2: Tensor
    /// What enters the activation function: gate and up (N, 2·I), or one projection (N, I); and what leaves it (N, I).
    let up: Tensor
    let product: Tensor
    /// Queries and keys before their heads were normalized (N, (H + KV)·d), and 1/rms of each; empty without such norms.
    let unnormalized: Tensor
    let queryRstd: Tensor
    let keyRstd: Tensor
}

/// The arena. Without training, one layer's buffers serve all layers and there are no gradients.
struct Activations {
    let layers: [LayerActivations]
    /// The residual stream after the last layer, its norm (N, C), mean and 1/rms (N).
    let final: Tensor
    let finalNorm: Tensor
    let finalMean: Tensor
    let finalRstd: Tensor
    /// Logits of one chunk of positions (chunk, V).
    let logits: Tensor
    /// x · Aᵀ of the adapters that share an input, and its gradient (N, targets · rank); passing.
    let adapters: Tensor
    let backward: Backward?

    /// Gradients on their way down; reused by every layer.
    struct Backward {
        /// Of the residual stream (N, C), and of what enters a half (N, C).
        let residual: Tensor
        let norm: Tensor
        let qkv: Tensor
        let attention: Tensor
        /// Σ dout · out (B, H, T).
        let delta: Tensor
        let up: Tensor
        /// Of what leaves the activation function (N, I); empty where a product makes one of the other.
        let product: Tensor
    }

    /// Positions a chunk of the classifier has when at most `limit` fit: whole rows, else whole blocks of the summation
    /// order, so that the head's gradient has the same bits for any chunk.
    static func chunk(limit: Int, rows: Int, length: Int) -> Int {
        if length <= limit { return min(limit / length, rows) * length }
        return min(max(limit / Engine.gemmBlock, 1) * Engine.gemmBlock, length)
    }

    /// Floats of one chunk's logits.
    static func logitsCount(_ c: ModelConfiguration, rows: Int, length: Int, _ logitsFloats: Int) -> Int {
        let limit = max(logitsFloats / c.vocabularySize, 1)
        return Activations.chunk(limit: limit, rows: rows, length: length) * c.vocabularySize
    }

    init(
        _ c: ModelConfiguration, rows: Int, length: Int, training: Bool, recompute: Recompute, logitsFloats: Int
    ) {
        let count = Activations.count(
            c, rows: rows, length: length, training: training, recompute: recompute, logitsFloats: logitsFloats)
        var arena = Arena(Tensor(zeroed: count))
        self.init(
            c, rows: rows, length: length, training: training, recompute: recompute, logitsFloats: logitsFloats
        ) { arena.take($0 * $1) }
    }

    /// Floats that the arena has; `MemoryPlan.limit` when that many or more.
    static func count(
        _ c: ModelConfiguration, rows: Int, length: Int, training: Bool, recompute: Recompute, logitsFloats: Int
    ) -> Int {
        var count = 0
        let empty = Tensor(zeroed: 0)
        _ = Activations(
            c, rows: rows, length: length, training: training, recompute: recompute, logitsFloats: logitsFloats
        ) { positions, width in
            let (product, overflow) = positions.multipliedReportingOverflow(by: width)
            count =
                overflow || product >= MemoryPlan.limit
                ? MemoryPlan.limit : min(count + Arena.rounded(product), MemoryPlan.limit)
            return empty
        }
        return count
    }

    /// `take` gives a buffer of (positions, width).
    private init(
        _ c: ModelConfiguration, rows: Int, length: Int, training: Bool, recompute: Recompute, logitsFloats: Int,
        take: (Int, Int) -> Tensor
    ) {
        let n = rows * length
        let hidden = c.hiddenSize
        let qkv = c.qkvWidth
        let means = c.normalization == .layer ? n : 0
        let normalized = c.normalizesHeads ? n : 0
        let width = c.heads * c.headSize
        var shared: LayerActivations?
        layers = (0..<(training ? c.layers : 1)).map { _ in
            let whole = recompute == .layer ? shared : nil
            let half = recompute == .none ? nil : shared
            let layer = LayerActivations(
                residual: take(n, hidden), norm1: whole?.norm1 ?? take(n, hidden),
                mean1: whole?.mean1 ?? take(means, 1), rstd1: whole?.rstd1 ?? take(n, 1),
                qkv: whole?.qkv ?? take(n, qkv), attention: whole?.attention ?? take(n, width),
                logSumExp: whole?.logSumExp ?? take(n, c.heads), middle: whole?.middle ?? take(n, hidden),
                norm2: half?.norm2 ?? take(n, hidden), mean2: half?.mean2 ?? take(means, 1),
                rstd2: half?.rstd2 ?? take(n, 1), up: half?.up ?? take(n, c.upWidth),
                product: half?.product ?? take(n, c.intermediateSize),
                unnormalized: whole?.unnormalized ?? take(normalized, c.normalizedWidth),
                queryRstd: whole?.queryRstd ?? take(normalized, c.heads),
                keyRstd: whole?.keyRstd ?? take(normalized, c.keyValueHeads))
            shared = layer
            return layer
        }
        final = take(n, hidden)
        finalNorm = take(n, hidden)
        finalMean = take(means, 1)
        finalRstd = take(n, 1)
        logits = take(Activations.logitsCount(c, rows: rows, length: length, logitsFloats), 1)
        adapters = take(n, c.adapterWidth)
        backward =
            training
            ? Backward(
                residual: take(n, hidden), norm: take(n, hidden), qkv: take(n, qkv), attention: take(n, width),
                delta: take(n, c.heads), up: take(n, c.upWidth),
                product: take(c.feedForward == .swiGLU ? n : 0, c.intermediateSize))
            : nil
    }

    private struct Arena {
        let tensor: Tensor
        var used = 0

        init(_ tensor: Tensor) { self.tensor = tensor }

        /// Buffers begin on a cache line.
        static func rounded(_ count: Int) -> Int { (count + 15) / 16 * 16 }

        mutating func take(_ count: Int) -> Tensor {
            defer { used += Arena.rounded(count) }
            return tensor.slice(used, count)
        }
    }
}
