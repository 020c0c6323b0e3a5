// The transformer as training sees it.

public import Bytes
public import Kernels

extension ModelConfiguration: ModelDescription {
    public var tensors: [ParameterTensor] { ParameterLayout(self).tensors }

    /// The whole model's name of a tensor (`transformer.wte.weight`), or the bare one under which files of the model
    /// without its head have it (`wte.weight`, as the first GPT-2 files do).
    public func storedNames(of tensor: ParameterTensor) -> [String] {
        let bare = tensor.name.split(separator: ".", maxSplits: 1).last.map(String.init)
        return [tensor.name] + (tensor.name == "lm_head.weight" ? [] : bare.map { [$0] } ?? [])
    }

    /// Adapters are new where the checkpoint has none.
    public func stored(in origin: JSON) throws(Fault) -> ModelConfiguration {
        adapters != nil && origin["lora"] == nil ? try adapted(by: nil) : self
    }

    /// What old files carry that is no parameter: rotary frequencies, GPT-2's causal masks, a copy of a tied head.
    public func isBuffer(_ name: String) -> Bool {
        name.hasSuffix("rotary_emb.inv_freq") || name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias")
            || (name == "lm_head.weight" && tiesEmbeddings)
    }

    public func original(ofBuffer name: String) -> String? {
        guard name == "lm_head.weight", tiesEmbeddings else { return nil }
        return family == .gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight"
    }
}

extension Transformer: TrainableModel {
    public convenience init(_ description: ModelConfiguration, engine: Engine, shape: TrainingShape) {
        self.init(
            configuration: description, engine: engine, rows: shape.rows, length: shape.length, training: true,
            precision: shape.precision, recompute: shape.recompute)
    }

    /// Only adapters can be missing.
    public func initialize(seed: UInt64, beside stored: ModelConfiguration) {
        if stored.adapters != configuration.adapters { initializeAdapters(seed: seed) }
    }

    public func makeAccumulator(neverTrained: [Bool]) -> Gradients {
        Gradients(configuration, layout: layout, neverTrained: neverTrained)
    }

    public static func plan(
        _ description: ModelConfiguration, engine: Engine, shape: TrainingShape, lanes: Int, moments: Int,
        neverTrained: [Bool]
    ) -> MemoryPlan {
        plan(
            description, engine: engine, rows: shape.rows, length: shape.length, training: true,
            recompute: shape.recompute, lanes: lanes, moments: moments, neverTrained: neverTrained)
    }

    public static func activationBytes(_ description: ModelConfiguration, shape: TrainingShape) -> Int {
        4
            * Activations.count(
                description, rows: shape.rows, length: shape.length, training: true, recompute: shape.recompute,
                logitsFloats: logitsFloats(description))
    }

    public func watchStream(_ observer: ((String, Tensor, Int) -> Void)?) { streamObserver = observer }

    public func watchStages(_ observer: @escaping (String, Tensor) -> Void, during body: () -> Void) {
        let (before, family) = (tap, configuration.family)
        tap = { stage, output in
            before?(stage, output)
            observer(stage.name(in: family), output)
        }
        defer { tap = before }
        body()
    }
}
