// Rows of ids as the kernels take them: beside inputs and targets, for every position where its document begins inside
// the row, its place in the document, and the weight of its loss. The buffers are made once and filled again and again.

public import Bytes
import Kernels

/// Up to `capacity` positions, in rows of one length.
public final class ModelBatch {
    public let capacity: Int
    /// Rows and their length (B, T) of the present content.
    public private(set) var rows = 0
    public private(set) var length = 0
    /// Ids (B·T), below the vocabulary size.
    public let inputs: View<UInt32>
    /// The id that each position is to predict.
    public let targets: View<UInt32>
    /// The first position of the row that this one attends to: where its document begins.
    public let first: View<Int32>
    /// Distance from the beginning of the document's piece: the position that is rotated by or looked up.
    public let position: View<UInt32>
    /// What this position's loss is multiplied with in the gradient; 0 = no loss.
    public let weight: Tensor

    public init(capacity: Int) {
        self.capacity = capacity
        inputs = View(zeroed: capacity)
        targets = View(zeroed: capacity)
        first = View(zeroed: capacity)
        position = View(zeroed: capacity)
        weight = Tensor(zeroed: capacity)
    }

    /// Positions of the present content: B·T. The arrays are as long as `capacity`.
    public var count: Int { rows * length }

    /// Ids, where the document begins, the place in it, the weight: five numbers.
    static let bytesAPosition = 20

    /// Bytes that a batch of so many positions takes, with their losses.
    public static func bytes(positions: Int) -> Int { (bytesAPosition + 4) * positions }

    /// Takes over rows `range` of a batch.
    /// - Parameters:
    ///   - inputs: ids (B, T) of the whole batch; `targets` alike.
    ///   - segmentEnds: for each row of the whole batch the ends of its documents' pieces, rising; what lies behind the
    ///     last end is padding.
    ///   - lossMask: (B, T), false = no loss; nil = all but padding.
    ///   - weight: of each loss: 1 / the number of targets in the step.
    /// - Throws: `Fault` (bad data) for an id that the model does not have.
    public func fill(
        rows range: Range<Int>, length: Int, inputs: [UInt32], targets: [UInt32], segmentEnds: [[Int32]],
        lossMask: [Bool]?, weight: Float, vocabularySize: Int
    ) throws(Fault) {
        precondition(range.count * length <= capacity, "\(range.count) rows of \(length) in \(capacity) positions")
        precondition(inputs.count == targets.count && inputs.count >= range.upperBound * length)
        rows = range.count
        self.length = length
        for row in range {
            let target = (row - range.lowerBound) * length
            let source = row * length
            var start = 0
            var end = 0
            var segments = segmentEnds[row].makeIterator()
            for t in 0..<length {
                while t >= end {
                    start = t
                    end = segments.next().map(Int.init) ?? length + 1
                }
                let isPadding = end > length
                let (input, output) = (inputs[source + t], targets[source + t])
                guard Int(max(input, output)) < vocabularySize else {
                    throw Fault(
                        .badData,
                        "id \(max(input, output)) in row \(row) of a batch, expected ids below \(vocabularySize)")
                }
                self.inputs[target + t] = input
                self.targets[target + t] = output
                // A padding position attends to itself only: harmless, and never seen by others.
                first[target + t] = Int32(isPadding ? t : start)
                position[target + t] = UInt32(isPadding ? 0 : t - start)
                self.weight[target + t] = isPadding || lossMask?[source + t] == false ? 0 : weight
            }
        }
    }
}
