// A recipe meets a model: how each of its parameters is treated.

internal import Kernels
internal import Models
internal import Optimizers

extension TrainingRecipe {
    /// The numbers of the optimizer.
    var settings: OptimizerSettings {
        OptimizerSettings(
            kind: optimizer, beta1: beta1, beta2: beta2, epsilon: epsilon, momentum: momentum, nesterov: nesterov,
            muonScale: muonScale, weightDecay: weightDecay, clip: clip)
    }

    /// A group for each tensor of the model, in its order.
    /// - Parameter places: where gradients lie; nil: nobody asks for them.
    func groups(_ model: some ModelDescription, places: GradientLayout? = nil) -> [ParameterGroup] {
        let tensors = model.tensors
        let alwaysFrozen = neverTrained(tensors)
        return tensors.enumerated().map { index, tensor in
            let isMatrix = tensor.layer != nil && tensor.shape.count == 2
            return ParameterGroup(
                offset: tensor.offset, count: tensor.count, decays: rules.decays(tensor), rate: rules.rate(tensor),
                matrix: isMatrix
                    ? .init(
                        rows: tensor.shape[0], columns: tensor.shape[1],
                        isInputMajor: model.isInputMajor && !tensor.isAdapter)
                    : nil, isTrained: !alwaysFrozen[index], gradientOffset: places?.offsets[index] ?? 0)
        }
    }

    /// Whether each tensor is frozen in every step: it needs neither moments nor room for a gradient.
    func neverTrained(_ tensors: [ParameterTensor]) -> [Bool] { FreezePolicy(freezes, tensors).alwaysFrozen }

    /// Bytes that the optimizer of a model will hold.
    func optimizerBytes(_ model: some ModelDescription) -> Int {
        Optimizer.bytes(groups: groups(model), settings: settings)
    }
}
