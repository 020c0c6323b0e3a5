// The algebra of expansions, on models of every family: the function stays, and where the larger model's gradient follows
// from the smaller one's, the map of moments gives it. That is the test of the maps: real gradients of both models, not
// a second copy of the formulas.

import Bytes
import Kernels
import Models
import Testing

/// A model of every family, tied or not, with random biases and norms.
private struct SmallModel {
    let configuration: ModelConfiguration
    let model: Transformer

    init(_ configuration: ModelConfiguration) throws {
        self.configuration = configuration
        model = Transformer(
            configuration: configuration, engine: try Engine(threads: 1), rows: 2, length: 8, training: true)
        fillParameters(model)
    }

    func values(_ flat: Tensor, _ name: String) -> [Float] {
        guard let tensor = model.layout[name] else { preconditionFailure("no tensor \(name)") }
        return flat.slice(tensor.offset, tensor.count).array
    }

    /// The larger model, parameters filled in by the plan.
    func expanded(_ plan: ExpansionPlan) throws -> SmallModel {
        let larger = try SmallModel(plan.after)
        for tensor in plan.tensors {
            var rows: [Float] = []
            tensor.forEachRow(.parameters, from: values(model.parameters, tensor.source.name)) { rows += $0 }
            larger.model.parameters.slice(tensor.tensor.offset, tensor.tensor.count).copy(rows)
        }
        return larger
    }

    func logits(_ ids: [Int]) throws -> [Double] {
        try ReferenceForward(configuration) { values(model.parameters, $0) }.logits(ids)
    }

    func gradient(_ sample: SampleBatch, vocabulary: Int) throws -> Tensor {
        let gradients = Gradients(configuration, layout: model.layout)
        gradients.begin(model.engine)
        let batch = ModelBatch(capacity: sample.rows * sample.length)
        try sample.fill(batch, 0..<sample.rows, vocabulary: vocabulary)
        model.forwardBackward(batch, into: gradients, losses: Tensor(zeroed: sample.rows * sample.length))
        gradients.finish(model.engine)
        return gradients.flat
    }
}

private func models() throws -> [ModelConfiguration] {
    try families.flatMap { family, biases in
        try [true, false].map { tied in
            try configuration(
                family, inner: 10, heads: 4, keyValueHeads: family == .qwen3 ? 1 : 2, headSize: 4, tied: tied,
                biases: biases)
        }
    }
}

private let ids = [3, 10, 0, 7, 7, 1, 9, 4, 2, 10, 5]

/// max |Δ| over the logits of `ids`, over the largest.
private func change(_ before: SmallModel, _ after: SmallModel) throws -> Double {
    let (old, new) = (try before.logits(ids), try after.logits(ids))
    let (width, newWidth) = (before.configuration.vocabularySize, after.configuration.vocabularySize)
    let largest = old.reduce(0) { max($0, abs($1)) }
    var difference = 0.0
    for t in ids.indices {
        for id in 0..<width {
            let d = abs(new[t * newWidth + id] - old[t * width + id])
            if !(d <= difference) { difference = d }
        }
    }
    return difference / largest
}

