// One tensor of the larger model, made from one of the smaller: the same few lines carry the parameter, its first moment
// and its second, each by the rule that its kind of number follows. Rows come out one at a time, so that a tensor is never
// in memory twice.

import Kernels

/// What a flat array of the model's shape holds; each kind follows the expansion by its own rule.
public enum ExpandedQuantity: Sendable {
    /// Parameters, and averages of them.
    case parameters
    /// Gradients, and what is linear in them: first moments, momentum.
    case gradients
    /// Squares of gradients: second moments.
    case squaredGradients
}

/// How a tensor of the larger model comes from one of the smaller.
public struct ExpandedTensor: Sendable {
    /// Where its values come from.
    enum Content: Sendable {
        case mapped
        /// Parameters as they are mapped; no gradient reached them before.
        case withoutGradient
        /// A new layer's projection to the residual stream.
        case zero
        /// The rows of a table of positions, stretched.
        case interpolated
    }

    /// The new tensor, and the old one that it comes from.
    public let tensor, source: ParameterTensor
    let content: Content
    /// nil: unchanged.
    let rows, columns: AxisGrowth?
    /// What parameters are multiplied with, and gradients divided by.
    let scale: Double
    /// Of new values of a matrix.
    let deviation: Double
    let seed: UInt64
    /// Distinguishes the expansions of one run.
    let generation: UInt64
    /// Distinguishes tensors.
    let index: Int

    private var oldColumns: Int { source.shape.count == 1 ? 1 : source.shape[1] }
    private var newColumns: Int { tensor.shape.count == 1 ? 1 : tensor.shape[1] }

    /// Whether it belongs to a layer that adds nothing yet: it has not learned before, and its optimizer begins with it.
    public var isNew: Bool { content == .zero || content == .withoutGradient }

    /// Whether the smaller model's gradient says what the gradient of an element is. Outgoing weights of fresh units and
    /// projections of new layers have one that nothing before them tells; their moments begin at zero.
    package func isGradientDetermined(row: Int, column: Int) -> Bool {
        if content == .zero { return false }
        if content == .withoutGradient { return true }
        func hasSource(_ axis: AxisGrowth?, _ index: Int) -> Bool { axis.map { $0.source[index] >= 0 } ?? true }
        return hasSource(rows, row) && hasSource(columns, column)
    }

    /// Gives the new values, row-major, a row at a time.
    /// - Parameter old: the values of `source`.
    public func forEachRow(
        _ quantity: ExpandedQuantity, from old: [Float], _ body: ([Float]) throws -> Void
    ) rethrows {
        precondition(old.count == source.count, "\(old.count) values of \(source.name) of shape \(source.shape)")
        let isGradient = quantity != .parameters
        if content == .zero || (isGradient && content == .withoutGradient) {
            let row = [Float](repeating: 0, count: newColumns)
            for _ in 0..<tensor.shape[0] { try body(row) }
            return
        }
        if content == .interpolated { return try interpolate(quantity, old, body) }
        let mean = rows?.fill == .mean && !isGradient ? rowMean(old) : []
        for row in 0..<tensor.shape[0] {
            let from = rows.map { Int($0.source[row]) } ?? row
            if from < 0, isGradient {
                try body([Float](repeating: 0, count: newColumns))
            } else if from < 0 {
                try body(rows?.fill == .mean ? mean : newRow(row, rows?.fill ?? .initial))
            } else if isGradient {
                try body(gradientRow(quantity, row, from, old))
            } else {
                try body(parameterRow(row, from, old))
            }
        }
    }

    private func parameterRow(_ row: Int, _ from: Int, _ old: [Float]) -> [Float] {
        let width = oldColumns
        var values: [Float]
        if let columns {
            let fresh = columns.source.contains(-1) ? newRow(row, columns.fill) : []
            values = columns.source.enumerated().map { column, index in
                index < 0 ? fresh[column] : old[from * width + Int(index)]
            }
        } else {
            values = Array(old[from * width..<(from + 1) * width])
        }
        if scale != 1 {
            for i in values.indices where columns.map({ $0.source[i] >= 0 }) ?? true {
                values[i] = Float(Double(values[i]) * scale)
            }
        }
        if let columns, columns.isDivided {
            for i in values.indices where columns.copies[i] > 1 {
                values[i] = share(values[i], columns, i, element: from * width + Int(columns.source[i]))
            }
        } else if let rows, rows.isDivided, rows.copies[row] > 1 {
            for i in values.indices {
                values[i] = share(values[i], rows, row, element: from * width + i)
            }
        }
        return values
    }

