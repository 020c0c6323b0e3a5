import Bytes
import Models
import Testing
import Training

@Suite struct FreezePolicyTests {
    private func layout() throws -> ParameterLayout {
        ParameterLayout(
            try ModelConfiguration(
                json: [
                    "model_type": "gpt2", "vocab_size": 19, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16,
                ], name: "config.json"))
    }

    private func trained(_ rules: [String], at step: Int) throws -> [String] {
        let layout = try layout()
        let frozen = FreezePolicy(try rules.map { try FreezeRule(parsing: $0) }, layout.tensors).frozen(at: step)
        return zip(layout.tensors, frozen).compactMap { $1 ? nil : $0.name }
    }

    @Test func theLastRuleThatMatchesAndAppliesCounts() throws {
        let norms = ["transformer.ln_f.weight", "transformer.ln_f.bias"]
        #expect(try trained(["*", "!*.ln_f.*"], at: 1) == norms)
        #expect(try trained(["!*.ln_f.*", "*"], at: 1).isEmpty)
        #expect(try trained(["*@2-3", "!*.ln_f.*"], at: 1).count == layout().tensors.count)
        #expect(try trained(["*@2-3", "!*.ln_f.*"], at: 3) == norms)
        #expect(try trained(["*@2-3", "!*.ln_f.*"], at: 4).count == layout().tensors.count)
        #expect(try trained(["transformer.h.?.*", "!*.1.*@5-"], at: 4).allSatisfy { !$0.contains(".h.") })
        #expect(try trained(["transformer.h.?.*", "!*.1.*@5-"], at: 5).contains("transformer.h.1.ln_1.bias"))
        #expect(try trained(["*@-7"], at: 7).isEmpty)
    }

    @Test(arguments: ["", "!", "a@", "a@-", "a@x-2", "a@3-2", "a@0-2", "a@1-2-3", "a@5"])
    func whatIsNoRuleIsRefused(text: String) {
        let fault = #expect(throws: Fault.self) { try FreezeRule(parsing: text) }
        #expect(fault?.kind == .usage)
    }

    @Test(arguments: [
        "{}", "[1]", "[{}]", #"[{"freeze": 1}]"#, #"[{"freeze": "a", "until": 2}]"#, #"[{"freeze": "a", "from": "x"}]"#,
        #"[{"freeze": "a", "from": 3, "to": 2}]"#, #"[{"freeze": "a", "to": 0}]"#, #"[{"freeze": "a", "to": 1.5}]"#,
    ])
    func aPolicyThatLiesIsRefused(text: String) throws {
        let json = try JSON(parsing: Array(text.utf8), name: "policy.json")
        let fault = #expect(throws: Fault.self) { try FreezeRule.list(json, name: "policy.json") }
        #expect(fault?.kind == .badData && fault?.message.contains("policy.json") == true)
    }

    @Test func aPatternThatFitsNothingAndAStepWithoutLearningAreRefused() throws {
        func check(_ rules: [String], steps: Int = 10) throws {
            try FreezePolicy.check(rules.map { try FreezeRule(parsing: $0) }, layout().tensors, steps: steps)
        }
        #expect(throws: Fault.self) { try check(["*.h.2.*"]) }
        #expect(throws: Fault.self) { try check(["*"]) }
        #expect(throws: Fault.self) { try check(["*.h.*@3-", "*wte*@5-6", "*wpe*", "*ln_f*"]) }
        try check(["*.h.*@3-", "*wte*@5-6", "*wpe*", "*ln_f*"], steps: 4)
        try check(["*@11-"])
    }

    @Test func rulesSurviveTheirJSON() throws {
        let rules = try ["*", "!a@3-", "b@-7", "c@2-9"].map { try FreezeRule(parsing: $0) }
        #expect(try FreezeRule.list(.array(rules.map(\.json)), name: "x") == rules)
    }
}
