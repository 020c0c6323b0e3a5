// What the axes of each tensor are, by its name: the one place that knows how the families spell things and which way
// round they store matrices.

/// A kind of axis. Axes of one kind grow together.
enum TensorAxis: Sendable, Hashable {
    case vocabulary, positions
    /// The residual stream as it is written (embeddings, projections to it, norms), and as matrices read it.
    case hidden, hiddenRead
    /// The norm in front of a head that is tied to the embedding, where the reading side has no weights of its own.
    case lastNorm
    /// Rows of query heads; of key and value heads; the three side by side (GPT-2); attention's output as it is read.
    case query, keyValue, queryKeyValue, attentionRead
    /// Units of the feed-forward block, and what is read of them.
    case inner, innerRead
    /// What no policy changes.
    case fixed
}

struct TensorAxes {
    let name: String
    let rows: TensorAxis
    /// nil for a vector.
    let columns: TensorAxis?
    /// The layer that the tensor belongs to, and the name around that number.
    let layer: Int?
    private let prefix, rest: Substring

    /// Whether it is weight or bias of a projection to the residual stream.
    var writesToResidual: Bool { ["o_proj", "down_proj", "c_proj"].contains { rest.contains($0) } }
    /// Whether it is weight or bias of a norm over the residual stream, the last one included.
    var isResidualNorm: Bool { columns == nil && (name.contains("norm.") || name.contains(".ln_")) && rows != .fixed }
    var isQueryOrKeyMatrix: Bool { columns != nil && (rest.contains("q_proj") || rest.contains("k_proj")) }

    init(_ name: String, _ c: ModelConfiguration) {
        self.name = name
        let isGPT2 = c.family == .gpt2
        let marker = isGPT2 ? "transformer.h." : "model.layers."
        if name.hasPrefix(marker) {
            let tail = name.dropFirst(marker.count)
            let digits = tail.prefix { $0.isNumber }
            (layer, prefix, rest) = (Int(digits), name.prefix(marker.count), tail.dropFirst(digits.count))
        } else {
            (layer, prefix, rest) = (nil, "", name[...])
        }
        let isWeight = name.hasSuffix(".weight")
        /// A matrix from `inputs` to `outputs`, or its bias.
        func affine(_ outputs: TensorAxis, _ inputs: TensorAxis) -> (TensorAxis, TensorAxis?) {
            if !isWeight { return (outputs, nil) }
            return isGPT2 ? (inputs, outputs) : (outputs, inputs)
        }
        let parts = rest.split(separator: ".").map(String.init)
        switch parts.dropLast().last {
        case "embed_tokens", "wte": (rows, columns) = (.vocabulary, .hidden)
        case "lm_head": (rows, columns) = (.vocabulary, .hiddenRead)
        case "wpe": (rows, columns) = (.positions, .hidden)
        case "q_proj": (rows, columns) = affine(.query, .hiddenRead)
        case "k_proj", "v_proj": (rows, columns) = affine(.keyValue, .hiddenRead)
        case "c_attn": (rows, columns) = affine(.queryKeyValue, .hiddenRead)
        case "o_proj": (rows, columns) = affine(.hidden, .attentionRead)
        case "c_proj": (rows, columns) = affine(.hidden, parts.contains("attn") ? .attentionRead : .innerRead)
        case "gate_proj", "up_proj", "c_fc": (rows, columns) = affine(.inner, .hiddenRead)
        case "down_proj": (rows, columns) = affine(.hidden, .innerRead)
        case "input_layernorm", "post_attention_layernorm", "ln_1", "ln_2": (rows, columns) = (.hidden, nil)
        case "norm", "ln_f": (rows, columns) = (c.tiesEmbeddings ? .lastNorm : .hidden, nil)
        case "q_norm", "k_norm": (rows, columns) = (.fixed, nil)
        default: preconditionFailure("a tensor that no policy knows: \(name)")
        }
    }

    /// The name of the same tensor in another layer.
    func name(inLayer layer: Int) -> String { "\(prefix)\(layer)\(rest)" }
}
