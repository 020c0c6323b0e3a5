// Loss over a whole batch stream: what `--validation` and `ckpt-tool evaluate` report.

public import Batches
public import Bytes
internal import Kernels
public import Models

/// The loss of a model on a stream.
public struct Evaluation: Sendable, Equatable {
    /// Mean loss in nats a target.
    public let loss: Double
    /// Targets it is the mean of.
    public let tokens: Int

    /// Evaluates the rest of a stream, as many rows at once as the model was planned for.
    /// - Parameter name: the stream, for messages.
    /// - Returns: nil when interrupted.
    /// - Throws: `Fault` (bad data) for a damaged stream, one without targets, or rows longer than planned for.
    public static func measure(
        _ model: some TrainableModel, _ reader: inout BatchStreamReader, name: String,
        isInterrupted: () -> Bool = { false }
    ) throws(Fault) -> Evaluation? {
        try measure(
            model, &reader, name: name, batch: ModelBatch(capacity: model.capacity),
            losses: Tensor(zeroed: model.capacity), isInterrupted: isInterrupted)
    }

    static func measure(
        _ model: some TrainableModel, _ reader: inout BatchStreamReader, name: String, batch: ModelBatch,
        losses: Tensor,
        isInterrupted: () -> Bool
    ) throws(Fault) -> Evaluation? {
        guard reader.head.length <= model.length else {
            throw .badData(
                name, "rows of \(reader.head.length) tokens, expected at most \(model.length)",
                hint: "make the stream with tok-pack --length \(model.length)")
        }
        var sum = 0.0
        var count = 0
        while let tokens = try reader.next() {
            let part = model.capacity / tokens.length
            for row in stride(from: 0, to: tokens.rows, by: part) {
                if isInterrupted() { return nil }
                let rows = row..<min(row + part, tokens.rows)
                try batch.fill(tokens, rows: rows, weight: 1, vocabularySize: model.configuration.vocabularySize)
                let losses = losses.slice(0, rows.count * tokens.length)
                model.evaluate(batch, losses: losses)
                sum = add(losses, to: sum)
            }
            count += tokens.lossPositions
        }
        if count == 0 { throw .badData(name, "the stream has no targets") }
        return Evaluation(loss: sum / Double(count), tokens: count)
    }

    /// Adds float losses in double, in order of position, so that the sum does not depend on how rows were split.
    static func add(_ losses: Tensor, to sum: Double) -> Double {
        var sum = sum
        for index in 0..<losses.count { sum += Double(losses[index]) }
        return sum
    }
}
