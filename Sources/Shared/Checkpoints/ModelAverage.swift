// The average of models, tensor by tensor: every model is read once, in pieces, side by side. Sums are float64 in the order
// of the models and are rounded once.

public import Bytes
private import Synchronization
internal import SystemPackage

extension ForeignModel {
    /// How models are averaged.
    public enum Averaging: Sendable {
        /// Σ wᵢ xᵢ / Σ wᵢ; a weight a model.
        case weighted([Double])
        /// a₁ = x₁, aᵢ = β aᵢ₋₁ + (1 − β) xᵢ.
        case exponential(Double)
    }

    /// The average of `models`, which must have the same tensors and configurations; all else is the last one's.
    /// - Throws: `Fault` (bad data) naming what differs.
    /// - Parameters:
    ///   - target: what the average is rounded to; nil for the last model's types.
    ///   - configurations: a configuration a model to be compared in place of its own, for who knows what keys mean and
    ///     what stands for one that is missing.
    public static func average(
        _ models: [ForeignModel], _ averaging: Averaging, target: ConversionOptions.Target? = nil,
        comparing configurations: [JSON]? = nil
    ) throws(Fault) -> ForeignModel {
        precondition(!models.isEmpty, "an average of no models")
        guard let last = models.last else { preconditionFailure() }
        precondition(configurations.map { $0.count == models.count } ?? true, "a configuration a model")
        for (index, model) in models.enumerated() {
            try model.requireTiedHead()
            try model.requireConfiguration(
                configurations?[index] ?? model.configuration, like: configurations?.last ?? last.configuration,
                of: last)
            try model.requireTensors(like: last)
        }
        var result = last
        result.notes =
            models.contains { !$0.notes.isEmpty } ? ["what the checkpoints hold besides the model is left out"] : []
        result.tensors = []
        for tensor in last.tensors {
            guard DataType.floatingPoint.contains(tensor.dtype) else {
                throw last.fault("tensor \(quoted(tensor.name)) has type \(tensor.dtype), of which there is no average")
            }
            let parts = models.compactMap { $0[tensor.name] }
            let dtype = target?.encoding.dtype ?? tensor.dtype
            let storage = AverageStorage(parts, dtype: dtype, averaging: averaging)
            result.tensors.append(ModelTensor(tensor.name, tensor.shape, storage))
        }
        return result
    }

    /// What may differ between configurations of the same model.
    private static let incidental: Set<String> = [
        "dtype", "torch_dtype", "transformers_version", "_name_or_path", "use_cache", "initializer_range",
        "attn_pdrop", "embd_pdrop", "resid_pdrop", "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id",
    ]

    private func requireConfiguration(_ mine: JSON?, like theirs: JSON?, of other: ForeignModel) throws(Fault) {
        let (mine, theirs) = (mine?.objectValue, theirs?.objectValue)
        if let mine, let theirs {
            for key in mine.keys + theirs.keys where !ForeignModel.incidental.contains(key) {
                let (left, right) = (mine[key] ?? .null, theirs[key] ?? .null)
                if left != right && left.doubleValue.map({ $0 != right.doubleValue }) ?? true {
                    throw fault(
                        "'\(printable(key))' is \(printable(left.compact)), but \(printable(right.compact)) in \(quoted(other.path.string))"
                    )
                }
            }
        }
    }

    private func requireTensors(like other: ForeignModel) throws(Fault) {
        var shapes: [String: [Int]] = [:]
        for tensor in other.tensors { shapes[tensor.name] = tensor.shape }
        for tensor in tensors {
            guard let shape = shapes.removeValue(forKey: tensor.name) else {
                throw fault("tensor \(quoted(tensor.name)) is not in \(quoted(other.path.string))")
            }
            if shape != tensor.shape {
                throw fault(
                    "tensor \(quoted(tensor.name)) has shape \(tensor.shape), but \(shape) in \(quoted(other.path.string))"
                )
            }
        }
        if let name = shapes.keys.min() {
            throw fault("tensor \(quoted(name)) is missing, which is in \(quoted(other.path.string))")
        }
    }
}