    /// - Parameter element: the value's place in the old tensor: all its shares must agree on how it is cut.
    private func share(_ value: Float, _ axis: AxisGrowth, _ index: Int, element: Int) -> Float {
        let (ordinal, copies) = (Int(axis.ordinal[index]), Int(axis.copies[index]))
        if !axis.isUneven { return ExactShares.share(value, ordinal, of: copies, uniform: nil) }
        let random = Random(seed: seed, purpose: RandomPurpose.expansionShares + UInt64(self.index), step: generation)
        return ExactShares.share(value, ordinal, of: copies) { node in
            random.uniform(UInt64(element) &* 0x1_0000_0000 &+ UInt64(node))
        }
    }

    private func gradientRow(
        _ quantity: ExpandedQuantity, _ row: Int, _ from: Int, _ old: [Float]
    ) -> [Float] {
        let width = oldColumns
        func power(_ factor: Double) -> Double { quantity == .squaredGradients ? factor * factor : factor }
        func part(_ axis: AxisGrowth?, _ index: Int) -> Double {
            guard let axis, !axis.isDivided else { return 1 }
            return axis.share[index]
        }
        let rowFactor = power(part(rows, row) / scale)
        guard let columns else {
            let values = old[from * width..<(from + 1) * width]
            return rowFactor == 1 ? Array(values) : values.map { Float(Double($0) * rowFactor) }
        }
        return columns.source.enumerated().map { column, index in
            if index < 0 { return 0 }
            return Float(Double(old[from * width + Int(index)]) * (rowFactor * power(part(columns, column))))
        }
    }

    /// A row as a new model has it.
    private func newRow(_ row: Int, _ fill: AxisGrowth.Fill) -> [Float] {
        let width = newColumns
        switch tensor.role {
        case .norm: return [Float](repeating: 1, count: width)
        case .bias: return [Float](repeating: 0, count: width)
        case .matrix, .residualMatrix, .adapterInput, .adapterOutput:
            if fill == .zero { return [Float](repeating: 0, count: width) }
            let values = Tensor(zeroed: width)
            Random(seed: seed, purpose: RandomPurpose.expansion + UInt64(index), step: generation)
                .normal(into: values, first: UInt64(row * width), deviation: Float(deviation))
            return values.array
        }
    }

    private func rowMean(_ old: [Float]) -> [Float] {
        let width = oldColumns
        var sums = [Double](repeating: 0, count: width)
        for row in 0..<source.shape[0] {
            for i in 0..<width { sums[i] += Double(old[row * width + i]) }
        }
        return sums.map { Float($0 / Double(source.shape[0])) }
    }

    /// Row p of the new table stands where (p + ½) / factor − ½ is in the old one, which is a mean of two rows. A gradient
    /// that one old row had is spread over `factor` new ones.
    private func interpolate(
        _ quantity: ExpandedQuantity, _ old: [Float], _ body: ([Float]) throws -> Void
    ) rethrows {
        let (width, count) = (oldColumns, source.shape[0])
        let factor = Double(tensor.shape[0]) / Double(count)
        for row in 0..<tensor.shape[0] {
            let place = min(max((Double(row) + 0.5) / factor - 0.5, 0), Double(count - 1))
            let low = Int(place)
            let high = min(low + 1, count - 1)
            var weights = (1 - (place - Double(low)), place - Double(low))
            if quantity != .parameters { weights = (weights.0 / factor, weights.1 / factor) }
            if quantity == .squaredGradients { weights = (weights.0 * weights.0, weights.1 * weights.1) }
            try body(
                (0..<width).map {
                    Float(weights.0 * Double(old[low * width + $0]) + weights.1 * Double(old[high * width + $0]))
                })
        }
    }
}

extension RandomPurpose {
    /// New values of an expansion, plus the index of the tensor.
    static let expansion: UInt64 = 16 << 32
    /// Uneven shares of an expansion, plus the index of the tensor.
    static let expansionShares: UInt64 = 17 << 32
    /// Ids that an expansion is checked with.
    public static let expansionCheck: UInt64 = 18 << 32
}
