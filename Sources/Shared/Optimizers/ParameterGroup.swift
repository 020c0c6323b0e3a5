// One parameter as an optimizer sees it: where it lies, and how it is treated.

/// A stretch of the flat arrays with one treatment.
public struct ParameterGroup: Sendable, Equatable {
    /// A matrix as it is stored, row after row.
    public struct Shape: Sendable, Equatable {
        public let rows, columns: Int
        /// Whether rows are inputs, as GPT-2 stores its layers' matrices, and not outputs.
        public let isInputMajor: Bool

        public init(rows: Int, columns: Int, isInputMajor: Bool = false) {
            self.rows = rows
            self.columns = columns
            self.isInputMajor = isInputMajor
        }
    }

    public let offset: Int
    public let count: Int
    /// Where its gradient begins in the gradient's array, which lacks what never learns.
    public let gradientOffset: Int
    /// Whether weight decay applies.
    public let decays: Bool
    /// Multiplies the learning rate.
    public let rate: Double
    /// Set for a matrix of a block, which Muon makes orthogonal.
    public let matrix: Shape?
    /// False when it is frozen from the first step to the last: then it has no moments.
    public let isTrained: Bool

    public init(
        offset: Int, count: Int, decays: Bool, rate: Double = 1, matrix: Shape? = nil, isTrained: Bool = true,
        gradientOffset: Int? = nil
    ) {
        precondition(matrix.map { $0.rows * $0.columns == count } ?? true, "a matrix of \(count) elements")
        self.offset = offset
        self.count = count
        self.gradientOffset = gradientOffset ?? offset
        self.decays = decays
        self.rate = rate
        self.matrix = matrix
        self.isTrained = isTrained
    }
}
