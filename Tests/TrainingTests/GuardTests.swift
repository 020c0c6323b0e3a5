// A NaN at every stage of a step, and what lies far out: neither parameters, nor moments, nor the guard's memory ever see
// it; the log says where it came from; and a run that was interrupted ends in the same bytes.

import Batches
import Bytes
import Checkpoints
import Kernels
import Metrics
import Models
import SystemPackage
import TestSupport
import Testing
import Training

@Suite struct GuardTests {
    private static let stages: [(stage: ModelStage, name: String)] = [
        (.embedding, "model.embed_tokens.output"), (.attention(layer: 0), "model.layers.0.self_attn.output"),
        (.attention(layer: 1), "model.layers.1.self_attn.output"),
        (.feedForward(layer: 0), "model.layers.0.mlp.output"),
        (.feedForward(layer: 1), "model.layers.1.mlp.output"), (.norm, "model.norm.output"), (.head, "lm_head.output"),
    ]

    /// Puts `value` into a stage's output in the steps whose number is in `steps`.
    private static func poison(
        _ stage: ModelStage, steps: some Collection<Int>, _ value: Float = .nan
    ) -> (Trainer<Transformer>) -> Void {
        { trainer in
            trainer.model.tap = { [unowned trainer] found, output in
                if found == stage && steps.contains(trainer.state.step + 1) { output[3] = value }
            }
        }
    }

    private static func window(_ state: inout TrainingState) throws {
        state.guardState.window = try GuardWindow(size: 4, limit: 1000)
    }

    @Test(arguments: stages.indices, [Float.nan, .infinity])
    func aStageThatIsNotFiniteIsNamedAndNotLearnedFrom(index: Int, value: Float) throws {
        let (stage, name) = Self.stages[index]
        try RunFixture.with { fixture in
            var seen: [(step: Int, batch: Int, SkippedStep)] = []
            var bits: [Int: [UInt32]] = [:]
            var options = fixture.options
            options.validation = nil
            options.evaluateEvery = 0
            let outcome = try fixture.train(
                "run", options: options, policy: Self.window,
                report: { event in
                    if case .skippedStep(let step, let batch, let skipped) = event {
                        seen.append((step, batch, skipped))
                    }
                },
                prepare: { trainer in
                    Self.poison(stage, steps: 6...7, value)(trainer)
                    trainer.taps.gradient = { [unowned trainer] _ in
                        bits[trainer.state.step] = trainer.model.parameters.array.map(\.bitPattern)
                    }
                })
            #expect(outcome == .complete)
            #expect(seen.map(\.step) == [6, 7] && seen.map(\.batch) == [5, 6])
            #expect(seen.allSatisfy { $0.2.cause == .nonfiniteLoss && $0.2.tensor == name }, "\(seen)")
            // Before step 6 (5 are done) they are what they are before step 8, and then they move again.
            #expect(bits[5] == bits[7] && bits[4] != bits[5] && bits[7] != bits[8])
            let state = try fixture.state("run")
            #expect(state.updates == 18 && state.guardState.skipped == 2 && state.guardState.consecutive == 0)
            #expect(state.guardState.window?.losses.allSatisfy(\.isFinite) == true)
            let guards = try fixture.records("run").filter { $0["guard"] != nil }
            #expect(guards.map(\.step) == [6, 7])
            #expect(guards.map { $0.integer("guard_batch") } == [5, 6])
            #expect(guards.allSatisfy { $0.text("guard_tensor") == name && $0.text("guard") == "nonfinite_loss" })
        }
    }

