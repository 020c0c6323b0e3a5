// The same seed, the same bytes: a step's gradient depends on no thread count, no instruction set and no cut of the
// step into micro-batches (DESIGN: promise 3; docs/numerics.md).

import Kernels
import Models
import Testing

@Suite struct DeterminismTests {
    static let splits: [[Int]] = [[8], [4, 4], [2, 2, 2, 2], [1, 1, 1, 1, 1, 1, 1, 1], [3, 5], [1, 4, 3]]

    @Test(arguments: [true, false])
    func bitsDoNotDependOnTheSplitIntoMicroBatches(tied: Bool) throws {
        let c = try configuration(
            vocabulary: 70, hidden: 48, inner: 80, heads: 4, keyValueHeads: 2, headSize: 16, tied: tied)
        let sample = SampleBatch(rows: 8, length: 37, vocabulary: 70)
        let engine = try Engine(threads: 2)
        let whole = try step(c, sample, split: [8], engine: engine)
        for split in DeterminismTests.splits {
            #expect(try step(c, sample, split: split, engine: engine) == whole, "\(split)")
        }
    }

    @Test(arguments: families)
    func noFamilysBitsDependOnSplitThreadsOrInstructionSet(_ family: (family: ModelFamily, biases: Bool)) throws {
        let c = try configuration(
            family.family, vocabulary: 70, hidden: 48, inner: 80, headSize: 16, biases: family.biases)
        let sample = SampleBatch(rows: 5, length: 37, vocabulary: 70)
        let first = try step(c, sample, split: [5], engine: Engine(threads: 1, instructionSet: .scalar))
        for set in InstructionSet.supported {
            for threads in 1...3 {
                let engine = try Engine(threads: threads, instructionSet: set)
                #expect(try step(c, sample, split: [5], engine: engine) == first, "\(set) \(threads)")
                #expect(try step(c, sample, split: [2, 1, 2], engine: engine) == first, "\(set) \(threads) 2+1+2")
            }
        }
    }

    /// Adapters alone learn, in either precision.
    @Test(arguments: families, [Precision.fp32, .bf16])
    func noBitsOfAdaptersDependOnSplitThreadsInstructionSetOrRecomputing(
        _ family: (family: ModelFamily, biases: Bool), precision: Precision
    ) throws {
        let c = try configuration(
            family.family, vocabulary: 70, hidden: 48, inner: 80, layers: 3, headSize: 16, biases: family.biases
        ).adapted(adapters("rank=5,alpha=7,targets=all", family.family))
        let sample = SampleBatch(rows: 5, length: 37, vocabulary: 70)
        func run(_ split: [Int], _ threads: Int, _ set: InstructionSet, _ recompute: Recompute) throws -> StepResult {
            try step(
                c, sample, split: split, engine: Engine(threads: threads, instructionSet: set), recompute: recompute,
                precision: precision, trained: "lora_")
        }
        let first = try run([5], 1, .scalar, .none)
        for set in InstructionSet.supported {
            for (threads, recompute) in zip(1...3, Recompute.allCases) {
                #expect(try run([5], threads, set, recompute) == first, "\(set) \(threads) \(recompute)")
                #expect(try run([2, 1, 2], threads, set, recompute) == first, "\(set) \(threads) \(recompute) 2+1+2")
            }
        }
    }

