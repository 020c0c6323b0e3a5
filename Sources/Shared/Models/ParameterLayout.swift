// Where each parameter lies in the one flat array that holds them all: the optimizer walks it in one pass, and matrices
// that are multiplied together (q, k, v; gate, up) lie together, so that one product serves them.

/// A named parameter inside the flat array.
public struct ParameterTensor: Sendable, Equatable {
    /// What a parameter is for: how it begins and whether it decays.
    public enum Role: Sendable, Equatable {
        case matrix
        /// A matrix that writes to the residual stream.
        case residualMatrix
        case norm
        case bias
        /// A and B of a low-rank adapter.
        case adapterInput, adapterOutput
    }

    /// Hugging Face's name.
    public let name: String
    /// Outermost dimension first; matrices are (out, in), those of GPT-2's layers (in, out), their adapters excepted.
    public let shape: [Int]
    public let role: Role
    /// The layer that it belongs to, from 0; nil for embeddings, the last norm and the head.
    public let layer: Int?
    /// First element in the flat array.
    public let offset: Int
    public var count: Int { shape.reduce(1, *) }
    var range: Range<Int> { offset..<offset + count }
    /// Whether weight decay applies: to matrices (embeddings and head included), not to norms and biases.
    public var decays: Bool { role != .norm && role != .bias }
    public var isAdapter: Bool { role == .adapterInput || role == .adapterOutput }

    public init(name: String, shape: [Int], role: Role = .matrix, layer: Int? = nil, offset: Int) {
        self.name = name
        self.shape = shape
        self.role = role
        self.layer = layer
        self.offset = offset
    }

    /// Tensors one behind the other, as a model of one's own may lay out its parameters.
    public static func tiling(
        _ tensors: [(name: String, shape: [Int], role: Role, layer: Int?)]
    ) -> [ParameterTensor] {
        var end = 0
        return tensors.map { tensor in
            let placed = ParameterTensor(
                name: tensor.name, shape: tensor.shape, role: tensor.role, layer: tensor.layer, offset: end)
            end += placed.count
            return placed
        }
    }
}

/// All parameters of a model, in the order they lie in memory.
public struct ParameterLayout: Sendable, Equatable {
    public private(set) var tensors: [ParameterTensor] = []
    /// Elements of the flat array.
    public private(set) var count = 0
    /// The same by place in the network.
    private(set) var embedding = 0..<0
    private(set) var positions: Range<Int>?
    private(set) var layers: [Layer] = []
    private(set) var norm = Pair(weight: 0..<0)
    /// nil when the head is the embedding.
    private(set) var head: Range<Int>?
    /// The layer whose tensors are being added.
    private var current: Int?

    /// A weight and, where there is one, its bias: ranges of the flat array.
    struct Pair: Sendable, Equatable {
        var weight: Range<Int>
        var bias: Range<Int>?
        var adapters: Adapters?
    }

    /// Low-rank adapters of matrices that are multiplied at once.
    struct Adapters: Sendable, Equatable {
        /// Each A (rank, in), one below the other.
        var inputs: Range<Int>
        /// Each B (out, rank), in the same order, and the outputs that it adds to.
        var outputs: [Output]

        struct Output: Sendable, Equatable {
            let columns, weight: Range<Int>
        }
    }

    struct Layer: Sendable, Equatable {
        /// `queryKeyValue`: q, k and v side by side; `up`: gate and up, or the one projection of a GELU block.
        var norm1, queryKeyValue, output, norm2, up, down: Pair
        /// The weights of the norms of each head of queries and keys.
        var queryNorm, keyNorm: Range<Int>?
    }

    public init(_ c: ModelConfiguration) {
        let hidden = c.hiddenSize
        let isGPT2 = c.family == .gpt2
        embedding = add(isGPT2 ? "transformer.wte.weight" : "model.embed_tokens.weight", [c.vocabularySize, hidden])
        if c.positions == .learned { positions = add("transformer.wpe.weight", [c.maximumPositions, hidden]) }
        for index in 0..<c.layers {
            current = index
            defer { current = nil }
            let matrices = c.projections(layer: index)
            func add(_ matrices: [Projection], bias: Bool, _ role: ParameterTensor.Role = .matrix) -> Pair {
                addMatrices(matrices, isInputMajor: c.isInputMajor, bias: bias, role)
            }
            let prefix = isGPT2 ? "transformer.h.\(index)." : "model.layers.\(index)."
            let norm1 = addNorm(prefix + (isGPT2 ? "ln_1" : "input_layernorm"), hidden, bias: isGPT2)
            let qkv = add(matrices.queryKeyValue, bias: c.biasesQueryKeyValue)
            let queryNorm =
                c.normalizesHeads ? self.add(prefix + "self_attn.q_norm.weight", [c.headSize], .norm) : nil
            let keyNorm = c.normalizesHeads ? self.add(prefix + "self_attn.k_norm.weight", [c.headSize], .norm) : nil
            let layer = Layer(
                norm1: norm1, queryKeyValue: qkv,
                output: add(matrices.output, bias: c.biasesOutput, .residualMatrix),
                norm2: addNorm(prefix + (isGPT2 ? "ln_2" : "post_attention_layernorm"), hidden, bias: isGPT2),
                up: add(matrices.up, bias: c.biasesFeedForward),
                down: add(matrices.down, bias: c.biasesFeedForward, .residualMatrix), queryNorm: queryNorm,
                keyNorm: keyNorm)
            layers.append(layer)
        }
        norm = addNorm(isGPT2 ? "transformer.ln_f" : "model.norm", hidden, bias: isGPT2)
        if !c.tiesEmbeddings { head = add("lm_head.weight", [c.vocabularySize, hidden]) }
        if let adapters = c.adapters { addAdapters(adapters, c) }
    }

