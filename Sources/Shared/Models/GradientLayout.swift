// Where gradients lie. Most runs train everything, and then this is the parameters' layout; where matrices are frozen from the
// first step to the last, as under adapters, a buffer as large as the model would hold nothing. Norms and biases keep their
// place in any case: they are small, and the kernels that pass a norm's gradient on write its weight's beside it.

/// The parameters' layout without the matrices that never learn.
public struct GradientLayout: Sendable, Equatable {
    /// First element of each tensor of the parameters' layout; nil: it has no place.
    public let offsets: [Int?]
    /// Elements of the flat array.
    public let count: Int
    /// Neighbours in both arrays: a range of the parameters', and where it begins here.
    private let runs: [Run]

    private struct Run: Sendable, Equatable {
        var parameters: Range<Int>
        let start: Int
    }

    /// - Parameter neverTrained: of each tensor; nil: all may learn.
    public init(_ tensors: [ParameterTensor], neverTrained: [Bool]? = nil) {
        precondition(
            neverTrained?.count ?? tensors.count == tensors.count,
            "a mask of \(neverTrained?.count ?? 0) for \(tensors.count) tensors")
        var (offsets, runs, count): ([Int?], [Run], Int) = ([], [], 0)
        for (index, tensor) in tensors.enumerated() {
            if neverTrained?[index] ?? false, tensor.shape.count > 1 {
                offsets.append(nil)
                continue
            }
            offsets.append(count)
            if let last = runs.last, last.parameters.upperBound == tensor.offset {
                runs[runs.count - 1].parameters = last.parameters.lowerBound..<tensor.range.upperBound
            } else {
                runs.append(Run(parameters: tensor.range, start: count))
            }
            count += tensor.count
        }
        (self.offsets, self.runs, self.count) = (offsets, runs, count)
    }

    /// The place of a range of the parameters' array, all of which has one; nil: it has not.
    func place(of range: Range<Int>) -> Range<Int>? {
        guard
            let run = runs.first(where: {
                $0.parameters.lowerBound <= range.lowerBound && range.upperBound <= $0.parameters.upperBound
            })
        else { return nil }
        let start = run.start + range.lowerBound - run.parameters.lowerBound
        return start..<start + range.count
    }

    /// What of a range of the parameters' array has a place, in its order.
    func parts(of range: Range<Int>) -> [Range<Int>] {
        runs.map { $0.parameters.clamped(to: range) }.filter { !$0.isEmpty }
    }
}
