// A trainer to and from a checkpoint directory (docs/formats/checkpoint.md): the model under Hugging Face's names, the
// moments as `m.NAME` and `v.NAME` where the optimizer has them, everything else in state.json.

public import Bytes
public import Checkpoints
package import Kernels
public import Models
private import Optimizers
public import SystemPackage

extension Trainer {
    /// What a checkpoint of this moment holds: every file but the tokenizer's and the manifest. Its tensors are this trainer's own memory.
    public var content: CheckpointContent {
        func named(_ prefix: String, _ flat: Tensor) -> [CheckpointContent.NamedTensor] {
            tensors.map {
                .init(name: prefix + $0.name, shape: $0.shape, values: flat.slice($0.offset, $0.count))
            }
        }
        var content = CheckpointContent()
        let configuration = model.configuration.naming(endOfDocument: state.data?.endOfDocument)
        content.add(configuration.json, as: Checkpoint.configurationName)
        content.add(named("", model.parameters), as: Checkpoint.modelName)
        content.add(
            moments.map { .init(name: $0.name, shape: $0.tensor.shape, values: $0.view) }, as: Checkpoint.optimizerName)
        if let average { content.add(named("", average), as: Checkpoint.averageName) }
        var state = state
        // Who began to learn later has a bias correction of its own.
        state.ownUpdates = tensors.enumerated().compactMap { index, tensor in
            optimizer.isFrozen[index] || optimizer.updates[index] == state.updates
                ? nil : .init(name: tensor.name, updates: optimizer.updates[index])
        }
        content.add(state.json, as: Checkpoint.stateName)
        if !state.expansions.isEmpty { content.expansions = .array(state.expansions) }
        return content
    }

    /// What the optimizer keeps of each parameter, and its name in a checkpoint.
    var moments: [(name: String, tensor: ParameterTensor, view: Tensor)] {
        tensors.enumerated().flatMap { index, tensor in
            [("m." + tensor.name, optimizer.m(of: index)), ("v." + tensor.name, optimizer.v(of: index))]
                .compactMap { name, view in view.map { (name, tensor, $0) } }
        }
    }

    /// The last step's gradient of a tensor of the layout that was not frozen in it.
    package func gradient(of index: Int) -> Tensor {
        gradient.slice(optimizer.groups[index].gradientOffset, optimizer.groups[index].count)
    }

    /// Writes every file of a checkpoint but the manifest. The same state gives the same bytes.
    public func write(_ writer: CheckpointWriter) throws { try content.write(writer) }

    /// Writes the gradient of the step just done, of what was not frozen, before clipping, to `DIRECTORY/step-NNNNNNNN.safetensors`: for whoever
    /// compares it with another program's (docs/formats/checkpoint.md).
    public func writeGradient(of step: StepReport, to directory: FilePath) throws {
        _ = try SafetensorsWriter.write(
            to: directory.appending(RunDirectory.name(of: step.step) + ".safetensors"),
            tensors: tensors.indices.filter { !optimizer.isFrozen[$0] }.map { index in
                let tensor = tensors[index]
                return TensorSource(name: tensor.name, dtype: .f32, shape: tensor.shape) { emit in
                    try self.gradient(of: index).withBytes(emit)
                }
            },
            metadata: [
                "format": "pt", "step": "\(step.step)", "loss": "\(step.loss)", "gradient_norm": "\(step.gradientNorm)",
            ], durable: false)
    }

    /// Takes over parameters and moments. Digests are checked on the way.
    /// - Throws: `Fault` (bad data) naming the tensor that is missing, too much, misshapen or damaged.
    public func load(_ checkpoint: Checkpoint) throws {
        willChange()
        try model.load(checkpoint)
        guard let file = checkpoint.optimizer else {
            throw Fault.badData(
                checkpoint.path.string, "the checkpoint has no \(Checkpoint.optimizerName), so it cannot be resumed",
                hint: "train-step --run DIR --from CKPT begins anew from its parameters")
        }
        resumePolicy()
        for (name, tensor, view) in moments { try file.fill(view, from: name, shape: tensor.shape, of: checkpoint) }
        if let average {
            guard let file = checkpoint.average else {
                throw Fault.badData(
                    checkpoint.path.string,
                    "the checkpoint has no \(Checkpoint.averageName), and its recipe has an average")
            }
            for tensor in tensors {
                try file.fill(
                    average.slice(tensor.offset, tensor.count), from: tensor.name, shape: tensor.shape, of: checkpoint)
            }
        }
        optimizer.resume(
            updates: tensors.map { tensor in
                state.ownUpdates.first { $0.name == tensor.name }?.updates ?? state.updates
            })
    }
}

