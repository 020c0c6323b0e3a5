// LoRA (Hu et al. 2021, arXiv:2106.09685): a matrix W stays as it is, and beside it a product of two thin ones learns,
// y = x · Wᵀ + s · (x · Aᵀ) · Bᵀ. Here is what a person says of them, and which matrices they stand beside; names, start and
// scale are those of PEFT, so that its users find what they know.

public import Bytes

/// Low-rank adapters of a model's layers.
public struct LowRankAdapters: Sendable, Equatable {
    /// r: rows of A (r, in), columns of B (out, r).
    public let rank: Int
    /// The numerator of the scale.
    public let alpha: Double
    /// Which matrices have one: names or patterns of their modules, or the ends of those (`q_proj`); `all`.
    public let targets: [String]
    /// Whether the scale is alpha / √rank (Kalajdzievski 2023, arXiv:2312.03732) instead of alpha / rank.
    public let isRankStabilized: Bool

    /// s.
    public var scale: Double { alpha / (isRankStabilized ? Double(rank).squareRoot() : Double(rank)) }

    static let largestRank = 1 << 12
    private static let largestAlpha = 1e6

    /// What PEFT adapts when nothing is said.
    static func defaultTargets(_ family: ModelFamily) -> [String] {
        family == .gpt2 ? ["c_attn"] : ["q_proj", "v_proj"]
    }

    private init(
        rank: Int, alpha: Double, targets: [String], isRankStabilized: Bool, fault: (String) -> Fault
    ) throws(Fault) {
        guard (1...LowRankAdapters.largestRank).contains(rank) else {
            throw fault("rank is \(rank), expected 1 to \(LowRankAdapters.largestRank)")
        }
        guard alpha > 0, alpha <= LowRankAdapters.largestAlpha else {
            throw fault("alpha is \(alpha), expected a positive number up to \(LowRankAdapters.largestAlpha)")
        }
        guard !targets.isEmpty, !targets.contains("") else { throw fault("an empty target") }
        guard targets.count <= 256 else { throw fault("\(targets.count) targets, expected at most 256") }
        (self.rank, self.alpha, self.targets, self.isRankStabilized) = (rank, alpha, targets, isRankStabilized)
    }

    /// `rank=8,alpha=16,targets=q_proj+v_proj,rslora=true`: any of these, in any order. The rank is 8, alpha the rank, when
    /// nothing else is said.
    /// - Throws: `Fault` (usage).
    public init(parsing text: String, family: ModelFamily) throws(Fault) {
        func fault(_ message: String) -> Fault {
            Fault(
                .usage, "--lora \(quoted(text)): \(message)", hint: "--lora rank=8,alpha=16,targets=q_proj+v_proj")
        }
        var (rank, alpha): (Int?, Double?) = (nil, nil)
        var (targets, isRankStabilized): ([String]?, Bool?) = (nil, nil)
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2 else {
                throw fault("\(quoted(String(part))), expected rank=, alpha=, targets= or rslora=")
            }
            func once(_ isNew: Bool) throws(Fault) { if !isNew { throw fault("\(pair[0]) is given twice") } }
            switch pair[0] {
            case "rank":
                try once(rank == nil)
                guard let value = Int(pair[1]) else { throw fault("rank is \(quoted(pair[1])), expected a number") }
                rank = value
            case "alpha":
                try once(alpha == nil)
                guard let value = Double(pair[1]) else { throw fault("alpha is \(quoted(pair[1])), expected a number") }
                alpha = value
            case "targets":
                try once(targets == nil)
                targets = pair[1].split(separator: "+", omittingEmptySubsequences: false).map(String.init)
            case "rslora":
                try once(isRankStabilized == nil)
                guard let value = Bool(pair[1]) else {
                    throw fault("rslora is \(quoted(pair[1])), expected true or false")
                }
                isRankStabilized = value
            default: throw fault("unknown key \(quoted(pair[0])), expected rank, alpha, targets or rslora")
            }
        }
        let known = rank ?? 8
        try self.init(
            rank: known, alpha: alpha ?? Double(known), targets: targets ?? LowRankAdapters.defaultTargets(family),
            isRankStabilized: isRankStabilized ?? false, fault: fault)
    }

    /// The member `lora` of a config.json.
    /// - Throws: `Fault` (bad data) naming the field.
    init(json: JSON, name: String) throws(Fault) {
        func fault(_ message: String) -> Fault { .badData(name, "lora: " + message) }
        guard let object = json.objectValue else { throw fault("expected an object") }
        for key in object.keys where !["rank", "alpha", "targets", "rslora"].contains(key) {
            throw fault("unknown key \(quoted(key))")
        }
        guard let rank = json["rank"]?.intValue else { throw fault("'rank': expected an integer") }
        guard let alpha = json["alpha"]?.doubleValue else { throw fault("'alpha': expected a number") }
        guard let elements = json["targets"]?.arrayValue else { throw fault("'targets': expected an array of names") }
        let targets = elements.compactMap(\.stringValue)
        guard targets.count == elements.count else { throw fault("'targets': expected an array of names") }
        guard let isRankStabilized = json["rslora"]?.boolValue else { throw fault("'rslora': expected true or false") }
        try self.init(
            rank: rank, alpha: alpha, targets: targets, isRankStabilized: isRankStabilized, fault: fault)
    }

    var json: JSON {
        [
            "rank": .integer(rank), "alpha": .number(alpha), "targets": .array(targets.map(JSON.string)),
            "rslora": .bool(isRankStabilized),
        ]
    }

    /// Whether the matrix of that module (its name without `.weight`) has one.
    func includes(_ module: String) -> Bool { targets.contains { LowRankAdapters.fits($0, module) } }

    private static func fits(_ target: String, _ module: String) -> Bool {
        target == "all" || Glob(target).matches(module) || Glob("*." + target).matches(module)
    }

    /// Refuses a target that no matrix has: it is a slip.
    func check(_ configuration: ModelConfiguration, fault: (String) -> Fault) throws(Fault) {
        let modules = (0..<configuration.layers).flatMap { layer in
            configuration.projections(layer: layer).all.joined().map(\.module)
        }
        for target in targets where !modules.contains(where: { LowRankAdapters.fits(target, $0) }) {
            throw fault("no matrix of the layers has a name like \(quoted(target))")
        }
    }
}

