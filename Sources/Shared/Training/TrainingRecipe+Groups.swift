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
    func groups(_ model: some ModelDescription) -> [ParameterGroup] {
        let tensors = model.tensors
        let alwaysFrozen = FreezePolicy(freezes, tensors).alwaysFrozen
        return tensors.enumerated().map { index, tensor in
            let isMatrix = tensor.layer != nil && tensor.shape.count == 2
            return ParameterGroup(
                offset: tensor.offset, count: tensor.count, decays: rules.decays(tensor), rate: rules.rate(tensor),
                matrix: isMatrix
                    ? .init(
                        rows: tensor.shape[0], columns: tensor.shape[1], isInputMajor: model.isInputMajor)
                    : nil, isTrained: !alwaysFrozen[index])
        }
    }

    /// Bytes that the optimizer of a model will hold.
    func optimizerBytes(_ model: some ModelDescription) -> Int {
        Optimizer.bytes(groups: groups(model), settings: settings)
    }
}
