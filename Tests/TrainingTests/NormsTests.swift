// What a run says of its norms against sums that the test makes itself, in double, of parameters before and after; that they are
// the same however a step is worked off; and that nobody who trains can see whether somebody looked.

import Batches
import Bytes
import Kernels
import Metrics
import Models
import Optimizers
import TestSupport
import Testing
import Tokens
import Training

@Suite struct NormsTests {
    private static let steps = 3

    private struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var model = NormsTests.llama
        var change: @Sendable (inout TrainingRecipe) -> Void = { _ in }
        var testDescription: String { name }
    }

    private static let llama: JSON = [
        "model_type": "qwen3", "vocab_size": 19, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": false,
    ]
    private static let gpt2: JSON = [
        "model_type": "gpt2", "vocab_size": 19, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 8,
    ]

    private static let cases = [
        Case(name: "adamw"), Case(name: "gpt2", model: gpt2),
        Case(name: "lion") { $0.optimizer = .lion }, Case(name: "sgd") { ($0.optimizer, $0.momentum) = (.sgd, 0) },
        Case(name: "muon") { ($0.optimizer, $0.momentum, $0.nesterov) = (.muon, 0.95, true) },
        Case(name: "lanes, average, bf16") { ($0.lanes, $0.averageDecay, $0.precision) = (2, 0.9, .bf16) },
        Case(name: "frozen") {
            $0.freezes = [FreezeRule(pattern: "model.layers.0.*"), FreezeRule(pattern: "*embed*", from: 2)]
        },
        Case(name: "unclipped, no decay") { ($0.clip, $0.weightDecay) = (.infinity, 0) },
    ]

    /// Part of the network, told apart by other marks than the library's.
    private static func part(_ name: String) -> String {
        if name.hasSuffix("embed_tokens.weight") || name.contains(".wte.") || name.contains(".wpe.") {
            return "embedding"
        }
        if name.hasPrefix("lm_head") { return "head" }
        if name.contains("norm") || name.contains("ln_") { return "norm" }
        return name.contains("mlp") ? "mlp" : "attention"
    }

    private static func batch(_ index: Int) -> TokenBatch {
        let random = Random(seed: 3, purpose: UInt64(index))
        let ids = (0..<32).map { UInt32(random.bits(UInt64($0)) % 19) }
        return TokenBatch(
            index: index, cursor: "x", rows: 4, length: 8, inputs: ids, targets: Array(ids[1...] + [5]),
            segmentEnds: [[3, 8], [8], [5], [2, 4, 7]])
    }

    private static func trainer(
        _ test: Case, _ norms: NormOptions, threads: Int = 1, set: InstructionSet? = nil
    ) throws -> Trainer<Transformer> {
        var recipe = TrainingRecipe()
        (recipe.learningRate, recipe.minimumLearningRate, recipe.scheduleSteps) = (1e-2, 1e-3, steps)
        test.change(&recipe)
        let trainer = Trainer(
            configuration: try ModelConfiguration(json: test.model, name: "config.json"),
            engine: try Engine(threads: threads, instructionSet: set), rows: 4, length: 8,
            state: TrainingState(recipe: recipe, steps: steps))
        trainer.model.initialize(seed: 1)
        trainer.norms = norms
        return trainer
    }

    @Test(arguments: cases.indices) func figuresAreThoseOfParametersBeforeAndAfter(index: Int) throws {
        let test = Self.cases[index]
        let trainer = try Self.trainer(test, NormOptions(every: 1, byLayer: true))
        let tensors = trainer.model.layout.tensors
        // The stream, row by row of the micro-batches as they come.
        var streams: [String: [Double]] = [:]
        trainer.model.tap = { stage, output in
            let place: String
            switch stage {
            case .embedding: place = "embedding"
            case .feedForward(let layer): place = "layer_\(layer)"
            default: return
            }
            streams[place, default: []] += output.array.map(Double.init)
        }
        for step in 0..<Self.steps {
            let before = trainer.model.parameters.array.map(Double.init)
            streams = [:]
            let report = try #require(try trainer.step(Self.batch(step)))
            let after = trainer.model.parameters.array.map(Double.init)
            let norms = try #require(report.norms)
            var sums: [String: [Double]] = [:]
            var outliers: [String: Double] = [:]
            for (index, tensor) in tensors.enumerated() {
                let isFrozen =
                    test.name == "frozen"
                    && (tensor.name.hasPrefix("model.layers.0.") || step >= 1 && tensor.name.contains("embed"))
                if isFrozen { continue }
                let range = tensor.offset..<tensor.offset + tensor.count
                let g = trainer.gradient(of: index).array.map(Double.init)
                let squares = g.reduce(0) { $0 + $1 * $1 }
                let outlier = (g.map(abs).max() ?? 0) / (squares / Double(g.count)).squareRoot()
                let update = range.reduce(0) { $0 + (after[$1] - before[$1]) * (after[$1] - before[$1]) }
                let weight = range.reduce(0) { $0 + before[$1] * before[$1] }
                for name in ["", Self.part(tensor.name)] + (tensor.layer.map { ["layer_\($0)"] } ?? []) {
                    let old = sums[name, default: [0, 0, 0]]
                    sums[name] = zip(old, [squares, update, weight]).map { $0 + $1 }
                    if squares > 0 { outliers[name] = max(outliers[name] ?? 0, outlier) }
                }
            }
            func near(_ a: Double?, _ b: Double?) -> Bool {
                guard let a, let b else { return a == nil && b == nil }
                return abs(a - b) <= 1e-12 * abs(b)
            }
            #expect(Set(norms.groups.map(\.name) + [""]) == Set(sums.keys), "\(test.name)")
            for group in norms.groups + [norms.all] {
                let expected = try #require(sums[group.name]).map { $0.squareRoot() }
                #expect(near(group.gradientNorm, expected[0]), "\(test.name) \(group.name)")
                #expect(near(group.updateNorm, expected[1]), "\(test.name) \(group.name)")
                #expect(near(group.weightNorm, expected[2]), "\(test.name) \(group.name)")
                #expect(
                    near(group.updateToWeightRatio, expected[2] == 0 ? nil : expected[1] / expected[2]),
                    "\(test.name) \(group.name)")
                #expect(near(group.gradientOutlier, outliers[group.name]), "\(test.name) \(group.name)")
            }
            // The parts are the whole, and its gradient the one that is clipped.
            let parts = norms.groups.filter { !$0.name.hasPrefix("layer_") }
            #expect(parts.compactMap(\.moved?.update).reduce(0, +) == norms.all.moved?.update)
            #expect(parts.compactMap(\.moved?.weight).reduce(0, +) == norms.all.moved?.weight)
            #expect(parts.map(\.gradientSquares).reduce(0, +) == norms.all.gradientSquares)
            #expect(near(norms.all.gradientNorm, report.gradientNorm))
            #expect(norms.streams.map(\.name) == ["embedding", "layer_0", "layer_1"])
            for stream in norms.streams {
                let x = try #require(streams[stream.name])
                let root = (x.reduce(0) { $0 + $1 * $1 } / Double(x.count)).squareRoot()
                #expect(x.count == 32 * trainer.model.configuration.hiddenSize)
                #expect(near(stream.magnitude.outlier, (x.map(abs).max() ?? 0) / root))
            }
            #expect(norms.activationOutlier == norms.streams.compactMap(\.magnitude.outlier).max())
        }
    }

    @Test(arguments: cases.indices) func noFigureDependsOnHowAStepIsWorkedOff(index: Int) throws {
        let test = Self.cases[index]
        func run(
            _ norms: NormOptions, threads: Int = 1, set: InstructionSet? = nil, parts: Int = 1
        ) throws -> (norms: [StepNorms?], bits: [UInt32]) {
            let trainer = try Self.trainer(test, norms, threads: threads, set: set)
            trainer.microBatches = parts
            let norms = try (0..<Self.steps).map { try #require(try trainer.step(Self.batch($0))).norms }
            return (norms, trainer.model.parameters.array.map(\.bitPattern))
        }
        let all = NormOptions(every: 1, byLayer: true)
        let first = try run(all)
        #expect(first.norms.allSatisfy { $0 != nil })
        for set in InstructionSet.supported {
            for threads in [1, 2, 3] {
                for parts in [1, 2, 4] {
                    let other = try run(all, threads: threads, set: set, parts: parts)
                    #expect(other == first, "\(test.name) \(set) \(threads) \(parts)")
                }
            }
        }
        // Who is not looked at does the same, and a step that is not due is not looked at.
        let unseen = try run(NormOptions(every: 0))
        #expect(unseen.bits == first.bits && unseen.norms.allSatisfy { $0 == nil })
        let some = try run(NormOptions(every: 2))
        #expect(some.bits == first.bits && some.norms.map { $0 != nil } == [true, true, false])
        #expect(some.norms[1]?.all == first.norms[1]?.all)
        #expect(some.norms[1]?.groups.contains { $0.name.hasPrefix("layer_") } == false)
    }

    @Test func aStepThatIsLeftOutHasNoUpdate() throws {
        let trainer = try Self.trainer(Self.cases[0], NormOptions(every: 1))
        trainer.taps.gradient = { $0[5] = .infinity }
        let report = try #require(try trainer.step(Self.batch(0)))
        let norms = try #require(report.norms)
        #expect(!report.isApplied && norms.all.moved == nil && norms.all.gradientNorm == .infinity)
        #expect(norms.groups.allSatisfy { $0.updateNorm == nil && $0.updateToWeightRatio == nil })
        #expect(norms.groups.filter { $0.gradientNorm.isFinite }.count == 4)
        #expect(norms.activationOutlier?.isFinite == true)
    }

    @Test func aStepThatIsGivenUpIsForgotten() throws {
        let (one, other) = (
            try Self.trainer(Self.cases[0], NormOptions(every: 1)),
            try Self.trainer(Self.cases[0], NormOptions(every: 1))
        )
        var asked = 0
        #expect(
            try one.step(
                Self.batch(1),
                isInterrupted: {
                    asked += 1
                    return asked > 3
                }) == nil)
        #expect(try one.step(Self.batch(0)) == other.step(Self.batch(0)))
    }

    /// 6 for each element of a matrix and position, 12 for each layer, channel and pair.
    @Test func workIsThatOfTheProducts() throws {
        let trainer = try Self.trainer(Self.cases[0], NormOptions(every: 0))
        let matrices = trainer.model.layout.tensors.filter { $0.shape.count == 2 && !$0.name.contains("embed") }
        let elements = matrices.reduce(0) { $0 + $1.count }
        let pairs = 6 + 15 + 36 + 15 + 3 + 3 + 6
        let whole = try #require(try trainer.step(Self.batch(0)))
        #expect(whole.operations == Double(6 * elements * 32 + 12 * 2 * 16 * pairs))
        // Only the head learns: its products, and everybody's forward pass.
        var head = Self.cases[0]
        head.change = { $0.freezes = [FreezeRule(pattern: "*"), FreezeRule(pattern: "!lm_head.weight")] }
        let step = try #require(try Self.trainer(head, NormOptions(every: 0)).step(Self.batch(0)))
        #expect(step.operations == Double((2 * elements + 2 * 19 * 16) * 32 + 4 * 2 * 16 * pairs))
    }

    /// The records of a run that was interrupted are those of one that was not, but for times and what follows from them.
    @Test func recordsOfAResumedRunAreTheUndisturbedOnes() throws {
        try RunFixture.with { fixture in
            var options = fixture.options
            options.norms = NormOptions(every: 3, byLayer: true)
            #expect(try fixture.train("whole", options: options) == .complete)
            for step in [2, 9, 11] { _ = try fixture.train("cut", options: options, stopAfter: step) }
            #expect(try fixture.train("cut", options: options) == .complete)
            options.norms.every = 0
            #expect(try fixture.train("unseen", options: options) == .complete)
            #expect(try fixture.result("whole") == fixture.result("cut"))
            #expect(try fixture.result("whole") == fixture.result("unseen"))
            func steps(_ name: String) throws -> [[String: MetricsRecord.Value]] {
                try fixture.records(name).filter { $0["train_loss"] != nil }.map { record in
                    Dictionary(
                        uniqueKeysWithValues: record.fields.filter {
                            !$0.key.hasSuffix("seconds") && !$0.key.hasSuffix("per_second") && $0.key != "time"
                                && $0.key != "fraction_of_peak"
                        }.map { ($0.key, $0.value) })
                }
            }
            let (whole, cut) = (try steps("whole"), try steps("cut"))
            #expect(whole == cut && whole.count == RunFixture.steps)
            for (index, record) in whole.enumerated() {
                let isDue = index == 0 || (index + 1) % 3 == 0
                for key in [
                    "update_norm", "weight_norm", "update_to_weight_ratio", "activation_outlier", "gradient_outlier",
                    "update_norm_group_attention", "gradient_norm_group_layer_1", "gradient_outlier_group_head",
                    "activation_outlier_group_layer_0", "weight_norm_group_norm",
                ] {
                    #expect((record[key]?.doubleValue ?? 0 > 0) == isDue, "\(key) of step \(index + 1)")
                }
            }
            // The epoch is what the stream has given of what the data hold.
            var reader = try BatchStreamReader(try FileSource.open(fixture.directory + "/stream"))
            #expect(reader.head.epochTokens == (try Dataset(fixture.directory + "/data").manifest.totals.tokens))
            _ = try reader.next()
            let records = try fixture.records("whole").filter { $0["train_loss"] != nil }
            #expect(records.allSatisfy { $0["fraction_of_peak"]?.doubleValue ?? 0 > 0 })
            #expect(records.allSatisfy { $0["flops_per_second"]?.doubleValue ?? 0 > 0 })
            let epochs = records.compactMap { $0["epoch"]?.doubleValue }
            #expect(epochs.count == RunFixture.steps && epochs == epochs.sorted() && epochs[0] > 0)
        }
    }

    /// A run whose model cannot be made larger ends, and says so.
    @Test func anExpansionThatFailsIsRecorded() throws {
        try RunFixture.with { fixture in
            var options = fixture.options
            options.hooks.commands = [.stop: "cat > \(fixture.directory)/told"]
            #expect(throws: Fault.self) {
                try fixture.train(
                    "run", options: options,
                    policy: { try $0.plan(PlannedExpansion.parse(["6", "layers=3,how=identity"])) },
                    report: { event in
                        // Somebody takes the checkpoint away that is to be made larger.
                        if case .saved(6, let path) = event {
                            _ = try? runShell("rm -r '\(path)'", directory: fixture.directory)
                        }
                    })
            }
            let last = try #require(try fixture.records("run").last)
            #expect(last.text("stop") == "failed" && last.step == 6)
            #expect(last.text("stop_reason")?.contains("step-00000006") == true)
            let told = String(decoding: try readFile(fixture.directory + "/told"), as: UTF8.self)
            #expect(told.contains("\"stop\":\"failed\""))
        }
    }
}