    @Test(arguments: ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"])
    func aGradientThatIsNotFiniteIsNamed(name: String) throws {
        try RunFixture.with { fixture in
            var seen: [SkippedStep] = []
            let outcome = try fixture.train(
                "run", policy: Self.window,
                report: { if case .skippedStep(_, _, let skipped) = $0 { seen.append(skipped) } },
                prepare: { trainer in
                    trainer.taps.gradient = { [unowned trainer] gradient in
                        guard let tensor = trainer.model.layout[name], trainer.state.step == 8 else { return }
                        gradient[tensor.offset + 1] = -.infinity
                    }
                })
            #expect(outcome == .complete)
            #expect(seen.map(\.cause) == [.nonfiniteGradient] && seen.map(\.tensor) == [name])
            let state = try fixture.state("run")
            #expect(state.updates == 19 && state.guardState.window?.gradientNorms.allSatisfy(\.isFinite) == true)
        }
    }

    /// - Parameter step: before a step that is saved at (8), or one that is not (6).
    @Test(arguments: [6, 8]) func damagedMomentsEndTheRunBeforeAnythingIsSaved(step: Int) throws {
        try RunFixture.with { fixture in
            let fault = #expect(throws: Fault.self) {
                try fixture.train(
                    "run", prepare: { Self.damageMoments($0, step: step) })
            }
            #expect(fault?.kind == .badData && fault?.message.contains("not finite") == true, "\(fault as Any)")
            #expect(fault?.message.contains("model.embed_tokens.weight") == true, "\(fault as Any)")
            #expect(
                fixture.link("run", "latest") == "step-00000005" || fixture.link("run", "latest") == "step-00000004")
            let end = try fixture.records("run").last { $0["stop"] != nil }
            #expect(end?.text("stop") == "failed")
            // Nothing is lost but what was learned since: the run goes on and ends.
            #expect(try fixture.train("run") == .complete)
            #expect(try fixture.state("run").updates == RunFixture.steps)
        }
    }

    private static func damageMoments(_ trainer: Trainer<Transformer>, step: Int) {
        trainer.taps.moments = { [unowned trainer] _, v in if trainer.state.step + 1 == step { v[0] = .nan } }
    }

    @Test(arguments: [6, 8]) func damagedMomentsAreGoneBackFrom(step: Int) throws {
        try RunFixture.with { fixture in
            var rollbacks: [TrainingState.Guard.Rollback] = []
            let outcome = try fixture.train(
                "run", policy: { $0.guardState.rollsBack = true },
                report: { if case .rolledBack(let rollback) = $0 { rollbacks.append(rollback) } },
                prepare: { Self.damageMoments($0, step: step) })
            #expect(outcome == .complete)
            #expect(rollbacks.map(\.goodStep) == [4], "\(rollbacks)")
            #expect(try fixture.state("run").guardState.rollbacks == rollbacks)
        }
    }

    @Test func anEvaluationThatIsNotFiniteIsNamedAndCountsForNothing() throws {
        try RunFixture.with { fixture in
            var seen: [String?] = []
            let outcome = try fixture.train(
                "run", report: { if case .unsoundEvaluation(_, let tensor) = $0 { seen.append(tensor) } },
                prepare: { trainer in
                    // From the end of step 10 until its evaluation has been told.
                    trainer.model.tap = { [unowned trainer] stage, output in
                        guard trainer.state.step == 10, seen.isEmpty, stage == .feedForward(layer: 1) else { return }
                        output[0] = .nan
                    }
                })
            #expect(outcome == .complete)
            #expect(seen == ["model.layers.1.mlp.output"])
            let record = try fixture.records("run").first { $0.text("guard") == "nonfinite_validation" }
            #expect(record?.step == 10 && record?.text("guard_tensor") == "model.layers.1.mlp.output")
            #expect(try fixture.state("run").best.map { $0.step != 10 && $0.validationLoss.isFinite } == true)
        }
    }

    @Test func tooManyInARowAreSavedAndTheEnd() throws {
        try RunFixture.with { fixture in
            var options = fixture.options
            options.maximumSkips = 3
            let fault = #expect(throws: Fault.self) {
                try fixture.train("run", options: options, prepare: Self.poison(.head, steps: 7...20))
            }
            #expect(
                fault?.message
                    == "3 steps in a row were skipped, up to step 9, batch 8: the loss is not finite, first in "
                    + "'lm_head.output'")
            let state = try fixture.state("run")
            #expect(state.step == 9 && state.updates == 6 && state.guardState.consecutive == 3)
            #expect(try fixture.records("run").last?.text("stop") == "max_skips")
        }
    }

    /// What lies far above the window is left out, whatever it is; the window is in the checkpoint.
    @Test(arguments: [true, false]) func outliersAreLeftOutAlsoAfterAResume(isLoss: Bool) throws {
        try RunFixture.with { fixture in
            func prepare(_ trainer: Trainer<Transformer>) {
                if isLoss {
                    trainer.model.tap = { [unowned trainer] stage, logits in
                        guard stage == .head, trainer.state.step + 1 == 12 else { return }
                        for index in 0..<logits.count { logits[index] *= -60 }
                    }
                } else {
                    trainer.taps.gradient = { [unowned trainer] gradient in
                        guard trainer.state.step + 1 == 12 else { return }
                        for index in 0..<gradient.count { gradient[index] *= 1e6 }
                    }
                }
            }
            var options = fixture.options
            options.validation = nil
            options.evaluateEvery = 0
            func train(_ name: String, stopAfter: Int? = nil) throws -> [SkippedStep] {
                var seen: [SkippedStep] = []
                _ = try fixture.train(
                    name, options: options, policy: { $0.guardState.window = try GuardWindow(size: 6, limit: 50) },
                    stopAfter: stopAfter,
                    report: { if case .skippedStep(_, _, let skipped) = $0 { seen.append(skipped) } }, prepare: prepare)
                return seen
            }
            let seen = try train("whole")
            #expect(seen.map(\.cause) == [isLoss ? .lossOutlier : .gradientOutlier], "\(seen)")
            #expect(seen.allSatisfy { $0.limit == 50 && $0.value > 50 })
            let state = try fixture.state("whole")
            #expect(state.updates == 19 && state.guardState.window?.losses.count == 6)
            // A guard that forgot its window at the resume would let step 12 through.
            for cut in [10, 11, 12] {
                _ = try train("cut\(cut)", stopAfter: cut)
                _ = try train("cut\(cut)")
                #expect(try fixture.result("cut\(cut)") == fixture.result("whole"), "cut at \(cut)")
            }
        }
    }

    /// Also when the step behind a checkpoint is skipped, so that it is not proven yet where the run is cut, and nothing else
    /// keeps it.
    @Test(arguments: [[], [9]]) func goingBackIsTheSameHoweverOftenTheRunWasInterrupted(early: [Int]) throws {
        try RunFixture.with { fixture in
            var options = fixture.options
            options.maximumSkips = 3
            options.keep = 1
            func train(_ name: String, stopAfter: Int? = nil) throws -> TrainingOutcome {
                try fixture.train(
                    name, options: options,
                    policy: {
                        $0.guardState.rollsBack = true
                        try Self.window(&$0)
                    }, stopAfter: stopAfter, prepare: Self.poison(.attention(layer: 1), steps: early + [11, 12, 13]))
            }
            #expect(try train("whole") == .complete)
            let state = try fixture.state("whole")
            // What steps 9 and 10 learned is given up; 11 to 13 were skipped.
            #expect(
                state.guardState.rollbacks == [
                    .init(step: 13, goodStep: 8, firstBatch: 8, lastBatch: 12)
                ])
            #expect(state.step == 20 && state.updates == 15 && state.guardState.skipped == 3 + early.count)
            let records = try fixture.records("whole")
            let rollback = records.first { $0["rollback_step"] != nil }
            #expect(rollback?.step == 13 && rollback?.integer("rollback_step") == 8)
            #expect(rollback?.integer("rollback_first_batch") == 8 && rollback?.integer("rollback_last_batch") == 12)
            let steps = records.filter { $0["train_loss"] != nil }.compactMap(\.step)
            #expect(steps == Array(1...20), "no step is recorded twice")
            for cut in [8, 9, 10, 11, 12, 13, 14] {
                #expect(try train("cut\(cut)", stopAfter: cut) == .interrupted)
                #expect(try train("cut\(cut)") == .complete)
                #expect(try fixture.result("cut\(cut)") == fixture.result("whole"), "cut at \(cut)")
                #expect(fixture.link("cut\(cut)", "last-good") == fixture.link("whole", "last-good"))
            }
        }
    }

    /// Batches of the stream before are none of the present one's.
    @Test func goingBackOnNewDataNamesItsBatches() throws {
        try RunFixture.with { fixture in
            var options = fixture.options
            (options.maximumSkips, options.acceptsNewData) = (3, true)
            func train(stopAfter: Int? = nil) throws -> TrainingOutcome {
                try fixture.train(
                    "run", options: options, policy: { $0.guardState.rollsBack = true }, fromStart: true,
                    stopAfter: stopAfter, prepare: Self.poison(.head, steps: [11, 12, 13]))
            }
            #expect(try train(stopAfter: 10) == .interrupted)
            #expect(try train() == .complete)
            let rollbacks = try fixture.state("run").guardState.rollbacks
            #expect(rollbacks == [.init(step: 13, goodStep: 8, firstBatch: 0, lastBatch: 2)])
        }
    }

    /// The norm of what begins to learn says nothing about what did before: the window for it begins anew.
    @Test func whatBeginsToLearnIsNoOutlier() throws {
        try RunFixture.with { fixture in
            func train(_ name: String, stopAfter: Int? = nil) throws -> [SkippedStep] {
                var seen: [SkippedStep] = []
                _ = try fixture.train(
                    name,
                    policy: {
                        $0.recipe.freezes = [.init(pattern: "*", to: 10), .init(pattern: "!model.norm.*")]
                        $0.guardState.window = try GuardWindow(size: 4, limit: 8)
                    }, stopAfter: stopAfter,
                    report: { if case .skippedStep(_, _, let skipped) = $0 { seen.append(skipped) } })
                return seen
            }
            #expect(try train("whole") == [])
            let window = try #require(try fixture.state("whole").guardState.window)
            #expect(window.losses.count == 4 && window.gradientNorms.count == 4)
            for cut in [9, 10, 11, 12] {
                #expect(try train("cut\(cut)", stopAfter: cut) == [])
                let window = try #require(try fixture.state("cut\(cut)").guardState.window)
                #expect(window.losses.count == 4 && window.gradientNorms.count == (cut > 10 ? cut - 10 : 4))
                #expect(try train("cut\(cut)") == [])
                #expect(try fixture.result("cut\(cut)") == fixture.result("whole"), "cut at \(cut)")
            }
        }
    }

    @Test func goingBackTwiceWithoutAnUpdateIsTheEnd() throws {
        try RunFixture.with { fixture in
            var options = fixture.options
            options.maximumSkips = 2
            let fault = #expect(throws: Fault.self) {
                try fixture.train(
                    "run", options: options, policy: { $0.guardState.rollsBack = true },
                    prepare: Self.poison(.norm, steps: 7...20))
            }
            #expect(fault?.message.hasPrefix("2 steps in a row were skipped, up to step 10") == true, "\(fault as Any)")
            #expect(
                fault?.message.hasSuffix(
                    "; the run does not go back: no update was applied since it last did, at the end of step 8") == true
            )
            let state = try fixture.state("run")
            #expect(state.guardState.rollbackCount == 1)
        }
    }

    @Test func aRunThatCannotGoBackSaysWhy() throws {
        try RunFixture.with { fixture in
            var options = fixture.options
            options.maximumSkips = 2
            for (name, isAsked, reason) in [
                ("larger", true, "the model was made larger since the last good checkpoint, of step 4"),
                ("unasked", false, nil),
            ] {
                let fault = #expect(throws: Fault.self) {
                    try fixture.train(
                        name, options: options,
                        policy: {
                            $0.guardState.rollsBack = isAsked
                            try $0.plan(PlannedExpansion.parse(["6", "layers=3,how=identity"]))
                        }, prepare: Self.poison(.norm, steps: 7...20))
                }
                let message =
                    "2 steps in a row were skipped, up to step 8, batch 7: the loss is not finite, first in 'model.norm.output'"
                #expect(fault?.message == message + (reason.map { "; the run does not go back: " + $0 } ?? ""))
            }
            let fault = #expect(throws: Fault.self) {
                try fixture.train(
                    "early", options: options, policy: { $0.guardState.rollsBack = true },
                    prepare: Self.poison(.norm, steps: 1...20))
            }
            #expect(fault?.message.contains("; the run does not go back: ") == true, "\(fault as Any)")
        }
    }

    @Test func parametersToBeginFromMustBeFinite() throws {
        try RunFixture.with { fixture in
            let configuration = try ModelConfiguration(json: RunFixture.model, name: "config.json")
            let engine = try Engine(threads: 1)
            var recipe = TrainingRecipe()
            recipe.scheduleSteps = 1
            let state = TrainingState(recipe: recipe, steps: 1)
            let trainer = Trainer(configuration: configuration, engine: engine, rows: 1, length: 8, state: state)
            trainer.model.initialize(seed: 1)
            trainer.model.parameters[trainer.model.layout["lm_head.weight"]?.offset ?? 0] = .nan
            let wild = try RunDirectory(fixture.path("wild"), access: .write).save(step: 0) { try trainer.write($0) }
            _ = try runShell("tok-pack --rows 1 --length 8 --limit 2 data > stream", directory: fixture.directory)
            let run = try TrainingRun(
                new: fixture.path("run"), configuration: configuration, origin: try Checkpoint(wild), state: state,
                options: TrainingOptions(), engine: engine)
            let fault = #expect(throws: Fault.self) {
                _ = try run.train(on: BatchStream(try FileSource.open(fixture.directory + "/stream")))
            }
            #expect(fault?.message.hasSuffix("tensor 'lm_head.weight' has elements that are not finite") == true)
        }
    }
}