@Suite struct ExpansionTests {
    /// The checker is itself checked: against the oracle that the forward pass is tested with.
    @Test func theReferencePassAgreesWithTheOracle() throws {
        for c in try models() {
            let small = try SmallModel(c)
            let expected = Oracle(c).logits(
                small.model.parameters.array.map(Double.init),
                Oracle.Row(
                    inputs: ids.map { UInt32($0) }, targets: ids.map { UInt32($0) }, ends: [ids.count], mask: nil,
                    weight: 1)
            ).flatMap { $0 }
            for (a, b) in zip(try small.logits(ids), expected) { #expect(abs(a - b) < 1e-12 * (1 + abs(b))) }
        }
    }

    @Test(arguments: [
        "layers=3", "layers=5,where=end", "layers=7,where=even", "intermediate=20", "intermediate=37",
        "intermediate=37,how=split", "intermediate=11,how=fresh", "hidden=16", "hidden=24,how=split",
        "hidden=40,seed=9",
        "vocabulary=12", "vocabulary=40", "context=4000",
    ])
    func exactPoliciesKeepTheFunction(policy: String) throws {
        for c in try models() {
            let plan = try ExpansionPlan(c, ExpansionPolicy(parsing: policy))
            #expect(plan.promise.tolerance == 1e-12)
            let small = try SmallModel(c)
            let found = try change(small, small.expanded(plan))
            #expect(found <= 1e-12, "\(policy) of \(c.family), tied \(c.tiesEmbeddings): \(found)")
        }
    }

    @Test(arguments: [
        "heads=8", "heads=6,how=split", "heads=12,how=fresh", "heads=8,key-value-heads=4", "key-value-heads=4",
        "heads=8,key-value-heads=4,how=fresh", "heads=9,key-value-heads=3", "heads=16,key-value-heads=8,how=split",
    ])
    func headsKeepTheFunction(policy: String) throws {
        for c in try models() where c.family != .gpt2 {
            let plan = try ExpansionPlan(c, ExpansionPolicy(parsing: policy))
            let small = try SmallModel(c)
            let found = try change(small, small.expanded(plan))
            #expect(found <= 1e-12, "\(policy) of \(c.family), tied \(c.tiesEmbeddings): \(found)")
        }
    }

    @Test func aPaddedResidualStreamIsExactButForRounding() throws {
        for c in try models() where c.family != .gpt2 {
            let plan = try ExpansionPlan(c, ExpansionPolicy(parsing: "hidden=13,how=fresh"))
            let small = try SmallModel(c)
            let found = try change(small, small.expanded(plan))
            #expect(plan.promise == .rounded && found <= 1e-5 && found > 0, "\(c.family): \(found)")
        }
    }

    @Test func stackingAndScalingPromiseNothingAndChangeTheFunction() throws {
        for c in try models() {
            let policies =
                c.family == .gpt2
                ? ["context=128,how=interpolate"]
                : [
                    "context=8192,how=linear", "context=8192,how=ntk", "context=8192,how=yarn",
                ]
            for policy in policies + ["layers=4,how=stack"] {
                let plan = try ExpansionPlan(c, ExpansionPolicy(parsing: policy))
                let small = try SmallModel(c)
                #expect(plan.promise == .none)
                #expect(try change(small, small.expanded(plan)) > 1e-6, "\(policy) of \(c.family)")
            }
        }
    }

    /// m is mapped as a gradient: the gradient of the larger model must be the map of the smaller one's, where the policy
    /// determines it.
    @Test(arguments: [
        "layers=3", "layers=4,where=end", "intermediate=20,how=split", "intermediate=27,how=split",
        "intermediate=13,how=fresh", "hidden=16,how=split", "hidden=24,how=split", "heads=8,how=split",
        "heads=8,key-value-heads=4,how=split", "heads=12,key-value-heads=4,how=fresh", "context=4000",
        "hidden=13,how=fresh",
    ])
    func theMapOfMomentsIsThatOfGradients(policy: String) throws {
        let sample = SampleBatch(rows: 2, length: 8, vocabulary: 11)
        for c in try models()
        where !(c.family == .gpt2 && (policy.hasPrefix("heads") || policy == "hidden=13,how=fresh")) {
            // A group of keys and values that is cut in two has a part of the gradient that its copies cannot know.
            if policy.contains("key-value-heads"), c.keyValueHeads == 1 { continue }
            let plan = try ExpansionPlan(c, ExpansionPolicy(parsing: policy))
            let small = try SmallModel(c)
            let large = try small.expanded(plan)
            let before = try small.gradient(sample, vocabulary: 11)
            let after = try large.gradient(sample, vocabulary: 11)
            for tensor in plan.tensors {
                var mapped: [Float] = []
                tensor.forEachRow(.gradients, from: small.values(before, tensor.source.name)) { mapped += $0 }
                var squares: [Float] = []
                tensor.forEachRow(
                    .squaredGradients, from: small.values(before, tensor.source.name).map { $0 * $0 }
                ) { squares += $0 }
                let found = large.values(after, tensor.tensor.name)
                let scale = found.reduce(1e-4) { max($0, abs($1)) }
                let columns = tensor.tensor.shape.count == 1 ? 1 : tensor.tensor.shape[1]
                for i in found.indices where tensor.isGradientDetermined(row: i / columns, column: i % columns) {
                    #expect(
                        abs(mapped[i] - found[i]) <= 2e-4 * scale,
                        "\(policy) of \(c.family): \(tensor.tensor.name)[\(i)] is \(found[i]), mapped \(mapped[i])")
                    #expect(abs(squares[i] - mapped[i] * mapped[i]) <= 1e-5 * mapped[i] * mapped[i])
                }
            }
        }
    }

