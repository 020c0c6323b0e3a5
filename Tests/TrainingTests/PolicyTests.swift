// The guard's window and the counting of evaluations, by themselves.

import Bytes
import Testing
import Training

@Suite struct PolicyTests {
    private static func state(_ change: (inout JSONObject) -> Void) -> JSON {
        var state = TrainingState(recipe: TrainingRecipe(), steps: 9).json.objectValue ?? [:]
        change(&state)
        return .object(state)
    }

    private static func read(_ json: JSON) throws -> TrainingState { try TrainingState(json: json, name: "state.json") }

    @Test func aRunWithoutPoliciesKeepsTheBytesOfItsState() {
        let json = TrainingState(recipe: TrainingRecipe(), steps: 9).json
        #expect(json["guard"]?.objectValue?.keys == ["skipped", "consecutive"])
        #expect(json["stopping"] == nil)
    }

    @Test func policiesSurviveTheirJSON() throws {
        var state = TrainingState(recipe: TrainingRecipe(), steps: 9)
        state.guardState.window = try GuardWindow(size: 3, limit: 0.1 + 0.2)
        state.guardState.rollsBack = true
        state.guardState.rollbackCount = 70
        state.guardState.rollbacks = [.init(step: 9, goodStep: 4, firstBatch: 5, lastBatch: 9)]
        state.guardState.isUnconfirmed = true
        state.guardState.unprovenStep = 8
        state.stopping = try .init(patience: 2, minimumDelta: 1e-3, targetLoss: 0.5)
        state.status = .stopped
        let read = try Self.read(JSON(parsing: state.json.pretty, name: "state.json"))
        #expect(read == state)
    }

    @Test(
        arguments: [
            ("window", JSON.integer(1)), ("window", -3), ("window", 1_000_000), ("z", 0), ("z", -1), ("z", "6"),
            ("losses", [1]), ("losses", [1, "x"]), ("losses", [1, 2, 3, 4, 5]), ("gradient_norms", JSON.null),
            ("gradient_norms", [3, 4, 5]), ("skipped", .integer(1 << 61)), ("consecutive", .integer(.max)),
        ] as [(String, JSON)])
    func aGuardThatCannotBeIsRefused(key: String, value: JSON) throws {
        func state(_ change: (inout JSONObject) -> Void) -> JSON {
            Self.state { state in
                var object: JSONObject = [
                    "skipped": 0, "consecutive": 0, "window": 4, "z": 6, "losses": [1, 2], "gradient_norms": [3, 4],
                ]
                change(&object)
                state["guard"] = .object(object)
            }
        }
        #expect(try Self.read(state { _ in }).guardState.window?.losses == [1, 2])
        let fault = #expect(throws: Fault.self) { try Self.read(state { $0[key] = value }) }
        #expect(fault?.kind == .badData)
        #expect(fault?.message.contains("guard") == true, "\(fault as Any)")
    }

    @Test func aStoppedRunSaysWhy() {
        let fault = #expect(throws: Fault.self) { try Self.read(Self.state { $0["status"] = "stopped" }) }
        #expect(fault?.kind == .badData)
    }

    @Test func aWindowThatChangesKeepsTheNewest() throws {
        let json = Self.state { state in
            state["guard"] = [
                "skipped": 0, "consecutive": 0, "window": 4, "z": 6, "losses": [1, 2, 3, 4],
                "gradient_norms": [5, 6, 7, 8],
            ]
        }
        let window = try Self.read(json).guardState.window
        let smaller = try GuardWindow.changed(window, size: 2, limit: nil)
        #expect(smaller?.losses == [3, 4] && smaller?.gradientNorms == [7, 8] && smaller?.limit == 6)
        #expect(try GuardWindow.changed(window, size: nil, limit: 9)?.losses == [1, 2, 3, 4])
        #expect(try GuardWindow.changed(window, size: 0, limit: nil) == nil)
        #expect(try GuardWindow.changed(nil, size: nil, limit: nil) == nil)
        #expect(try GuardWindow.changed(nil, size: nil, limit: 3)?.size == 128)
        #expect(throws: Fault.self) { try GuardWindow.changed(nil, size: 1, limit: nil) }
        #expect(throws: Fault.self) { try GuardWindow.changed(nil, size: 8, limit: .nan) }
    }

    private static func count(
        _ losses: [Double], patience: Int = 0, delta: Double = 0, target: Double? = nil
    ) throws -> [TrainingState.Stopping.Reason?] {
        var stopping = try TrainingState.Stopping(patience: patience, minimumDelta: delta, targetLoss: target)
        return losses.enumerated().map { index, loss in
            stopping.note(loss, step: 10 * index)
            // One that is done again counts once.
            stopping.note(loss, step: 10 * index)
            return stopping.reason
        }
    }

    @Test func patienceCountsEvaluationsWithoutImprovement() throws {
        #expect(try Self.count([3, 2, 2, 1, 1.5, 1, 1], patience: 3) == [nil, nil, nil, nil, nil, nil, .patience])
        #expect(try Self.count([3, 2.95, 2.92], patience: 2, delta: 0.1) == [nil, nil, .patience])
        // Small gains that add up are an improvement once they are more than the least one.
        #expect(try Self.count([3, 2.95, 2.85], patience: 2, delta: 0.1) == [nil, nil, nil])
        #expect(try Self.count([.nan, .infinity], patience: 2) == [nil, .patience])
        #expect(try Self.count([3, 3, 3], patience: 0) == [nil, nil, nil])
        #expect(try Self.count([3, 2.5, 2.4], target: 2.5) == [nil, .targetLoss, .targetLoss])
        #expect(try Self.count([.nan, -.infinity], target: 2.5) == [nil, nil])
        #expect(throws: Fault.self) { try TrainingState.Stopping(patience: -1) }
        #expect(throws: Fault.self) { try TrainingState.Stopping(patience: 1, minimumDelta: .nan) }
        #expect(throws: Fault.self) { try TrainingState.Stopping(patience: 0, targetLoss: .infinity) }
    }
}