    /// The tensor of that name. O(tensors).
    public subscript(name: String) -> ParameterTensor? { tensors.first { $0.name == name } }

    /// The number of parameters, without the list.
    static func count(_ c: ModelConfiguration) -> Int {
        let (hidden, inner) = (c.hiddenSize, c.intermediateSize)
        let (q, kv) = (c.heads * c.headSize, c.keyValueHeads * c.headSize)
        let inputs = c.feedForward == .swiGLU ? 2 : 1
        let norms = 2 * hidden * (c.normalization == .layer ? 2 : 1) + (c.normalizesHeads ? 2 * c.headSize : 0)
        let biases =
            (c.biasesQueryKeyValue ? q + 2 * kv : 0) + (c.biasesOutput ? hidden : 0)
            + (c.biasesFeedForward ? inputs * inner + hidden : 0)
        let layer = norms + biases + hidden * (2 * q + 2 * kv) + (inputs + 1) * hidden * inner
        let tables = (c.tiesEmbeddings ? 1 : 2) * c.vocabularySize + (c.positions == .learned ? c.maximumPositions : 0)
        return c.layers * layer + tables * hidden + hidden * (c.normalization == .layer ? 2 : 1) + c.adapterCount
    }

    private mutating func add(
        _ name: String, _ shape: [Int], _ role: ParameterTensor.Role = .matrix
    ) -> Range<Int> {
        let tensor = ParameterTensor(name: name, shape: shape, role: role, layer: current, offset: count)
        tensors.append(tensor)
        count += tensor.count
        return tensor.range
    }

    private mutating func addNorm(_ name: String, _ width: Int, bias: Bool = false) -> Pair {
        let weight = add(name + ".weight", [width], .norm)
        return Pair(weight: weight, bias: bias ? add(name + ".bias", [width], .bias) : nil)
    }

    /// Behind everything else, so that what learns is one stretch of memory.
    private mutating func addAdapters(_ adapters: LowRankAdapters, _ c: ModelConfiguration) {
        func places(_ projections: [Projection]) -> Adapters? {
            var (targets, column): ([(Projection, Range<Int>)], Int) = ([], 0)
            for projection in projections {
                let columns = column..<column + projection.outputs
                if adapters.includes(projection.module) { targets.append((projection, columns)) }
                column = columns.upperBound
            }
            if targets.isEmpty { return nil }
            let inputs = targets.map { target, _ in
                let name = ModelConfiguration.adapterNames(of: target.module).a
                return add(name, [adapters.rank, target.inputs], .adapterInput)
            }
            let outputs = targets.map { target, columns in
                let name = ModelConfiguration.adapterNames(of: target.module).b
                return Adapters.Output(
                    columns: columns, weight: add(name, [target.outputs, adapters.rank], .adapterOutput))
            }
            return Adapters(
                inputs: inputs[0].lowerBound..<inputs[inputs.count - 1].upperBound, outputs: outputs)
        }
        for index in layers.indices {
            current = index
            let projections = c.projections(layer: index)
            layers[index].queryKeyValue.adapters = places(projections.queryKeyValue)
            layers[index].output.adapters = places(projections.output)
            layers[index].up.adapters = places(projections.up)
            layers[index].down.adapters = places(projections.down)
        }
        current = nil
    }

    /// Matrices side by side, then their biases side by side.
    private mutating func addMatrices(
        _ matrices: [Projection], isInputMajor: Bool, bias: Bool, _ role: ParameterTensor.Role
    ) -> Pair {
        let weights = matrices.map {
            add($0.module + ".weight", isInputMajor ? [$0.inputs, $0.outputs] : [$0.outputs, $0.inputs], role)
        }
        let biases = bias ? matrices.map { add($0.module + ".bias", [$0.outputs], .bias) } : []
        return Pair(
            weight: weights[0].lowerBound..<weights[weights.count - 1].upperBound,
            bias: biases.first.map { $0.lowerBound..<biases[biases.count - 1].upperBound })
    }
}
