// Where each parameter lies in the one flat array that holds them all: the optimizer walks it in one pass, and matrices
// that are multiplied together (q, k, v; gate, up) lie together, so that one product serves them.

/// A named parameter inside the flat array.
public struct ParameterTensor: Sendable, Equatable {
    /// Hugging Face's name.
    public let name: String
    /// Outermost dimension first; matrices are (out, in).
    public let shape: [Int]
    /// First element in the flat array.
    public let offset: Int
    public var count: Int { shape.reduce(1, *) }
    /// Whether weight decay applies: to matrices (embedding and head included), not to norms.
    public var decays: Bool { shape.count >= 2 }
}

/// All parameters of a model, in the order they lie in memory.
public struct ParameterLayout: Sendable, Equatable {
    public let tensors: [ParameterTensor]
    /// Elements of the flat array.
    public let count: Int

    public init(_ configuration: ModelConfiguration) {
        var tensors: [ParameterTensor] = []
        var offset = 0
        for (name, shape) in ParameterLayout.shapes(configuration) {
            tensors.append(ParameterTensor(name: name, shape: shape, offset: offset))
            offset += shape.reduce(1, *)
        }
        self.tensors = tensors
        count = offset
    }

    /// The tensor of that name.
    public subscript(name: String) -> ParameterTensor? { tensors.first { $0.name == name } }

    private static func shapes(_ c: ModelConfiguration) -> [(String, [Int])] {
        var shapes: [(String, [Int])] = [("model.embed_tokens.weight", [c.vocabularySize, c.hiddenSize])]
        for layer in 0..<c.layers { shapes += layerShapes(c, "model.layers.\(layer).") }
        shapes.append(("model.norm.weight", [c.hiddenSize]))
        if !c.tiesEmbeddings { shapes.append(("lm_head.weight", [c.vocabularySize, c.hiddenSize])) }
        return shapes
    }

    private static func layerShapes(_ c: ModelConfiguration, _ prefix: String) -> [(String, [Int])] {
        [
            (prefix + "input_layernorm.weight", [c.hiddenSize]),
            (prefix + "self_attn.q_proj.weight", [c.heads * c.headSize, c.hiddenSize]),
            (prefix + "self_attn.k_proj.weight", [c.keyValueHeads * c.headSize, c.hiddenSize]),
            (prefix + "self_attn.v_proj.weight", [c.keyValueHeads * c.headSize, c.hiddenSize]),
            (prefix + "self_attn.o_proj.weight", [c.hiddenSize, c.heads * c.headSize]),
            (prefix + "post_attention_layernorm.weight", [c.hiddenSize]),
            (prefix + "mlp.gate_proj.weight", [c.intermediateSize, c.hiddenSize]),
            (prefix + "mlp.up_proj.weight", [c.intermediateSize, c.hiddenSize]),
            (prefix + "mlp.down_proj.weight", [c.hiddenSize, c.intermediateSize]),
        ]
    }

    /// The number of parameters, or nil when it overflows.
    static func checkedCount(_ c: ModelConfiguration) -> Int? {
        var layer = 0
        for (_, shape) in layerShapes(c, "") {
            guard let size = product(shape) else { return nil }
            layer += size
        }
        guard let layers = product([c.layers, layer]), let table = product([c.vocabularySize, c.hiddenSize]) else {
            return nil
        }
        return layers + 2 * table + c.hiddenSize
    }

    private static func product(_ factors: [Int]) -> Int? {
        var result = 1
        for factor in factors {
            let (next, overflow) = result.multipliedReportingOverflow(by: factor)
            if overflow || next > 1 << 58 { return nil }
            result = next
        }
        return result
    }
}
