// The families of models that are one transformer with different parts, by the names that Hugging Face gives them.

/// What `model_type` may be.
public enum ModelFamily: String, Sendable, CaseIterable {
    /// arXiv:2302.13971: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
    case llama
    /// Radford et al. 2019: LayerNorm, learned positions, GELU, biases everywhere; weights stored (in, out).
    case gpt2
    /// arXiv:2407.10671: Llama with biases on queries, keys and values.
    case qwen2
    /// arXiv:2505.09388: Llama with a norm on each head of queries and keys.
    case qwen3

    /// The class that transformers loads it as.
    public var architecture: String {
        switch self {
        case .llama: "LlamaForCausalLM"
        case .gpt2: "GPT2LMHeadModel"
        case .qwen2: "Qwen2ForCausalLM"
        case .qwen3: "Qwen3ForCausalLM"
        }
    }
}

/// How activations are normalized.
public enum Normalization: Sendable, Equatable {
    /// By their root mean square (arXiv:1910.07467).
    case rootMeanSquare
    /// By mean and deviation, with a bias (arXiv:1607.06450).
    case layer
}

/// How a token knows its place in its document.
public enum PositionEncoding: Sendable, Equatable {
    /// Queries and keys turn by angles p · θ^(−2i/d) (arXiv:2104.09864).
    case rotary(theta: Double)
    /// A table that is added to the embedding.
    case learned
}

/// The block after attention.
public enum FeedForward: Sendable, Equatable {
    /// down · (silu(gate · x) · (up · x)) (arXiv:2002.05202).
    case swiGLU
    /// projection · gelu(fc · x), GELU in its tanh form (arXiv:1606.08415).
    case gelu
}
