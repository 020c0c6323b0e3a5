// Low-rank adapters: what is said of them, where they lie, how they begin.

import Bytes
import Kernels
import Models
import Testing

@Suite struct AdapterTests {
    private func names(_ c: ModelConfiguration) -> [String] {
        ParameterLayout(c).tensors.filter(\.isAdapter).map(\.name)
    }

    @Test func namesShapesAndPlacesAreThoseOfPEFTBehindThePlainModel() throws {
        let plain = try configuration(.llama, layers: 1)
        let c = try plain.adapted("rank=3,alpha=6,targets=q_proj+v_proj")
        let (layout, before) = (ParameterLayout(c), ParameterLayout(plain))
        #expect(Array(layout.tensors.prefix(before.tensors.count)) == before.tensors)
        #expect(
            names(c) == [
                "model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.v_proj.lora_A.weight",
                "model.layers.0.self_attn.q_proj.lora_B.weight", "model.layers.0.self_attn.v_proj.lora_B.weight",
            ])
        #expect(layout["model.layers.0.self_attn.v_proj.lora_A.weight"]?.shape == [3, 8])
        #expect(layout["model.layers.0.self_attn.v_proj.lora_B.weight"]?.shape == [8, 3])
        // GPT-2 stores its matrices (in, out), PEFT its adapters (r, in) and (out, r) all the same.
        let gpt2 = ParameterLayout(try configuration(.gpt2, layers: 1).adapted("rank=2"))
        #expect(gpt2["transformer.h.0.attn.c_attn.lora_A.weight"]?.shape == [2, 8])
        #expect(gpt2["transformer.h.0.attn.c_attn.lora_B.weight"]?.shape == [24, 2])
    }

    @Test(arguments: families)
    func targetsAreNamesPatternsOrAll(_ family: (family: ModelFamily, biases: Bool)) throws {
        let c = try configuration(family.family, layers: 3)
        let isGPT2 = family.family == .gpt2
        #expect(try names(c.adapted("targets=all")).count == 3 * 2 * (isGPT2 ? 4 : 7))
        #expect(try names(c.adapted("rank=2")).count == 3 * 2 * (isGPT2 ? 1 : 2))
        #expect(try names(c.adapted(isGPT2 ? "targets=c_proj" : "targets=*gate_proj+o_proj")).count == 3 * 2 * 2)
        #expect(try names(c.adapted(isGPT2 ? "targets=attn.c_proj" : "targets=mlp.down_proj")).count == 3 * 2)
        #expect(
            try names(c.adapted(isGPT2 ? "targets=*.h.1.*" : "targets=*.layers.1.*")).allSatisfy { $0.contains(".1.") })
    }

    @Test(arguments: [
        "", "rank", "rank=0", "rank=x", "rank=5000", "alpha=0", "alpha=-1", "alpha=nan", "alpha=inf", "targets=",
        "targets=q_proj++v_proj", "targets=lm_head", "targets=q_pro", "rslora=yes", "rank=2,rank=2", "dropout=0.1",
    ])
    func whatIsNoAdapterIsRefused(text: String) throws {
        let c = try configuration(.llama)
        let fault = #expect(throws: Fault.self) { try c.adapted(text) }
        #expect(fault?.kind == .usage)
    }

    @Test func theyGoThroughAConfigurationFile() throws {
        for (family, _) in families {
            let c = try configuration(family).adapted("rank=4,alpha=2.5,rslora=true,targets=all")
            let again = try ModelConfiguration(json: c.json, name: "config.json")
            #expect(again.adapters == c.adapters && again.adapters?.scale == 1.25)
            #expect(again.json == c.json && ParameterLayout(again) == ParameterLayout(c))
            #expect(try c.adapted(by: nil).json["lora"] == nil)
        }
        for text in [
            #"{"rank": 2}"#, #"[]"#, #"{"rank": 0, "alpha": 1, "targets": ["all"], "rslora": false}"#,
            #"{"rank": 1, "alpha": 1, "targets": ["nothing"], "rslora": false}"#,
            #"{"rank": 1, "alpha": 1, "targets": [], "rslora": false}"#,
            #"{"rank": 1, "alpha": 1, "targets": ["all"], "rslora": false, "dropout": 0.5}"#,
        ] {
            guard case .object(var object) = try configuration().json else { return }
            object["lora"] = try JSON(parsing: Array(text.utf8), name: "x")
            let fault = #expect(throws: Fault.self) {
                try ModelConfiguration(json: .object(object), name: "config.json")
            }
            #expect(fault?.kind == .badData && fault?.message.contains("lora") == true, "\(text)")
        }
    }

    /// The base as it is without adapters, A uniform within its bound, B zero: the model's function does not change.
    @Test(arguments: families)
    func theyBeginWithoutAnEffect(_ family: (family: ModelFamily, biases: Bool)) throws {
        let plain = try configuration(family.family, biases: family.biases)
        let c = try plain.adapted("rank=4,alpha=8,targets=all")
        func model(_ c: ModelConfiguration) throws -> Transformer {
            let model = Transformer(
                configuration: c, engine: try Engine(threads: 1), rows: 1, length: 8, training: false)
            model.initialize(seed: 3)
            return model
        }
        let (without, with) = (try model(plain), try model(c))
        #expect(with.parameters.slice(0, without.parameters.count).array == without.parameters.array)
        #expect(try with.logits([1, 5, 2, 9]) == without.logits([1, 5, 2, 9]))
        var bounds: Set<Int> = []
        for tensor in with.layout.tensors where tensor.isAdapter {
            let values = with.parameters.slice(tensor.offset, tensor.count).array
            if tensor.role == .adapterOutput {
                #expect(values.allSatisfy { $0 == 0 })
                continue
            }
            let bound = 1 / Float(tensor.shape[1]).squareRoot()
            #expect(values.allSatisfy { abs($0) <= bound } && values.contains { abs($0) > bound / 2 })
            #expect(Set(values).count > values.count / 2)
            bounds.insert(tensor.shape[1])
        }
        #expect(bounds.count > 1)
        // What was drawn is a function of the seed.
        let again = try model(c)
        #expect(again.parameters.array == with.parameters.array)
    }

    /// Position by position with a cache as in one pass.
    @Test(arguments: families)
    func aGeneratorHasThem(_ family: (family: ModelFamily, biases: Bool)) throws {
        let c = try configuration(family.family, biases: family.biases).adapted("rank=3,alpha=9,targets=all")
        let model = Transformer(
            configuration: c, engine: try Engine(threads: 1), rows: 1, length: 8, training: false)
        fillParameters(model)
        let ids: [UInt32] = [3, 1, 4, 1, 5]
        let whole = try model.logits(ids)
        let generator = Generator(model, length: 8)
        for (index, id) in ids.enumerated() {
            try generator.feed(id)
            #expect(generator.logits.array == whole[index])
        }
    }

    /// Only what learns has room, and a plan counts it.
    @Test func aPlanCountsThem() throws {
        let c = try configuration(.qwen3, vocabulary: 300, hidden: 32, inner: 64).adapted("rank=4,targets=all")
        let layout = ParameterLayout(c)
        let frozen = layout.tensors.map { !$0.isAdapter }
        let gradients = Gradients(c, layout: layout, neverTrained: frozen)
        let kept = layout.tensors.filter { $0.isAdapter || $0.shape.count == 1 }.reduce(0) { $0 + $1.count }
        #expect(gradients.flat.count == kept)
        #expect(Gradients.bytes(c, layout: layout, neverTrained: frozen) == 4 * kept)
        let engine = try Engine(threads: 1)
        let plan = Transformer.plan(c, engine: engine, rows: 1, length: 8, training: true, neverTrained: frozen)
        #expect(plan.entries.first { $0.name == "gradients" }?.bytes == 4 * kept)
        #expect(plan.entries.first { $0.name == "parameters" }?.bytes == 4 * layout.count)
    }
}
