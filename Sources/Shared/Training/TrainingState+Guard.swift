// What the guard remembers from one step to the next. All of it is in the checkpoint: a guard that begins anew at each
// resume is blind just when a run is in trouble. Keys that a run does not use are not written.

internal import Bytes

extension TrainingState {
    /// The guard's counts, its window and what it went back from (docs/formats/checkpoint.md).
    public struct Guard: Sendable, Equatable {
        /// Steps whose update was left out.
        public var skipped = 0
        /// How many of them are the latest in a row.
        public var consecutive = 0
        /// What outliers are told by; nil: only what is not finite is skipped.
        public var window: GuardWindow?
        /// Whether a run that skips too many steps in a row goes back to `last-good` instead of ending.
        public var rollsBack = false
        /// How often it did.
        public var rollbackCount = 0
        /// The latest of these, oldest first.
        public var rollbacks: [Rollback] = []
        /// Whether no update was applied since the last of them: going back once more would help no more.
        public var isUnconfirmed = false
        /// In a run that may go back, the checkpoint that becomes `last-good` with the next update that is applied; nil: none.
        public var unprovenStep: Int?

        public init() {}

        /// What the parameters know nothing of any more.
        public struct Rollback: Sendable, Equatable {
            /// The step at whose end the run went back: its number stays, the stream goes on behind it.
            public var step: Int
            /// The checkpoint whose parameters it went on with.
            public var goodStep: Int
            /// The batches passed over, by their index in the stream.
            public var firstBatch: Int
            public var lastBatch: Int

            public init(step: Int, goodStep: Int, firstBatch: Int, lastBatch: Int) {
                (self.step, self.goodStep) = (step, goodStep)
                (self.firstBatch, self.lastBatch) = (firstBatch, lastBatch)
            }
        }

        /// Rollbacks that are kept.
        static let rollbackLimit = 64

        /// Counts a step.
        mutating func note(_ skip: SkippedStep?, loss: Double, gradientNorm: Double) {
            if skip != nil {
                skipped += 1
                consecutive += 1
            } else {
                consecutive = 0
                isUnconfirmed = false
                window?.append(loss: loss, gradientNorm: gradientNorm)
            }
        }

        mutating func note(_ rollback: Rollback) {
            consecutive = 0
            isUnconfirmed = true
            rollbackCount += 1
            rollbacks = rollbacks.suffix(Guard.rollbackLimit - 1) + [rollback]
        }
    }
}

extension TrainingState.Guard {
    var json: JSON {
        var object: JSONObject = ["skipped": .integer(skipped), "consecutive": .integer(consecutive)]
        window?.write(to: &object)
        if rollsBack || rollbackCount > 0 {
            object["rollback"] = .bool(rollsBack)
            object["rollback_count"] = .integer(rollbackCount)
            object["unconfirmed"] = .bool(isUnconfirmed)
            if let unprovenStep { object["unproven_step"] = .integer(unprovenStep) }
            object["rollbacks"] = .array(
                rollbacks.map {
                    [
                        "step": .integer($0.step), "good_step": .integer($0.goodStep),
                        "first_batch": .integer($0.firstBatch), "last_batch": .integer($0.lastBatch),
                    ]
                })
        }
        return .object(object)
    }

    /// - Throws: `Fault` (bad data) naming the field.
    init(_ fields: Fields, name: String) throws(Fault) {
        skipped = try fields.count("skipped")
        consecutive = try fields.count("consecutive")
        window = try GuardWindow(fields, name: name)
        if fields.json["rollback"] == nil { return }
        rollsBack = try fields.value("rollback", "true or false") { $0.boolValue }
        rollbackCount = try fields.count("rollback_count")
        isUnconfirmed = try fields.value("unconfirmed", "true or false") { $0.boolValue }
        if fields.json["unproven_step"] != nil { unprovenStep = try fields.count("unproven_step") }
        let list = try fields.value("rollbacks", "an array of at most \(Self.rollbackLimit) objects") { json in
            json.arrayValue.flatMap { $0.count <= Self.rollbackLimit ? $0 : nil }
        }
        for (index, json) in list.enumerated() {
            let fields = Fields(json, name: name, within: "guard.rollbacks.\(index)")
            rollbacks.append(
                Rollback(
                    step: try fields.count("step"), goodStep: try fields.count("good_step"),
                    firstBatch: try fields.count("first_batch"), lastBatch: try fields.count("last_batch")))
        }
    }
}
