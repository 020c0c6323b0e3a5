// Sampling: the cache gives what a whole forward pass gives, and draws follow their recipe.

import Bytes
import Kernels
import Models
import Testing

@Suite struct GeneratorTests {
    let model: Transformer
    let ids: [UInt32] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2]

    init() throws {
        let c = try configuration(vocabulary: 40, hidden: 48, inner: 80, headSize: 16, tied: false)
        model = Transformer(configuration: c, engine: try Engine(threads: 2), rows: 1, length: 20, training: false)
        fillParameters(model)
    }

    @Test func logitsAgreeWithTheOracle() throws {
        let oracle = Oracle(model.configuration)
        let row = Oracle.Row(inputs: ids, targets: ids, ends: [ids.count], mask: nil, weight: 1)
        let expected = oracle.logits(model.parameters.array.map(Double.init), row).flatMap { $0 }
        let actual = try model.logits(ids).flatMap { $0 }
        let scale = expected.reduce(0) { max($0, abs($1)) }
        #expect(actual.count == expected.count)
        #expect(zip(actual, expected).allSatisfy { abs(Double($0) - $1) <= 1e-5 * max(scale, 1) })
    }

    @Test func theCacheGivesTheBitsOfAWholeForwardPass() throws {
        let whole = try model.logits(ids)
        let generator = Generator(model, length: 20)
        for (t, id) in ids.enumerated() {
            try generator.feed(id)
            #expect(generator.logits.array == whole[t], "position \(t)")
        }
        // A prompt at once, then one id at a time.
        for count in [1, 2, 9, ids.count] {
            let generator = Generator(model, length: 20)
            try generator.feed(Array(ids[..<count]))
            #expect(generator.position == count)
            #expect(generator.logits.array == whole[count - 1], "prompt of \(count)")
            for t in count..<ids.count {
                try generator.feed(ids[t])
                #expect(generator.logits.array == whole[t], "prompt of \(count), position \(t)")
            }
        }
    }

    @Test(arguments: families)
    func everyFamilysCacheGivesTheBitsOfAWholeForwardPass(_ family: (family: ModelFamily, biases: Bool)) throws {
        let c = try configuration(
            family.family, vocabulary: 40, hidden: 48, inner: 80, headSize: 16, biases: family.biases)
        let model = Transformer(configuration: c, engine: try Engine(threads: 2), rows: 1, length: 20, training: false)
        fillParameters(model)
        let whole = try model.logits(ids)
        let generator = Generator(model, length: 20)
        try generator.feed(Array(ids[..<6]))
        for t in 6..<ids.count {
            #expect(generator.logits.array == whole[t - 1], "position \(t)")
            try generator.feed(ids[t])
        }
        #expect(generator.logits.array == whole[ids.count - 1])
    }

    /// A cache may be longer than the model's buffers: the rest of a prompt goes through id by id.
    @Test func aPromptLongerThanTheModelsBuffersIsTakenIn() throws {
        let c = model.configuration
        let small = Transformer(configuration: c, engine: model.engine, rows: 1, length: 4, training: false)
        small.parameters.copy(model.parameters)
        let generator = Generator(small, length: 20)
        try generator.feed(ids)
        #expect(try generator.logits.array == model.logits(ids)[ids.count - 1])
    }

    private func draw(_ count: Int, _ change: (inout SamplingRecipe) -> Void) throws -> [UInt32] {
        var recipe = SamplingRecipe()
        change(&recipe)
        let generator = Generator(model, length: count + 1)
        try generator.feed(7)
        var drawn: [UInt32] = []
        try generator.generate(count, recipe: recipe, stop: nil) {
            drawn.append($0)
            return true
        }
        return drawn
    }

    @Test func narrowRecipesTakeTheMostLikelyId() throws {
        let greedy = try draw(12) { $0.temperature = 0 }
        let generator = Generator(model, length: 2)
        try generator.feed(7)
        let logits = generator.logits.array
        let best = try #require(logits.max())
        #expect(greedy.first.map { logits[Int($0)] } == best)
        #expect(try draw(12) { $0.topK = 1 } == greedy)
        #expect(try draw(12) { $0.topP = 1e-9 } == greedy)
        #expect(try draw(12) { $0.temperature = 1e-300 } == greedy)
    }

    @Test func drawsAreAFunctionOfTheSeed() throws {
        let one = try draw(16) { $0.seed = 1 }
        #expect(try draw(16) { $0.seed = 1 } == one)
        #expect(try draw(16) { $0.seed = 2 } != one)
    }

    @Test func frequenciesFollowTheProbabilities() throws {
        let generator = Generator(model, length: 4)
        try generator.feed(7)
        let logits = generator.logits.array
        var counts = Array(repeating: 0.0, count: logits.count)
        let draws = 4000
        var recipe = SamplingRecipe()
        recipe.temperature = 2
        for seed in 0..<draws {
            recipe.seed = UInt64(seed)
            counts[Int(generator.sample(recipe))] += 1
        }
        let scaled = Tensor(logits.map { $0 / 2 })
        model.engine.exponential(scaled, y: scaled)
        let weights = scaled.array.map(Double.init)
        let total = weights.reduce(0, +)
        var (chiSquared, cells) = (0.0, 0.0)
        for (count, weight) in zip(counts, weights) where weight / total * Double(draws) >= 5 {
            let expected = weight / total * Double(draws)
            chiSquared += (count - expected) * (count - expected) / expected
            cells += 1
        }
        #expect(cells > 10 && chiSquared < cells + 4 * (2 * cells).squareRoot())
    }

    @Test func generationEndsAtTheStopIdAndAtTheReadersWish() throws {
        let drawn = try draw(10) { $0.temperature = 0 }
        let stop = try #require(drawn.last)
        let generator = Generator(model, length: 12)
        try generator.feed(7)
        var recipe = SamplingRecipe()
        recipe.temperature = 0
        var seen: [UInt32] = []
        try generator.generate(10, recipe: recipe, stop: stop) {
            seen.append($0)
            return true
        }
        #expect(seen == Array(drawn[..<(drawn.firstIndex(of: stop) ?? 10)]))
        var count = 0
        try Generator(model, length: 12).generate(10, recipe: recipe, stop: nil) { _ in
            count += 1
            return count < 3
        }
        #expect(count == 3)
    }

    @Test func unknownIdsAndFullCachesAreRefused() throws {
        let generator = Generator(model, length: 2)
        #expect(throws: Fault.self) { try generator.feed(40) }
        #expect(throws: Fault.self) { try generator.feed([1, 40]) }
        #expect(throws: Fault.self) { try generator.feed([1, 2, 3]) }
        #expect(generator.position == 0)
        try generator.feed([1, 2])
        #expect(throws: Fault.self) { try generator.feed(1) }
        #expect(throws: Fault.self) { try model.logits(Array(repeating: 1, count: 21)) }
        #expect(throws: Fault.self) { try model.logits([]) }
        #expect(throws: Fault.self) { try model.logits([40]) }
        for change in [
            { (recipe: inout SamplingRecipe) in recipe.temperature = -1 }, { $0.temperature = .nan },
            { $0.topP = 0 }, { $0.topP = 1.5 }, { $0.topP = .nan }, { $0.topK = -1 },
        ] {
            var recipe = SamplingRecipe()
            change(&recipe)
            #expect(throws: Fault.self) { try recipe.validate() }
        }
    }
}
