// The hand-written passes against the oracle in double.

import Kernels
import Models
import Testing

/// ‖a − b‖ / ‖b‖.
private func distance(_ a: some Sequence<Float>, _ b: some Sequence<Double>) -> Double {
    var (difference, norm) = (0.0, 0.0)
    for (x, y) in zip(a, b) {
        difference += (Double(x) - y) * (Double(x) - y)
        norm += y * y
    }
    return (difference / max(norm, 1e-300)).squareRoot()
}

@Suite struct GradientTests {
    @Test(arguments: [true, false], [(4, 2), (4, 4), (3, 1)])
    func everyGradientAgreesWithCentralDifferences(tied: Bool, heads: (Int, Int)) throws {
        try compare(try configuration(heads: heads.0, keyValueHeads: heads.1, tied: tied))
    }

    @Test(arguments: families, [true, false])
    func everyFamilysGradientsAgree(_ family: (family: ModelFamily, biases: Bool), tied: Bool) throws {
        try compare(try configuration(family.family, tied: tied, biases: family.biases))
    }

    /// Of adapters, and of everything else beside them.
    @Test(arguments: families, adapterTexts)
    func everyAdaptersGradientsAgree(_ family: (family: ModelFamily, biases: Bool), text: String) throws {
        let c = try configuration(family.family, biases: family.biases)
        try compare(c.adapted(adapters(text, family.family)))
        try compare(c.adapted(adapters("rslora=true,alpha=4," + text.replacing("alpha=5,", with: ""), family.family)))
    }

    private func compare(_ c: ModelConfiguration) throws {
        let sample = SampleBatch(rows: 2, length: 7, vocabulary: c.vocabularySize)
        let engine = try Engine(threads: 2)
        let model = Transformer(configuration: c, engine: engine, rows: 2, length: 7, training: true)
        fillParameters(model)
        let gradients = Gradients(c, layout: model.layout)
        gradients.begin(engine)
        let losses = Tensor(zeroed: 14)
        let batch = ModelBatch(capacity: 14)
        try sample.fill(batch, 0..<2, vocabulary: c.vocabularySize)
        model.forwardBackward(batch, into: gradients, losses: losses)
        gradients.finish(engine)

        let oracle = Oracle(c)
        let p = model.parameters.array.map(Double.init)
        let rows = sample.oracleRows
        let expectedLosses = rows.flatMap { row in zip(oracle.losses(p, row), row.weight).map { $1 == 0 ? 0 : $0 } }
        #expect(distance(losses.array, expectedLosses) < 1e-6)
        let expected = oracle.gradient(p, rows)
        let actual = gradients.flat.array
        for tensor in model.layout.tensors {
            let range = tensor.offset..<tensor.offset + tensor.count
            if tensor.name.hasSuffix("k_proj.bias") && !c.normalizesHeads && c.ropeTheta == nil { continue }
            let error = distance(actual[range], expected[range])
            #expect(error < 5e-6, "\(tensor.name): \(error)")
        }
    }

    @Test func lossesOfMaskedAndPaddingPositionsAreZeroAndTheirTargetsDoNotMatter() throws {
        let c = try configuration()
        let engine = try Engine(threads: 1)
        var sample = SampleBatch(rows: 2, length: 9, vocabulary: c.vocabularySize)
        let before = try step(c, sample, split: [2], engine: engine)
        #expect([3, 15, 16, 17].allSatisfy { before.losses[$0] == 0 } && before.losses[0] != 0)
        sample.targets[3] = (sample.targets[3] + 1) % 11
        for t in 6..<9 { sample.targets[9 + t] = (sample.targets[9 + t] + 1) % 11 }
        for t in 6..<9 { sample.inputs[9 + t] = (sample.inputs[9 + t] + 1) % 11 }
        #expect(try step(c, sample, split: [2], engine: engine) == before)
    }

    @Test func aDocumentIsBlindToItsNeighbours() throws {
        let c = try configuration()
        let model = Transformer(
            configuration: c, engine: try Engine(threads: 1), rows: 1, length: 12, training: false)
        fillParameters(model)
        let sample = SampleBatch(rows: 1, length: 12, vocabulary: c.vocabularySize)
        func losses(_ range: Range<Int>, ends: [Int32]) throws -> [Float] {
            let batch = ModelBatch(capacity: range.count)
            try batch.fill(
                rows: 0..<1, length: range.count, inputs: Array(sample.inputs[range]),
                targets: Array(sample.targets[range]), segmentEnds: [ends], lossMask: nil, weight: 1,
                vocabularySize: c.vocabularySize)
            let losses = Tensor(zeroed: range.count)
            model.evaluate(batch, losses: losses)
            return losses.array
        }
        let together = try losses(0..<12, ends: [5, 12])
        #expect(try losses(0..<5, ends: [5]) + losses(5..<12, ends: [7]) == together)
        #expect(try losses(0..<12, ends: [12]) != together)
    }

    @Test func evaluationGivesTheLossesOfTraining() throws {
        let c = try configuration(tied: false)
        let sample = SampleBatch(rows: 3, length: 8, vocabulary: c.vocabularySize)
        let engine = try Engine(threads: 2)
        let model = Transformer(configuration: c, engine: engine, rows: 2, length: 10, training: false)
        fillParameters(model)
        let batch = ModelBatch(capacity: 20)
        let losses = Tensor(zeroed: 24)
        for range in [0..<2, 2..<3] {
            try sample.fill(batch, range, vocabulary: c.vocabularySize)
            model.evaluate(batch, losses: losses.slice(range.lowerBound * 8, range.count * 8))
        }
        #expect(try losses.array.map(\.bitPattern) == step(c, sample, split: [3], engine: engine).losses)
    }
}
