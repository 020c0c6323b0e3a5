// The moving average of the parameters (Polyak & Juditsky 1992): smoother than they are, and often the better model. It follows
// each applied update, is part of the checkpoint, and never part of the training itself.

internal import Kernels
internal import Models

extension Trainer {
    /// The average of a recipe that has one begins with the parameters as they are: call it when they are there, and not after
    /// `load`, which brings it along.
    public func beginAverage() { average?.copy(model.parameters) }

    /// average += (1 − decay) · (parameters − average), after an applied update.
    func updateAverage() {
        guard let average, let decay = state.recipe.averageDecay else { return }
        model.engine.average(model.parameters, weight: Float(1 - decay), into: average)
    }

    /// Puts the average in the parameters' place, or both back.
    func exchangeAverage() {
        if let average { model.parameters.exchange(average) }
    }
}
