// Stopping before the last step: when evaluations get no better, or good enough. What is counted is in the checkpoint, so
// that a resumed run neither forgets what it has waited for nor trains on after it has stopped.

public import Bytes

extension TrainingState {
    /// When a run stops early. Only evaluations at fixed steps count: where a run was cut must not show.
    public struct Stopping: Sendable, Equatable {
        public enum Reason: String, Sendable {
            /// `patience` evaluations in a row without an improvement.
            case patience
            /// The loss that was asked for was reached.
            case targetLoss = "target_loss"
        }

        /// Evaluations without improvement after which the run stops; 0: it does not.
        public var patience = 0
        /// An evaluation is an improvement when its loss is lower by more than this than that of the last improvement.
        public var minimumDelta = 0.0
        /// The run stops at a loss this low; nil: at none.
        public var targetLoss: Double?
        /// The last improvement; nil before the first.
        public private(set) var improvement: Best?
        /// Evaluations since.
        public private(set) var waited = 0
        /// The step of the last evaluation that was counted, -1 before the first: one that is done again after a resume
        /// counts once.
        public private(set) var evaluatedStep = -1
        /// The lowest loss that was counted.
        private var lowest: Double?

        /// No limit, nothing counted.
        public static let none = Stopping()

        private init() {}

        /// - Throws: `Fault` (usage) naming what is out of range.
        public init(patience: Int, minimumDelta: Double = 0, targetLoss: Double? = nil) throws(Fault) {
            self.patience = patience
            self.minimumDelta = minimumDelta
            self.targetLoss = targetLoss
            try validate()
        }

        /// Other limits for what was counted so far.
        /// - Throws: `Fault` (usage) naming what is out of range.
        public mutating func change(patience: Int, minimumDelta: Double?, targetLoss: Double?) throws(Fault) {
            self.patience = patience
            self.minimumDelta = minimumDelta ?? self.minimumDelta
            self.targetLoss = targetLoss
            try validate()
        }

        func validate() throws(Fault) {
            if patience < 0 { throw Fault(.usage, "patience is \(patience), expected 0 evaluations or more") }
            guard minimumDelta.isFinite && minimumDelta >= 0 else {
                throw Fault(.usage, "min delta is \(minimumDelta), expected 0 or more")
            }
            if let targetLoss, !targetLoss.isFinite {
                throw Fault(.usage, "target loss is \(targetLoss), expected a finite number")
            }
        }

        /// Counts an evaluation; a loss that is not finite is no improvement.
        public mutating func note(_ loss: Double, step: Int) {
            if step <= evaluatedStep { return }
            evaluatedStep = step
            if loss.isFinite { lowest = min(loss, lowest ?? loss) }
            // The first one is an improvement over nothing.
            if loss.isFinite && loss < (improvement?.validationLoss ?? .infinity) - minimumDelta {
                improvement = Best(step: step, validationLoss: loss)
                waited = 0
            } else {
                waited += 1
            }
        }

        /// Why the run should have stopped by now; nil: it should go on.
        public var reason: Reason? {
            if let lowest, let targetLoss, lowest <= targetLoss { return .targetLoss }
            return patience > 0 && waited >= patience ? .patience : nil
        }

        /// The reason in words.
        public var explanation: String {
            switch reason {
            case .targetLoss?:
                return "the validation loss \(lowest ?? .nan) has reached the target \(targetLoss ?? .nan)"
            case .patience?:
                let last = improvement.map { "\($0.validationLoss) of step \($0.step)" } ?? "any finite loss"
                let delta = minimumDelta > 0 ? " by more than \(minimumDelta)" : ""
                return
                    "\(waited) \(waited == 1 ? "evaluation" : "evaluations in a row") did not improve on \(last)\(delta)"
            case nil: return "nothing asks for a stop"
            }
        }

        /// The options of train-step with which a stopped run goes on: what was counted stays, so that only another limit does.
        package var remedy: String? {
            switch reason {
            case .targetLoss?:
                return "--resume with a --target-loss below \(lowest ?? .nan) goes on; -inf asks for none"
            case .patience?:
                return "--resume with --patience \(waited + 1) or more goes on; --patience 0 asks for none"
            case nil: return nil
            }
        }
    }
}

extension TrainingState.Stopping {
    var json: JSON {
        [
            "patience": .integer(patience), "min_delta": .number(minimumDelta),
            "target_loss": targetLoss.map(JSON.number) ?? .null,
            "improvement": improvement.map {
                ["step": .integer($0.step), "validation_loss": .number($0.validationLoss)]
            } ?? .null,
            "waited": .integer(waited), "evaluated_step": .integer(evaluatedStep),
            "lowest": lowest.map(JSON.number) ?? .null, "reason": reason.map { .string($0.rawValue) } ?? .null,
        ]
    }

    /// - Throws: `Fault` (bad data) naming the field.
    init(_ fields: Fields, name: String) throws(Fault) {
        func optional(_ key: String) throws(Fault) -> Double? {
            fields.json[key]?.isNull == true ? nil : try fields.double(key)
        }
        patience = try fields.count("patience")
        minimumDelta = try fields.double("min_delta")
        targetLoss = try optional("target_loss")
        waited = try fields.count("waited")
        lowest = try optional("lowest")
        evaluatedStep = try fields.value("evaluated_step", "an integer, -1 or more") {
            $0.intValue.flatMap { $0 >= -1 ? $0 : nil }
        }
        if let json = fields.json["improvement"], !json.isNull {
            let fields = Fields(json, name: name, within: "stopping.improvement")
            improvement = TrainingState.Best(
                step: try fields.count("step"), validationLoss: try fields.double("validation_loss"))
        }
        do { try validate() } catch { throw .badData(name, "stopping: \(error.message)") }
    }
}
