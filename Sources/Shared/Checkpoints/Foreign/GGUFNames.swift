// Names of tensors: Hugging Face's and GGUF's, and what happens to the elements between them.

/// The names of one family.
struct GGUFNames {
    private let kind: ModelKind
    private let heads, keyValueHeads: Int
    /// Without `.weight` and `.bias`, outside the layers.
    private let top: [(huggingFace: String, gguf: String)]
    /// Inside a layer.
    private let layer: [(huggingFace: String, gguf: String)]
    private let prefix: String

    init(_ dimensions: ModelDimensions) {
        kind = dimensions.kind
        heads = dimensions.heads
        keyValueHeads = dimensions.keyValueHeads
        if kind == .gpt2 {
            prefix = "transformer.h."
            top = [
                ("transformer.wte", "token_embd"), ("transformer.wpe", "position_embd"),
                ("transformer.ln_f", "output_norm"), ("lm_head", "output"),
            ]
            layer = [
                ("ln_1", "attn_norm"), ("attn.c_attn", "attn_qkv"), ("attn.c_proj", "attn_output"),
                ("ln_2", "ffn_norm"),
                ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down"),
            ]
        } else {
            prefix = "model.layers."
            top = [
                ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
            ]
            layer = [
                ("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
                ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"),
                ("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm"),
                ("post_attention_layernorm", "ffn_norm"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
                ("mlp.down_proj", "ffn_down"),
            ]
        }
    }

    /// Whether Q and K are stored in pairs, and factors of the rotation beside them.
    var isLlama: Bool { kind == .llama }

    /// GGUF's name, or nil when it has none.
    func gguf(_ name: String) -> String? {
        translated(
            name, from: prefix, to: "blk.", top.map { ($0.huggingFace, $0.gguf) },
            layer.map { ($0.huggingFace, $0.gguf) })
    }

    /// Hugging Face's name, or nil when it is not known.
    func huggingFace(_ name: String) -> String? {
        translated(
            name, from: "blk.", to: prefix, top.map { ($0.gguf, $0.huggingFace) },
            layer.map { ($0.gguf, $0.huggingFace) })
    }

    private func translated(
        _ name: String, from: String, to: String, _ top: [(String, String)], _ layer: [(String, String)]
    ) -> String? {
        guard let dot = name.lastIndex(of: "."), [".weight", ".bias"].contains(String(name[dot...])) else { return nil }
        let (stem, suffix) = (String(name[..<dot]), name[dot...])
        if let pair = top.first(where: { $0.0 == stem }) { return pair.1 + suffix }
        guard stem.hasPrefix(from) else { return nil }
        let rest = stem.dropFirst(from.count)
        guard let end = rest.firstIndex(of: "."), let number = Int(rest[..<end]), String(number) == rest[..<end],
            let pair = layer.first(where: { $0.0 == rest[rest.index(after: end)...] })
        else { return nil }
        return to + rest[...end] + pair.1 + suffix
    }

    /// The tensor as the other side has it; the way there is the way back. `name` is GGUF's.
    func arranged(_ tensor: ModelTensor, _ name: String, isPaired: Bool) -> ModelTensor {
        let part = name.split(separator: ".").dropLast().last ?? ""
        switch kind {
        case .gpt2:
            let matrices: Set<Substring> = ["attn_qkv", "attn_output", "ffn_up", "ffn_down"]
            return matrices.contains(part) && tensor.shape.count == 2 ? tensor.transposed() : tensor
        case .llama where part == "attn_q":
            return tensor.reordered(RowOrder(heads: heads, isPaired: isPaired))
        case .llama where part == "attn_k":
            return tensor.reordered(RowOrder(heads: keyValueHeads, isPaired: isPaired))
        default: return tensor
        }
    }

    /// Whether `arranged` can be asked: rows of Q and K must be whole pairs a head.
    func canArrange(_ tensor: ModelTensor, _ name: String) -> Bool {
        let part = name.split(separator: ".").dropLast().last ?? ""
        guard kind == .llama, part == "attn_q" || part == "attn_k" else { return true }
        guard let rows = tensor.shape.first else { return false }
        return rows > 0 && rows % (2 * (part == "attn_q" ? heads : keyValueHeads)) == 0
    }
}