extension TrainableModel {
    /// Takes over the parameters of a checkpoint, also one that another program wrote.
    /// - Parameter stored: what the checkpoint has of the model, the rest stays as it is; nil: all of it.
    /// - Throws: `Fault` (bad data) naming the tensor that is missing, too much, misshapen or damaged.
    public func load(_ checkpoint: Checkpoint, as stored: Description? = nil) throws {
        let stored = stored ?? configuration
        try stored.require(tensorsOf: checkpoint)
        try stored.require(copiesIn: checkpoint)
        let names = Set(stored.tensors.map(\.name))
        for tensor in configuration.tensors where names.contains(tensor.name) {
            try checkpoint.model.fill(
                parameters.slice(tensor.offset, tensor.count),
                from: configuration.name(of: tensor, in: checkpoint.model),
                shape: tensor.shape, of: checkpoint)
        }
    }
}

extension ModelDescription {
    /// Holds the headers of a checkpoint's files against the model, before memory is taken for it.
    /// - Throws: `Fault` (bad data) naming the tensor that is missing, too much or misshapen.
    public func require(tensorsOf checkpoint: Checkpoint) throws(Fault) {
        var rest = Set(checkpoint.model.entries.map(\.name))
        for tensor in tensors {
            let name = name(of: tensor, in: checkpoint.model)
            try checkpoint.model.require(name, shape: tensor.shape, of: checkpoint)
            rest.remove(name)
        }
        if let name = rest.filter({ !isBuffer($0) }).min() {
            throw Fault.badData(
                checkpoint.path.string,
                "tensor \(quoted(name)) has no place in the model that config.json describes")
        }
    }

    /// Holds what a checkpoint has twice, such as the head of a tied model, against what is loaded. Reads both.
    /// - Throws: `Fault` (bad data) naming the tensor that differs: it would be lost in silence.
    public func require(copiesIn checkpoint: Checkpoint) throws(Fault) {
        let stored = checkpoint.model.tensors
        for copy in stored where isBuffer(copy.name) {
            guard let usual = original(ofBuffer: copy.name),
                let tensor = tensors.first(where: { $0.name == usual }),
                let original = stored.first(where: { $0.name == name(of: tensor, in: checkpoint.model) }),
                try !copy.hasValues(of: original)
            else { continue }
            throw .badData(
                checkpoint.path.string,
                "tensor \(quoted(copy.name)) differs from \(quoted(original.name)), but config.json says that they are one",
                hint: "with \"tie_word_embeddings\": false in config.json both are kept")
        }
    }

    /// The name under which a file has a tensor; the usual one when it has none.
    public func name(of tensor: ParameterTensor, in file: TensorSet) -> String {
        storedNames(of: tensor).first { file[$0] != nil } ?? tensor.name
    }
}

extension TensorSet {
    fileprivate func require(_ name: String, shape: [Int], of checkpoint: Checkpoint) throws(Fault) {
        guard let entry = self[name] else {
            throw Fault.badData(checkpoint.path.string, "tensor \(quoted(name)) is missing")
        }
        guard entry.shape == shape else {
            throw Fault.badData(
                checkpoint.path.string, "tensor \(quoted(name)) has shape \(entry.shape), expected \(shape)")
        }
    }

    /// Fills `view` with a tensor of that shape, converted to float32 if need be.
    fileprivate func fill(_ view: Tensor, from name: String, shape: [Int], of checkpoint: Checkpoint) throws {
        try require(name, shape: shape, of: checkpoint)
        try readFloats(name) { first, values in view.slice(first, values.count).copy(values) }
    }
}