    @Test(arguments: families)
    func noFamilysBitsDependOnWhatIsRecomputed(_ family: (family: ModelFamily, biases: Bool)) throws {
        let c = try configuration(
            family.family, vocabulary: 70, hidden: 48, inner: 80, layers: 3, headSize: 16, biases: family.biases)
        let sample = SampleBatch(rows: 5, length: 37, vocabulary: 70)
        let first = try step(c, sample, split: [5], engine: Engine(threads: 1))
        for recompute in Recompute.allCases {
            for threads in 1...3 {
                let engine = try Engine(threads: threads)
                for split in [[5], [2, 1, 2]] {
                    #expect(
                        try step(c, sample, split: split, engine: engine, recompute: recompute) == first,
                        "\(recompute) \(threads) \(split)")
                }
            }
        }
    }

    /// Rows longer than a block of the summation order (256), which do not end on one.
    @Test func bitsDoNotDependOnTheSplitOfLongRows() throws {
        let c = try configuration(vocabulary: 40, hidden: 16, inner: 24, layers: 1, headSize: 8)
        let sample = SampleBatch(rows: 3, length: 600, vocabulary: 40)
        let engine = try Engine(threads: 2)
        let whole = try step(c, sample, split: [3], engine: engine)
        for split in [[1, 2], [2, 1], [1, 1, 1]] {
            #expect(try step(c, sample, split: split, engine: engine) == whole, "\(split)")
        }
        // Chunks of the classifier: one block, two blocks, one row, all rows.
        for floats in [1, 40 * 520, 40 * 700, 40 * 1300] {
            #expect(
                try step(c, sample, split: [3], engine: engine, logitsFloats: floats) == whole, "\(floats) logits")
        }
    }

    @Test func lanesAddUpTheSameForEverySplitAndAreARecipeOfTheirOwn() throws {
        let c = try configuration(vocabulary: 70, hidden: 48, inner: 80, headSize: 16)
        let sample = SampleBatch(rows: 8, length: 37, vocabulary: 70)
        let engine = try Engine(threads: 2)
        let four = try step(c, sample, split: [2, 2, 2, 2], engine: engine, lanes: 4)
        #expect(try step(c, sample, split: Array(repeating: 1, count: 8), engine: engine, lanes: 4) == four)
        #expect(try step(c, sample, split: [1, 1, 2, 2, 1, 1], engine: engine, lanes: 4) == four)
        let one = try step(c, sample, split: [8], engine: engine)
        #expect(one.losses == four.losses && one.gradient != four.gradient)
    }

    @Test(arguments: [1, 2, 3, 5, 8])
    func lanesAddAsAFixedTree(count: Int) throws {
        let c = try configuration()
        let engine = try Engine(threads: 1)
        let layout = ParameterLayout(c)
        let lanes = (0..<count).map { lane in
            let gradients = Gradients(c, layout: layout)
            Random(seed: UInt64(lane), purpose: 1).normal(into: gradients.flat, deviation: 1)
            return gradients
        }
        func sum(_ range: Range<Int>, _ i: Int) -> Float {
            if range.count == 1 { return lanes[range.lowerBound].flat[i] }
            var half = 1
            while half * 2 < range.count { half *= 2 }
            let middle = range.lowerBound + half
            return sum(range.lowerBound..<middle, i) + sum(middle..<range.upperBound, i)
        }
        let expected = (0..<layout.count).map { sum(0..<count, $0) }
        Gradients.reduce(lanes, engine)
        #expect(lanes[0].flat.array == expected)
    }

    @Test func initialParametersAreAFunctionOfTheSeed() throws {
        let c = try configuration(vocabulary: 500, hidden: 64, inner: 96, headSize: 16, range: 0.02)
        func parameters(_ seed: UInt64, _ engine: Engine) -> (Transformer, [Float]) {
            let model = Transformer(configuration: c, engine: engine, rows: 1, length: 4, training: false)
            model.initialize(seed: seed)
            return (model, model.parameters.array)
        }
        let (model, one) = parameters(1, try Engine(threads: 1, instructionSet: .scalar))
        let widest = try Engine(threads: 3)
        #expect(parameters(1, widest).1 == one)
        #expect(parameters(2, widest).1 != one)
        func deviation(_ name: String) throws -> Double {
            let tensor = try #require(model.layout[name])
            let values = one[tensor.offset..<tensor.offset + tensor.count]
            return (values.reduce(0) { $0 + Double($1) * Double($1) } / Double(values.count)).squareRoot()
        }
        #expect(try abs(deviation("model.embed_tokens.weight") / 0.02 - 1) < 0.02)
        #expect(try abs(deviation("model.layers.1.self_attn.q_proj.weight") / 0.02 - 1) < 0.05)
        #expect(try abs(deviation("model.layers.0.self_attn.o_proj.weight") / 0.01 - 1) < 0.05)
        #expect(try abs(deviation("model.layers.1.mlp.down_proj.weight") / 0.01 - 1) < 0.05)
        #expect(try deviation("model.layers.1.input_layernorm.weight") == 1)
        let gate = try #require(model.layout["model.layers.0.mlp.gate_proj.weight"])
        let up = try #require(model.layout["model.layers.0.mlp.up_proj.weight"])
        #expect(one[gate.offset..<gate.offset + 8] != one[up.offset..<up.offset + 8])
    }
}
