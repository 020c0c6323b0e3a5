// Keys of GGUF that change what a model computes and that no config.json of these families can say. A value that changes
// nothing is passed over, any other refused by its name: read without it, the model would be another one in silence.

internal import Bytes

extension GGUFFile {
    /// Behind the architecture's name, with what changes nothing.
    private static let neutral: [(key: String, values: [Double])] = [
        ("attention.clamp_kqv", [0]), ("attention.max_alibi_bias", [0]), ("attention.causal", [1]),
        ("attention.output_scale", [1, 0]), ("attention.temperature_length", [0]), ("attention.temperature_scale", [0]),
        ("attention.value_residual_mix_lora_rank", [0]), ("attn_logit_softcapping", [0]),
        ("final_logit_softcapping", [0]), ("router_logit_softcapping", [0]), ("logit_scale", [1, 0]),
        ("residual_scale", [1, 0]), ("embedding_scale", [1, 0]), ("activation_sparsity_scale", [0]),
        ("swiglu_clamp_exp", [0]), ("swiglu_clamp_shexp", [0]), ("use_parallel_residual", [0]), ("swin_norm", [0]),
        ("rescale_every_n_layers", [0]), ("expert_count", [0]), ("expert_used_count", [0]),
        ("rope.dimension_sections", [0]),
    ]

    /// Holds every such key against the model.
    /// - Throws: `Fault` (bad data) naming the key.
    func requireNeutral(_ kind: ModelKind, positions: Int, headSize: Int) throws(Fault) {
        let a = kind.rawValue
        for (key, values) in GGUFFile.neutral {
            try require("\(a).\(key)", "\(Int(values[0]))") { values.contains($0) }
        }
        // 0 is none, and one as long as the context hides nothing.
        try require("\(a).attention.sliding_window", "0") { $0 == 0 || $0 >= Double(positions) }
        let scale = 1 / Double(headSize).squareRoot()
        try require("\(a).attention.scale", "\(scale)") { $0 == 0 || abs($0 - scale) <= 1e-6 * scale }
        var widths = ["attention.key_length", "attention.value_length"]
        if kind != .gpt2 { widths.append("rope.dimension_count") }
        for key in widths { try require("\(a).\(key)", "\(headSize)") { $0 == Double(headSize) } }
    }

    private func require(_ key: String, _ expected: String, _ isNeutral: (Double) -> Bool) throws(Fault) {
        guard let value = pairs[key] else { return }
        var numbers = value.integers.map { $0.map { Double($0) } }
        if numbers == nil, case .array(_, let values) = value {
            numbers = values.map { $0.flag.map { $0 ? 1 : 0 } ?? $0.number ?? .nan }
        }
        let found = numbers ?? [value.flag.map { $0 ? 1 : 0 } ?? value.number ?? .nan]
        guard let other = found.first(where: { !isNeutral($0) }) else { return }
        let number = abs(other) < 1e15 && other == other.rounded() ? "\(Int(other))" : "\(other)"
        let text = value.text.map(quoted) ?? value.flag.map { "\($0)" } ?? number
        let read = value.flag.map { "\(!$0)" } ?? expected
        throw .badData(file.name, "'\(key)' is \(text), only \(read) is read: it changes what the model computes")
    }
}
