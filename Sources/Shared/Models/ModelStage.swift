// The places of a forward pass that have a name: where the guard looks for the first number that is not finite.

/// A stage of the forward pass, by what it puts out.
package enum ModelStage: Sendable, Hashable {
    /// The residual stream as it enters the first layer (N, C).
    case embedding
    /// What the heads of a layer put out, before its output projection (N, H·d).
    case attention(layer: Int)
    /// The residual stream as it leaves a layer (N, C).
    case feedForward(layer: Int)
    /// The last norm's output (N, C).
    case norm
    /// The logits of a chunk of positions (chunk, V).
    case head

    /// The module's name in the model's family, with `.output` behind it.
    package func name(in family: ModelFamily) -> String {
        let isGPT2 = family == .gpt2
        switch self {
        case .embedding: return isGPT2 ? "transformer.wte.output" : "model.embed_tokens.output"
        case .attention(let layer):
            return isGPT2 ? "transformer.h.\(layer).attn.output" : "model.layers.\(layer).self_attn.output"
        case .feedForward(let layer):
            return isGPT2 ? "transformer.h.\(layer).mlp.output" : "model.layers.\(layer).mlp.output"
        case .norm: return isGPT2 ? "transformer.ln_f.output" : "model.norm.output"
        case .head: return "lm_head.output"
        }
    }
}
