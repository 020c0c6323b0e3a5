// The guard of a step: whether it may be learned from, and when not, which tensor was the first that is not finite. Asking
// costs two comparisons and the window's sums; looking for the tensor costs a forward pass, but only of a step that is lost
// anyway.

internal import Batches
internal import Bytes
package import Kernels
internal import Models
internal import Optimizers

/// Where a test may look at what a step computes, and change it. Nothing else sets these.
package struct StepTaps {
    /// The summed gradient, before anything is made of it.
    package var gradient: ((Tensor) -> Void)?
    /// First and second moments, before an update.
    package var moments: ((Tensor, Tensor) -> Void)?
}

extension Trainer {
    /// Why the step that was just computed must not be applied; nil: it may be.
    func judge(_ tokens: TokenBatch, targets: Int, loss: Double, gradientNorm: Double) -> SkippedStep? {
        if targets == 0 { return SkippedStep(cause: .noTargets, value: loss) }
        if !loss.isFinite || !gradientNorm.isFinite {
            if let name = nonfiniteParameter {
                return SkippedStep(cause: .nonfiniteParameter, tensor: name, value: loss)
            }
            if !loss.isFinite {
                return SkippedStep(cause: .nonfiniteLoss, tensor: nonfiniteStage(tokens), value: loss)
            }
            return SkippedStep(
                cause: .nonfiniteGradient, tensor: nonfiniteGradient, value: gradientNorm)
        }
        return state.guardState.window?.verdict(loss: loss, gradientNorm: gradientNorm)
    }

    /// The first parameter with an element that is not finite.
    var nonfiniteParameter: String? { firstNonfinite(in: model.parameters) }

    /// The first tensor of a checkpoint made now that has an element that is not finite: parameters, then moments, then the
    /// moving average.
    var nonfiniteTensor: String? {
        if let name = nonfiniteParameter { return name }
        let moment = moments.first { !model.engine.sumOfSquares($0.view).isFinite }
        return moment?.name ?? average.flatMap { firstNonfinite(in: $0) }.map { "average of " + $0 }
    }

    /// The first tensor that learns whose gradient has an element that is not finite.
    private var nonfiniteGradient: String? {
        let tensors = tensors
        return tensors.indices.first {
            !optimizer.isFrozen[$0] && !model.engine.sumOfSquares(gradient(of: $0)).isFinite
        }.map { tensors[$0].name }
    }

    private func firstNonfinite(in flat: Tensor) -> String? {
        if model.engine.sumOfSquares(flat).isFinite { return nil }
        return tensors.first {
            !model.engine.sumOfSquares(flat.slice($0.offset, $0.count)).isFinite
        }?.name
    }

    /// The first stage of the forward pass whose output is not finite, in the micro-batches' order: they are computed once
    /// more. nil when all of them are.
    private func nonfiniteStage(_ tokens: TokenBatch) -> String? {
        watchStages { isFound in
            for row in stride(from: 0, to: tokens.rows, by: max(1, model.capacity / tokens.length)) {
                let rows = row..<min(row + max(1, model.capacity / tokens.length), tokens.rows)
                guard (try? fill(tokens, rows: rows, weight: 1)) != nil else { return }
                model.evaluate(batch, losses: losses.slice(0, rows.count * tokens.length))
                if isFound() { return }
            }
        }
    }

    /// Runs `body` with an eye on each stage's output.
    /// - Returns: the first that was not finite, by name.
    func watchStages(_ body: (_ isFound: () -> Bool) -> Void) -> String? {
        var found: String?
        let engine = model.engine
        model.watchStages(
            { stage, output in
                if found == nil && !engine.sumOfSquares(output).isFinite { found = stage }
            },
            during: { body { found != nil } })
        return found
    }
}