    @Test func sharesAddUpToTheBit() {
        let random = Random(seed: 3, purpose: 1)
        for index in 0..<2000 {
            let value = Float(random.uniform(UInt64(index)) - 0.5) * Float(index % 7 == 0 ? 1e20 : 3)
            let copies = 1 + index % 9
            for uniform in [nil, { node in random.uniform(UInt64(index * 64 + node)) }] as [((Int) -> Double)?] {
                let shares = (0..<copies).map {
                    ExactShares.share(value, $0, of: copies, uniform: uniform)
                }
                // Floats of one sign within a few octaves add up exactly in double.
                #expect(shares.reduce(0) { $0 + Double($1) } == Double(value))
                #expect(shares.allSatisfy { abs($0) <= abs(value) })
                if uniform == nil {
                    for share in shares { #expect(abs(share - value / Float(copies)) <= 1e-6 * abs(value)) }
                }
            }
        }
    }

    @Test func unevenCopiesPartAndSplitOnesDoNot() throws {
        let c = try configuration(inner: 10)
        let sample = SampleBatch(rows: 2, length: 8, vocabulary: 11)
        for (policy, part) in [("intermediate=20,how=split", false), ("intermediate=20,how=uneven", true)] {
            let plan = try ExpansionPlan(c, ExpansionPolicy(parsing: policy))
            let large = try SmallModel(c).expanded(plan)
            let gradient = large.values(
                try large.gradient(sample, vocabulary: 11), "model.layers.0.mlp.up_proj.weight")
            // Unit 10 is a copy of unit 0.
            let (first, copy) = (gradient[0..<8], gradient[80..<88])
            let ratio = zip(first, copy).map { $0 / $1 }
            let isParallel = ratio.allSatisfy { abs($0 - ratio[0]) < 1e-3 * abs(ratio[0]) }
            #expect(isParallel != part, "\(policy): \(ratio)")
        }
    }

    @Test func layersStandWhereTheyShould() throws {
        func new(_ policy: String) throws -> [Int] {
            try ExpansionPlan(configuration(layers: 4), ExpansionPolicy(parsing: policy)).newLayers
        }
        #expect(try new("layers=6") == [2, 5])
        #expect(try new("layers=8") == [1, 3, 5, 7])
        #expect(try new("layers=6,where=end") == [4, 5])
        #expect(try new("layers=9") == [1, 3, 5, 7, 8] || new("layers=9").count == 5)
        let stack = try ExpansionPlan(configuration(layers: 2), ExpansionPolicy(parsing: "layers=5,how=stack"))
        let sources = stack.tensors.filter { $0.tensor.name.hasSuffix("q_proj.weight") }.map(\.source.name)
        #expect(sources.map { $0.split(separator: ".")[2] } == ["0", "1", "0", "1", "0"])
    }

    @Test func newTokensAreTheMean() throws {
        let small = try SmallModel(configuration(tied: false))
        let large = try small.expanded(ExpansionPlan(small.configuration, ExpansionPolicy(parsing: "vocabulary=13")))
        for name in ["model.embed_tokens.weight", "lm_head.weight"] {
            let (old, new) = (small.values(small.model.parameters, name), large.values(large.model.parameters, name))
            #expect(Array(new[..<88]) == old)
            for i in 0..<8 {
                let mean = (0..<11).reduce(0) { $0 + Double(old[$1 * 8 + i]) } / 11
                #expect(new[88 + i] == Float(mean) && new[96 + i] == Float(mean))
            }
        }
    }

    @Test(arguments: [
        ("layers=2", "layers is 2"), ("intermediate=3", "intermediate is 3"), ("hidden=12", "multiple"),
        ("hidden=16,how=fresh", "copies keep"), ("heads=5", "multiple"), ("key-value-heads=3,heads=3", "more than"),
        ("context=4000,how=interpolate", "no table"), ("vocabulary=11", "vocabulary is 11"),
        ("layers=3,how=split", "expected identity, stack"), ("layers", "KEY=VALUE"), ("layers=x", "'x'"),
        ("depth=4", "expected layers="), ("layers=3,layers=4", "twice"), ("vocabulary=20,how=mean", "no meaning"),
        ("layers=0", "1 to"), ("layers=3,seed=-1", "seed"),
    ])
    func whatCannotBeIsRefused(policy: String, message: String) throws {
        let c = try configuration()
        let fault = #expect(throws: Fault.self) { try ExpansionPlan(c, ExpansionPolicy(parsing: policy)) }
        #expect(fault?.kind == .usage && fault?.message.contains(message) == true, "\(fault?.message ?? "nothing")")
    }

    @Test func gpt2RefusesWhatItsShapeForbids() throws {
        let c = try configuration(.gpt2)
        for (policy, message) in [
            ("heads=8", "cannot grow alone"), ("hidden=12,how=fresh", "LayerNorm"), ("context=128,how=yarn", "table"),
        ] {
            let fault = #expect(throws: Fault.self) { try ExpansionPlan(c, ExpansionPolicy(parsing: policy)) }
            #expect(fault?.message.contains(message) == true, "\(fault?.message ?? "nothing")")
        }
    }

    @Test(arguments: [
        "layers=3,how=identity,where=even", "layers=5,how=stack,where=end", "intermediate=20,how=fresh,seed=7",
        "heads=8,key-value-heads=4,how=uneven", "key-value-heads=4,how=split", "hidden=16,how=uneven", "vocabulary=12",
        "context=4000,how=yarn",
    ])
    func aPolicyReadsBack(text: String) throws {
        #expect(try ExpansionPolicy(parsing: text).description == text)
    }

    /// The angles of a scaled model reach the kernels and the reference pass alike.
    @Test func scaledAnglesAreThoseOfTheKernels() throws {
        for how in ["linear", "ntk", "yarn", "llama3"] {
            let small = try SmallModel(configuration(.qwen3))
            let plan = try ExpansionPlan(small.configuration, ExpansionPolicy(parsing: "context=8192,how=\(how)"))
            let large = try small.expanded(plan)
            let exact = try large.logits(Array(ids.prefix(8)))
            let fast = try large.model.logits(ids.prefix(8).map { UInt32($0) }).flatMap { $0 }
            for (a, b) in zip(exact, fast) { #expect(abs(a - Double(b)) < 1e-4) }
        }
    }
}