/// The average of tensors of one shape. Quick when it is read in order.
private final class AverageStorage: TensorStorage {
    private struct State {
        var readers: [ModelTensorReader] = []
        var position = 0
        var pending: [UInt8] = []
    }

    let dtype: DataType
    let elementCount: Int
    let subject: String
    private let parts: [ModelTensor]
    private let averaging: ForeignModel.Averaging
    private let state = Mutex(State())

    var encoding: TensorEncoding { .plain(dtype) }
    var byteCount: Int { encoding.byteCount(elementCount) }
    var check: TensorCheck { .none }

    init(_ parts: [ModelTensor], dtype: DataType, averaging: ForeignModel.Averaging) {
        self.parts = parts
        self.dtype = dtype
        self.averaging = averaging
        elementCount = parts[0].elementCount
        subject = "average of tensor \(quoted(parts[0].name))"
    }

    func read(first: Int, count: Int) throws(Fault) -> [UInt8] {
        try state.withLock { (state) throws(Fault) -> [UInt8] in
            if state.readers.isEmpty || first < state.position {
                state = State(readers: parts.map { $0.reader() })
            }
            let size = dtype.bitWidth / 8
            while state.pending.count < (first + count - state.position) * size {
                var pieces: [[Double]] = []
                for index in state.readers.indices {
                    guard let bytes = try state.readers[index].next(),
                        let values = parts[index].dtype.doubles(bytes)
                    else { throw Fault(.badData, "\(subject): expected \(count) more elements, found the end") }
                    pieces.append(values)
                }
                state.pending += try rounded(combined(pieces))
            }
            let start = (first - state.position) * size
            let bytes = Array(state.pending[start..<start + count * size])
            state.pending.removeFirst(start + count * size)
            state.position = first + count
            // Ends the readers, whose digests are checked by that.
            if state.position == elementCount {
                for index in state.readers.indices { _ = try state.readers[index].next() }
            }
            return bytes
        }
    }

    private func combined(_ pieces: [[Double]]) -> [Double] {
        var sums: [Double]
        switch averaging {
        case .weighted(let weights):
            let total = weights.reduce(0, +)
            sums = [Double](repeating: 0, count: pieces[0].count)
            for (piece, weight) in zip(pieces, weights) {
                for index in sums.indices { sums[index] += weight * piece[index] }
            }
            for index in sums.indices { sums[index] /= total }
        case .exponential(let beta):
            sums = pieces[0]
            for piece in pieces.dropFirst() {
                for index in sums.indices { sums[index] = beta * sums[index] + (1 - beta) * piece[index] }
            }
        }
        return sums
    }

    private func rounded(_ values: [Double]) throws(Fault) -> [UInt8] {
        if dtype == .f64 { return values.map(\.bitPattern).littleEndianBytes }
        do throws(EncodingTrouble) {
            // To 16 bits by way of a float32 that is rounded to odd, so that the second rounding is that of the first.
            let floats = values.map { dtype == .f32 ? Float($0) : Float(roundingToOdd: $0) }
            return try DataType.encode(
                floats, as: dtype, checkingOverflowOf: values.map(\.bitPattern).littleEndianBytes)
        } catch { throw Fault(.badData, "\(subject): \(error.reason(encoding))") }
    }
}

extension Float {
    /// The value, or of its two neighbours the one whose last bit is set: what is rounded once more afterwards, to fewer
    /// bits, ends where one rounding would have ended (Boldo and Melquiond 2008).
    init(roundingToOdd value: Double) {
        let nearest = Float(value)
        guard Double(nearest) != value, nearest.isFinite, nearest.bitPattern & 1 == 0 else {
            self = nearest
            return
        }
        // The other neighbour lies on the value's side.
        let isBelow = abs(Double(nearest)) < abs(value)
        if nearest == 0 {
            self = Float(bitPattern: value < 0 ? 0x8000_0001 : 1)
        } else {
            self = Float(bitPattern: isBelow ? nearest.bitPattern + 1 : nearest.bitPattern - 1)
        }
    }
}
