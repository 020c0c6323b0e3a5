// A trainer to and from a checkpoint directory (docs/formats/checkpoint.md): the model under Hugging Face's names, the
// moments as `m.NAME` and `v.NAME`, everything else in state.json.

private import Bytes
public import Checkpoints
private import Kernels
public import Models
private import Optimizers
private import SystemPackage

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
    }

    private static func source(_ name: String, _ tensor: ParameterTensor, _ flat: Tensor) -> TensorSource {
        TensorSource(name: name, dtype: .f32, shape: tensor.shape) { emit in
            try flat.slice(tensor.offset, tensor.count).withBytes(emit)
        }
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
        for tensor in layout.tensors {
            try checkpoint.model.fill(
                parameters.slice(tensor.offset, tensor.count), from: tensor.name, shape: tensor.shape, of: checkpoint)
        }
        for entry in checkpoint.model.entries where layout[entry.name] == nil {
            // Old files carry the rotary frequencies as a buffer, and some a copy of a tied head.
            if entry.name.hasSuffix("rotary_emb.inv_freq") { continue }
            if entry.name == "lm_head.weight" && configuration.tiesEmbeddings { continue }
            throw Fault.badData(
                checkpoint.path.string,
                "tensor \(quoted(entry.name)) has no place in the model that config.json describes")
        }
    }
}

extension TensorSet {
    /// Fills `view` with a tensor of that shape, converted to float32 if need be.
    fileprivate func fill(_ view: Tensor, from name: String, shape: [Int], of checkpoint: Checkpoint) throws {
        guard let entry = self[name] else {
            throw Fault.badData(checkpoint.path.string, "tensor \(quoted(name)) is missing")
        }
        guard entry.shape == shape else {
            throw Fault.badData(
                checkpoint.path.string, "tensor \(quoted(name)) has shape \(entry.shape), expected \(shape)")
        }
        try readFloats(name) { first, values in view.slice(first, values.count).copy(values) }
    }
}
