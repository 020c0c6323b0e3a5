// What the tests of this module share: small models, batches with several documents and padding, one step of training.

import Bytes
import Kernels
import Models

/// A small model's configuration. d · H differs from C on purpose, except in GPT-2, where it cannot.
func configuration(
    _ family: ModelFamily = .llama, vocabulary: Int = 11, hidden: Int = 8, inner: Int = 12, layers: Int = 2,
    heads: Int = 4, keyValueHeads: Int = 2, headSize: Int = 4, tied: Bool = true, range: Double = 0.4,
    biases: Bool = false
) throws -> ModelConfiguration {
    var json: JSONObject = [
        "model_type": .string(family.rawValue), "vocab_size": .integer(vocabulary),
        "tie_word_embeddings": .bool(tied), "initializer_range": .number(range),
    ]
    let rest: JSONObject =
        family == .gpt2
        ? [
            "n_embd": .integer(hidden), "n_inner": .integer(inner), "n_layer": .integer(layers),
            "n_head": .integer(hidden % heads == 0 ? heads : 1), "n_positions": 64, "layer_norm_epsilon": 1e-5,
        ]
        : [
            "hidden_size": .integer(hidden), "intermediate_size": .integer(inner),
            "num_hidden_layers": .integer(layers), "num_attention_heads": .integer(heads),
            "num_key_value_heads": .integer(keyValueHeads), "head_dim": .integer(headSize), "rms_norm_eps": 1e-5,
            "rope_theta": 100.0, "attention_bias": .bool(biases || family == .qwen2),
            "mlp_bias": .bool(biases && family == .llama),
        ]
    for (key, value) in rest.members { json[key] = value }
    return try ModelConfiguration(json: .object(json), name: "config.json")
}

/// Every family, and Llama with biases.
let families: [(family: ModelFamily, biases: Bool)] = [
    (.llama, false), (.llama, true), (.gpt2, false), (.qwen2, false), (.qwen3, false),
]

/// B rows of T ids with documents of changing length; the last row ends in padding, and one position of each row is
/// masked out.
struct SampleBatch {
    let rows: Int
    let length: Int
    var inputs: [UInt32]
    var targets: [UInt32]
    var ends: [[Int32]]
    var mask: [Bool]

    init(rows: Int, length: Int, vocabulary: Int, seed: UInt64 = 1) {
        self.rows = rows
        self.length = length
        let random = Random(seed: seed, purpose: 1)
        let count = rows * length
        inputs = (0..<count).map { UInt32(random.bits(UInt64($0)) % UInt64(vocabulary)) }
        targets = (0..<count).map { UInt32(random.bits(UInt64(count + $0)) % UInt64(vocabulary)) }
        ends = (0..<rows).map { row in
            let cut = 1 + Int(random.bits(UInt64(2 * count + row)) % UInt64(length - 1))
            return (row % 3 == 2 ? [length] : [cut, length]).map(Int32.init)
        }
        ends[rows - 1] = [Int32(length / 2), Int32(length - length / 3)]
        mask = (0..<count).map { $0 % length != length / 3 }
    }

    var targetCount: Int {
        (0..<rows).reduce(0) { sum, row in
            sum + (0..<length).count { $0 < Int(ends[row].last ?? 0) && mask[row * length + $0] }
        }
    }

    var weight: Float { 1 / Float(targetCount) }

    func fill(_ batch: ModelBatch, _ range: Range<Int>, vocabulary: Int) throws {
        try batch.fill(
            rows: range, length: length, inputs: inputs, targets: targets, segmentEnds: ends, lossMask: mask,
            weight: weight, vocabularySize: vocabulary)
    }

    var oracleRows: [Oracle.Row] {
        (0..<rows).map { row in
            let range = row * length..<(row + 1) * length
            return Oracle.Row(
                inputs: Array(inputs[range]), targets: Array(targets[range]), ends: ends[row].map(Int.init),
                mask: Array(mask[range]), weight: Double(weight))
        }
    }
}

/// Random parameters, norms and biases included.
func fillParameters(_ model: Transformer, seed: UInt64 = 7) {
    model.initialize(seed: seed)
    for (index, tensor) in model.layout.tensors.enumerated() where tensor.shape.count == 1 {
        let view = model.parameters.slice(tensor.offset, tensor.count)
        Random(seed: seed, purpose: UInt64(1000 + index)).normal(into: view, deviation: 0.2)
        if tensor.role == .norm { for i in 0..<view.count { view[i] += 1 } }
    }
    // B of an adapter, which begins with zero.
    for (index, tensor) in model.layout.tensors.enumerated() where tensor.role == .adapterOutput {
        Random(seed: seed, purpose: UInt64(1000 + index))
            .normal(into: model.parameters.slice(tensor.offset, tensor.count), deviation: 0.3)
    }
}

extension ModelConfiguration {
    /// With adapters as `--lora` names them.
    func adapted(_ text: String) throws -> ModelConfiguration {
        try adapted(by: LowRankAdapters(parsing: text, family: family))
    }
}

/// Adapters for every family: all matrices, and some of those that lie side by side.
let adapterTexts = ["rank=3,alpha=5,targets=all", "rank=2,targets=*.1.*attn*.?_proj+up_proj+*.0.*.c_proj+c_fc"]

/// `text` without the targets that a family has no matrix for.
func adapters(_ text: String, _ family: ModelFamily) -> String {
    let parts = text.split(separator: "=")
    let targets = parts[parts.count - 1].split(separator: "+").filter {
        $0 == "all" || ($0.contains("c_") == (family == .gpt2))
    }
    return parts.dropLast().joined(separator: "=") + "=" + targets.joined(separator: "+")
}

/// What one step leaves: gradients and losses as bits.
struct StepResult: Equatable {
    var gradient: [UInt32]
    var losses: [UInt32]
}

/// One step over `sample`, its rows cut into micro-batches of these sizes, in `lanes` lanes. Of what learns only names that
/// contain `trained`.
func step(
    _ configuration: ModelConfiguration, _ sample: SampleBatch, split: [Int], engine: Engine, lanes: Int = 1,
    recompute: Recompute = .none, logitsFloats: Int? = nil, precision: Precision = .fp32, trained: String? = nil
) throws -> StepResult {
    let largest = split.max() ?? 1
    let model = Transformer(
        configuration: configuration, engine: engine, rows: largest, length: sample.length, training: true,
        precision: precision, recompute: recompute, logitsFloats: logitsFloats)
    fillParameters(model)
    let frozen = trained.map { part in model.layout.tensors.map { !$0.name.contains(part) } }
    let gradients = (0..<lanes).map { _ in Gradients(configuration, layout: model.layout, neverTrained: frozen) }
    for lane in gradients { lane.begin(engine) }
    let losses = Tensor(zeroed: sample.rows * sample.length)
    let batch = ModelBatch(capacity: largest * sample.length)
    var row = 0
    for size in split {
        try sample.fill(batch, row..<row + size, vocabulary: configuration.vocabularySize)
        model.forwardBackward(
            batch, into: gradients[row * lanes / sample.rows],
            losses: losses.slice(row * sample.length, size * sample.length))
        row += size
    }
    for lane in gradients { lane.finish(engine) }
    Gradients.reduce(gradients, engine)
    return StepResult(
        gradient: gradients[0].flat.array.map(\.bitPattern), losses: losses.array.map(\.bitPattern))
}
