// A model with low-rank adapters made into a plain one: W + s · B · A in the place of W, which computes the same and which every
// other program reads. Sums are float64, rounded once; before anything is published, the written model is held against the one
// with adapters in float64.

public import Bytes
public import Checkpoints
public import Models
internal import SystemPackage

/// A checkpoint whose adapters become part of its matrices (docs/lora.md).
public struct AdapterMerge {
    public let origin: Checkpoint
    /// Of the model that comes out.
    public let configuration: ModelConfiguration
    private let adapted: ModelConfiguration
    private let adapters: LowRankAdapters

    /// What was found when the two models were compared.
    public struct Report: Sendable {
        /// Matrices that had an adapter.
        public let matrices: Int
        /// Random ids that both models were given.
        public let positions: Int
        /// The largest difference of a logit, and the largest logit.
        public let difference, largest: Double
        /// max |Δlogit| / max |logit|.
        public var relative: Double { largest > 0 ? difference / largest : difference }
    }

    /// The largest `Report.relative`: what rounding the new matrices to float32 may do.
    public static let tolerance = 1e-5

    /// - Throws: `Fault`: no adapters (usage), or a checkpoint that is not sound (bad data).
    public init(_ origin: Checkpoint) throws(Fault) {
        self.origin = origin
        let name = origin.path.appending(Checkpoint.configurationName).string
        adapted = try ModelConfiguration(json: origin.configuration(), name: name)
        guard let adapters = adapted.adapters else {
            throw Fault(.usage, "\(quoted(origin.path.string)) has no low-rank adapters: there is nothing to merge")
        }
        self.adapters = adapters
        configuration = try adapted.adapted(by: nil)
        try adapted.require(tensorsOf: origin)
        try adapted.require(copiesIn: origin)
    }

    /// Writes every file of a plain model directory but the manifest: parameters in float32, configuration and what belongs to
    /// the tokenizer.
    /// - Throws: `Fault`: a damaged tensor, or a model that does not compute the same.
    @discardableResult
    public func write(_ writer: CheckpointWriter) throws -> Report {
        var object = JSONObject()
        for (key, value) in try origin.configuration().objectValue?.members ?? [] where key != "lora" {
            object[key] = ["dtype", "torch_dtype"].contains(key) ? "float32" : value
        }
        try writer.write(.object(object), to: Checkpoint.configurationName)
        let merged = Set(adapted.adaptedMatrices)
        try writer.write(
            ParameterLayout(configuration).tensors.map { tensor in
                TensorSource(name: tensor.name, dtype: .f32, shape: tensor.shape) { emit in
                    if merged.contains(tensor.name) {
                        try merge(tensor) { try $0.withRawSpan(emit) }
                    } else {
                        try origin.model.readFloats(configuration.name(of: tensor, in: origin.model)) { _, values in
                            try values.withRawSpan(emit)
                        }
                    }
                }
            }, to: Checkpoint.modelName)
        let report = try check(try writer.reopen(Checkpoint.modelName), merged.count)
        writer.expansions = origin.manifest?.expansions
        for name in try origin.fileNames() where origin.isCompanion(name) {
            try writer.write(origin.read(name), to: name)
        }
        return report
    }

    /// W + s · B · A, or its transpose where W is stored (in, out), some rows at a time.
    private func merge(_ tensor: ParameterTensor, emit: ([Float]) throws -> Void) throws {
        let (rows, columns, rank) = (tensor.shape[0], tensor.shape[1], adapters.rank)
        let names = ModelConfiguration.adapterNames(of: tensor.name)
        let (a, b) = (try origin.model.floats(names.a), try origin.model.floats(names.b))
        let isInputMajor = configuration.isInputMajor
        // The factors of W's rows, (rows, rank), and of its columns, (rank, columns).
        let left = (isInputMajor ? AdapterMerge.transposed(a, rank, rows) : b).map { adapters.scale * Double($0) }
        let right = (isInputMajor ? AdapterMerge.transposed(b, columns, rank) : a).map(Double.init)
        var (row, pending): (Int, [Float]) = (0, [])
        try origin.model.readFloats(configuration.name(of: tensor, in: origin.model)) { _, values in
            pending += values
            let count = pending.count / columns
            if count == 0 { return }
            for index in 0..<count {
                var sums = pending[index * columns..<(index + 1) * columns].map(Double.init)
                for k in 0..<rank {
                    let (factor, start) = (left[(row + index) * rank + k], k * columns)
                    for column in 0..<columns { sums[column] += factor * right[start + column] }
                }
                for column in 0..<columns { pending[index * columns + column] = Float(sums[column]) }
            }
            try emit(Array(pending[..<(count * columns)]))
            pending.removeFirst(count * columns)
            row += count
        }
    }

    /// Of a matrix (rows, columns).
    private static func transposed(_ x: [Float], _ rows: Int, _ columns: Int) -> [Float] {
        var y = [Float](repeating: 0, count: x.count)
        for row in 0..<rows { for column in 0..<columns { y[column * rows + row] = x[row * columns + column] } }
        return y
    }

    /// Holds the model as it was written against the one with adapters.
    private func check(_ written: TensorSet, _ matrices: Int) throws -> Report {
        let layout = ParameterLayout(adapted)
        let check = LogitCheck(adapted, parameters: layout.count, name: origin.path.string)
        let before = try check.logits(adapted) { name in
            guard let tensor = layout[name] else { return [] }
            return try origin.model.floats(adapted.name(of: tensor, in: origin.model))
        }
        let after = try check.logits(configuration) { try written.floats($0) }
        let (difference, largest) = try check.compare(before, after)
        let report = Report(
            matrices: matrices, positions: check.positions, difference: difference, largest: largest)
        guard report.relative <= AdapterMerge.tolerance else {
            throw Fault.badData(
                origin.path.string,
                "merging changes logits by \(report.relative) of the largest, more than \(AdapterMerge.tolerance)")
        }
        return report
    }
}
