// The parts of a network that people watch apart from each other, because they learn at different speeds.

/// A part of the network, of all layers together.
public enum ParameterPart: String, Sendable, CaseIterable {
    /// Tokens' and learned positions' vectors; a head that is tied to them is here.
    case embedding
    /// Projections to queries, keys and values and from the heads, with their biases.
    case attention
    /// Both halves of the feed-forward block, with their biases.
    case mlp
    /// Weights and biases of all norms.
    case norm
    /// The head that is a matrix of its own.
    case head
}

extension ParameterTensor {
    /// The part that it belongs to, by its name and role; nil where neither says it, as in a model of another kind.
    public var part: ParameterPart? {
        if role == .norm { return .norm }
        let words = name.split(separator: ".")
        if words.contains(where: { $0 == "self_attn" || $0 == "attn" }) { return .attention }
        if words.contains("mlp") { return .mlp }
        if words.contains("lm_head") { return .head }
        if words.contains(where: { $0 == "embed_tokens" || $0 == "wte" || $0 == "wpe" }) { return .embedding }
        return words.contains { $0.hasPrefix("ln_") || $0.contains("norm") } ? .norm : nil
    }
}
