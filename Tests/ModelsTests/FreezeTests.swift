// Frozen parameters: what still learns has the bits that it has without them, whatever is left out.

import Kernels
import Models
import Testing

@Suite struct FreezeTests {
    /// The gradient of one step in two micro-batches, with what is frozen left out.
    private func gradient(
        _ c: ModelConfiguration, _ sample: SampleBatch, _ isFrozen: [Bool], engine: Engine,
        recompute: Recompute = .none, lanes: Int = 1, hasRoom: Bool = true
    ) throws -> (gradients: Gradients, tensors: [ParameterTensor]) {
        let model = Transformer(
            configuration: c, engine: engine, rows: sample.rows, length: sample.length, training: true,
            recompute: recompute)
        fillParameters(model)
        let layout = model.layout
        let all = (0..<lanes).map { _ in Gradients(c, layout: layout, neverTrained: hasRoom ? nil : isFrozen) }
        let (batch, losses) = (ModelBatch(capacity: sample.inputs.count), Tensor(zeroed: sample.inputs.count))
        for lane in all { lane.freeze(isFrozen) }
        // Twice: what the first step leaves must not show in the second.
        for _ in 0..<2 {
            for lane in all {
                lane.begin(engine)
                for rows in [0..<1, 1..<sample.rows] {
                    try sample.fill(batch, rows, vocabulary: c.vocabularySize)
                    model.forwardBackward(batch, into: lane, losses: losses.slice(0, rows.count * sample.length))
                }
                lane.finish(engine)
            }
            Gradients.reduce(all, engine)
        }
        return (all[0], layout.tensors)
    }

    private func expectEqualBits(
        _ c: ModelConfiguration, lanes: Int = 1, recompute: Recompute = .none, _ masks: [([ParameterTensor]) -> [Bool]]
    ) throws {
        let sample = SampleBatch(rows: 3, length: 13, vocabulary: c.vocabularySize)
        let engine = try Engine(threads: 2)
        let tensors = ParameterLayout(c).tensors
        let whole = try gradient(c, sample, tensors.map { _ in false }, engine: engine, lanes: lanes).gradients
        #expect(whole.runs == [0..<ParameterLayout(c).count])
        for mask in masks {
            for hasRoom in [true, false] {
                let frozen = mask(tensors)
                let part = try gradient(
                    c, sample, frozen, engine: engine, recompute: recompute, lanes: lanes, hasRoom: hasRoom
                ).gradients
                var count = 0
                for (index, tensor) in tensors.enumerated() where !frozen[index] {
                    let place = try #require(part.places.offsets[index])
                    let (a, b) = (whole.flat.slice(tensor.offset, tensor.count), part.flat.slice(place, tensor.count))
                    #expect(a.array.map(\.bitPattern) == b.array.map(\.bitPattern), "\(tensor.name)")
                    count += tensor.count
                }
                #expect(part.runs.reduce(0) { $0 + $1.count } == count)
                // A matrix that never learns has no room; norms and biases have.
                let room = tensors.indices.reduce(0) {
                    $0 + (hasRoom || !frozen[$1] || tensors[$1].shape.count == 1 ? tensors[$1].count : 0)
                }
                #expect(part.flat.count == room)
            }
        }
    }

    /// One tensor at a time learns: every place at which the pass can end.
    @Test(arguments: families) func eachParameterAloneHasItsBits(_ family: (family: ModelFamily, biases: Bool)) throws {
        for tied in [true, false] where family.family != .gpt2 || tied {
            let c = try configuration(family.family, layers: 2, tied: tied, biases: family.biases)
            try expectEqualBits(
                c, ParameterLayout(c).tensors.map { kept in { $0.map { $0.name != kept.name } } })
        }
    }

    /// Adapters alone, one of their matrices alone, and mixtures with what they stand beside.
    @Test(arguments: families, adapterTexts)
    func adaptersHaveTheirBitsWhateverIsFrozen(
        _ family: (family: ModelFamily, biases: Bool), text: String
    ) throws {
        let c = try configuration(family.family, layers: 2, biases: family.biases)
            .adapted(adapters(text, family.family))
        let names = ParameterLayout(c).tensors.filter(\.isAdapter).map(\.name)
        #expect(!names.isEmpty)
        var masks: [([ParameterTensor]) -> [Bool]] = names.map { name in { $0.map { $0.name != name } } }
        masks += [{ $0.map { !$0.isAdapter } }, { $0.map { $0.role != .adapterInput && $0.role != .norm } }]
        masks += (0..<4).map { index in
            let random = Random(seed: 5, purpose: UInt64(index))
            return { tensors in tensors.indices.map { random.uniform(UInt64($0)) < Double(index + 1) / 5 } }
        }
        try expectEqualBits(c, lanes: 2, recompute: .layer, masks)
    }

    @Test(arguments: families, Recompute.allCases)
    func anyMixtureHasItsBits(_ family: (family: ModelFamily, biases: Bool), recompute: Recompute) throws {
        let c = try configuration(family.family, layers: 3, biases: family.biases)
        let masks: [([ParameterTensor]) -> [Bool]] = (0..<8).map { index in
            let random = Random(seed: 3, purpose: UInt64(index))
            return { tensors in tensors.indices.map { random.uniform(UInt64($0)) < Double(index + 1) / 9 } }
        }
        try expectEqualBits(c, lanes: 2, recompute: recompute, masks)
    }
}
