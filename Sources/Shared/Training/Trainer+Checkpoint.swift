// A trainer to and from a checkpoint directory (docs/formats/checkpoint.md): the model under Hugging Face's names, the
// moments as `m.NAME` and `v.NAME`, everything else in state.json.

public import Bytes
public import Checkpoints
private import Kernels
public import Models
private import Optimizers
public import SystemPackage

extension Trainer {
    /// Writes every file of a checkpoint but the manifest. The same state gives the same bytes.
    public func write(_ writer: CheckpointWriter) throws {
        let configuration = model.configuration.naming(endOfDocument: state.data?.endOfDocument)
        try writer.write(configuration.json, to: Checkpoint.configurationName)
        try writer.write(
            model.layout.tensors.map { Trainer.source($0.name, $0, model.parameters) }, to: Checkpoint.modelName)
        try writer.write(
            model.layout.tensors.flatMap {
                [Trainer.source("m.\($0.name)", $0, optimizer.m), Trainer.source("v.\($0.name)", $0, optimizer.v)]
            }, to: Checkpoint.optimizerName)
        try writer.write(state.json, to: Checkpoint.stateName)
        if !state.expansions.isEmpty { writer.expansions = .array(state.expansions) }
    }

    private static func source(_ name: String, _ tensor: ParameterTensor, _ flat: Tensor) -> TensorSource {
        TensorSource(name: name, dtype: .f32, shape: tensor.shape) { emit in
            try flat.slice(tensor.offset, tensor.count).withBytes(emit)
        }
    }

    /// Writes the gradient of the step just done, before clipping, to `DIRECTORY/step-NNNNNNNN.safetensors`: for whoever
    /// compares it with another program's (docs/formats/checkpoint.md).
    public func writeGradient(of step: StepReport, to directory: FilePath) throws {
        _ = try SafetensorsWriter.write(
            to: directory.appending(RunDirectory.name(of: step.step) + ".safetensors"),
            tensors: model.layout.tensors.map { Trainer.source($0.name, $0, gradient) },
            metadata: [
                "format": "pt", "step": "\(step.step)", "loss": "\(step.loss)", "gradient_norm": "\(step.gradientNorm)",
            ], durable: false)
    }

    /// Takes over parameters and moments. Digests are checked on the way.
    /// - Throws: `Fault` (bad data) naming the tensor that is missing, too much, misshapen or damaged.
    public func load(_ checkpoint: Checkpoint) throws {
        try model.load(checkpoint)
        guard let moments = checkpoint.optimizer else {
            throw Fault.badData(
                checkpoint.path.string, "the checkpoint has no \(Checkpoint.optimizerName), so it cannot be resumed",
                hint: "train-step --run DIR --from CKPT begins anew from its parameters")
        }
        for (prefix, flat) in [("m.", optimizer.m), ("v.", optimizer.v)] {
            for tensor in model.layout.tensors {
                try moments.fill(
                    flat.slice(tensor.offset, tensor.count), from: prefix + tensor.name, shape: tensor.shape,
                    of: checkpoint)
            }
        }
    }
}

extension Transformer {
    /// Takes over the parameters of a checkpoint, also one that transformers wrote.
    /// - Throws: `Fault` (bad data) naming the tensor that is missing, too much, misshapen or damaged.
    public func load(_ checkpoint: Checkpoint) throws {
        try configuration.require(tensorsOf: checkpoint)
        for tensor in layout.tensors {
            try checkpoint.model.fill(
                parameters.slice(tensor.offset, tensor.count), from: checkpoint.model.storedName(of: tensor),
                shape: tensor.shape, of: checkpoint)
        }
    }
}

extension ModelConfiguration {
    /// Holds the headers of a checkpoint's files against the model, before memory is taken for it.
    /// - Throws: `Fault` (bad data) naming the tensor that is missing, too much or misshapen.
    public func require(tensorsOf checkpoint: Checkpoint) throws(Fault) {
        var rest = Set(checkpoint.model.entries.map(\.name))
        for tensor in ParameterLayout(self).tensors {
            let name = checkpoint.model.storedName(of: tensor)
            try checkpoint.model.require(name, shape: tensor.shape, of: checkpoint)
            rest.remove(name)
        }
        if let name = rest.filter({ !isBuffer($0) }).min() {
            throw Fault.badData(
                checkpoint.path.string,
                "tensor \(quoted(name)) has no place in the model that config.json describes")
        }
    }

    /// What old files carry that is no parameter: rotary frequencies, GPT-2's causal masks, a copy of a tied head.
    private func isBuffer(_ name: String) -> Bool {
        name.hasSuffix("rotary_emb.inv_freq") || name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias")
            || (name == "lm_head.weight" && tiesEmbeddings)
    }
}

extension TensorSet {
    /// The whole model's name of a tensor (`transformer.wte.weight`), or the bare one under which files of the model
    /// without its head have it (`wte.weight`, as the first GPT-2 files do).
    func storedName(of tensor: ParameterTensor) -> String {
        let bare = tensor.name.split(separator: ".", maxSplits: 1).last.map(String.init) ?? tensor.name
        return self[tensor.name] == nil && self[bare] != nil && tensor.name != "lm_head.weight" ? bare : tensor.name
    }

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