/// A matrix of a layer by its module's name.
struct Projection {
    let module: String
    let inputs, outputs: Int
}

/// The matrices of a layer, those side by side that are multiplied at once.
struct LayerProjections {
    let queryKeyValue, output, up, down: [Projection]
    var all: [[Projection]] { [queryKeyValue, output, up, down] }
}

extension ModelConfiguration {
    /// The matrices of a layer in the order in which they lie in memory.
    func projections(layer: Int) -> LayerProjections {
        let (q, kv) = (heads * headSize, keyValueHeads * headSize)
        if family == .gpt2 {
            let prefix = "transformer.h.\(layer)."
            return LayerProjections(
                queryKeyValue: [Projection(module: prefix + "attn.c_attn", inputs: hiddenSize, outputs: 3 * q)],
                output: [Projection(module: prefix + "attn.c_proj", inputs: q, outputs: hiddenSize)],
                up: [Projection(module: prefix + "mlp.c_fc", inputs: hiddenSize, outputs: intermediateSize)],
                down: [Projection(module: prefix + "mlp.c_proj", inputs: intermediateSize, outputs: hiddenSize)])
        }
        let (attention, mlp) = ("model.layers.\(layer).self_attn.", "model.layers.\(layer).mlp.")
        return LayerProjections(
            queryKeyValue: [("q_proj", q), ("k_proj", kv), ("v_proj", kv)].map {
                Projection(module: attention + $0.0, inputs: hiddenSize, outputs: $0.1)
            },
            output: [Projection(module: attention + "o_proj", inputs: q, outputs: hiddenSize)],
            up: ["gate_proj", "up_proj"].map {
                Projection(module: mlp + $0, inputs: hiddenSize, outputs: intermediateSize)
            },
            down: [Projection(module: mlp + "down_proj", inputs: intermediateSize, outputs: hiddenSize)])
    }

    /// Matrices with an adapter, in the order of the layout.
    private var adaptedProjections: [[Projection]] {
        guard let adapters else { return [] }
        return (0..<layers).flatMap { layer in
            projections(layer: layer).all.map { $0.filter { adapters.includes($0.module) } }
        }
    }

    /// The names of the matrices that have an adapter.
    public var adaptedMatrices: [String] { adaptedProjections.joined().map { $0.module + ".weight" } }

    /// Parameters of all adapters.
    var adapterCount: Int {
        adaptedProjections.joined().reduce(0) { $0 + (adapters?.rank ?? 0) * ($1.inputs + $1.outputs) }
    }

    /// Columns of x · Aᵀ where the most adapters share an input.
    var adapterWidth: Int { (adaptedProjections.map(\.count).max() ?? 0) * (adapters?.rank ?? 0) }

    /// The names of an adapter's two matrices, beside the matrix of that name: A (rank, in) and B (out, rank).
    public static func adapterNames(of matrix: String) -> (a: String, b: String) {
        let module = matrix.hasSuffix(".weight") ? String(matrix.dropLast(7)) : matrix
        return (module + ".lora_A.weight", module + ".lora_B.weight")
    }

    /// The same model with these adapters, or without any.
    /// - Throws: `Fault` (usage) for a target that fits no matrix.
    public func adapted(by adapters: LowRankAdapters?) throws(Fault) -> ModelConfiguration {
        var result = self
        result.adapters = adapters
        try adapters?.check(self) { message in
            Fault(
                .usage, "--lora: " + message,
                hint: "targets are "
                    + projections(layer: 0).all.joined().map { String($0.module.shortName) }
                    .joined(separator: ", ") + ", patterns, or all")
        }
        return result
    }
}

extension String {
    /// What stands behind the last dot.
    fileprivate var shortName: Substring { split(separator: ".").last ?? "" }
}
