// What goes along when another model is made of a checkpoint.

internal import Checkpoints

extension Checkpoint {
    /// Whether a file lies beside the model and does not depend on its shape, as the index of its parts does. Of a foreign
    /// directory only what belongs to its tokenizer: it may hold the same weights in other formats.
    func isCompanion(_ name: String) -> Bool {
        if Checkpoint.reservedNames.contains(name) || name.hasSuffix(".index.json") { return false }
        if !isForeign { return !name.hasSuffix(".safetensors") }
        return ["tokenizer", "vocab.", "merges.", "special_tokens", "added_tokens"].contains { name.hasPrefix($0) }
            || name.hasSuffix(".tiktoken")
    }
}
