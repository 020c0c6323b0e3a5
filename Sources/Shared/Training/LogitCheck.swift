// A model that was made of another is held against it before it is published: logits of random ids, in float64, so that only
// what was done to the parameters shows.

internal import Bytes
internal import Checkpoints
private import Kernels
internal import Models

/// The ids that the models are given.
struct LogitCheck {
    let ids: [Int]
    /// For messages.
    private let name: String

    /// - Parameters:
    ///   - model: the smaller one of those to be compared.
    ///   - parameters: of the largest.
    init(_ model: ModelConfiguration, parameters: Int, name: String) {
        self.name = name
        // A pass over a model of a billion parameters takes a second or two a position.
        let positions = min(model.maximumPositions, parameters > 1 << 28 ? 8 : 32)
        let random = Random(seed: 0, purpose: RandomPurpose.expansionCheck)
        ids = (0..<positions).map { Int(random.bits(UInt64($0)) % UInt64(model.vocabularySize)) }
    }

    var positions: Int { ids.count }

    /// (positions, V). `read` gives the values of a tensor of the layout.
    func logits(_ model: ModelConfiguration, _ read: @escaping (String) throws -> [Float]) throws -> [Double] {
        // The longest work between two writes.
        try ReferenceForward(model) { name in
            try PendingWrites.check()
            return try read(name)
        }.logits(ids)
    }

    /// max |Δlogit| and max |logit| over the ids that both models have.
    /// - Throws: `Fault` (bad data) when a logit is not finite.
    func compare(_ before: [Double], _ after: [Double]) throws(Fault) -> (difference: Double, largest: Double) {
        let (old, new) = (before.count / positions, after.count / positions)
        var (difference, largest) = (0.0, 0.0)
        for t in 0..<positions {
            for id in 0..<old {
                let (value, changed) = (before[t * old + id], after[t * new + id])
                guard value.isFinite, changed.isFinite else {
                    throw .badData(name, "the model's logits are not finite: it cannot be checked")
                }
                largest = max(largest, abs(value))
                difference = max(difference, abs(changed - value))
            }
        }
        return (difference, largest)
    }
}

extension TensorSet {
    /// All of a tensor.
    func floats(_ name: String) throws -> [Float] {
        var values: [Float] = []
        try readFloats(name) { values += $1 }
        return values
    }
}
