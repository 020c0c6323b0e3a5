// state.json: everything of a run that is neither a tensor nor the model's shape. No time, host or path stands in it, so
// that two runs that did the same have the same bytes.

internal import Batches
public import Bytes

/// Where a run stands after its last applied step.
public struct TrainingState: Sendable, Equatable {
    public enum Status: String, Sendable {
        /// Saved on the way.
        case running
        /// The last step asked for was done.
        case complete
        /// Ended before it, by what `stopping` says.
        case stopped
    }

    /// What the stream said of its data; a resumed run must be fed the same.
    public struct Data: Sendable, Equatable {
        public var dataset: String
        public var recipe: String
        public var length: Int
        public var vocabularySize: Int
        public var endOfDocument: Int?
        public var tokenizer: JSON
        /// The index of the first batch of it that was read: not 0 after a change to a stream that goes on somewhere.
        public var firstBatch = 0
    }

    /// The lowest validation loss so far.
    public struct Best: Sendable, Equatable {
        public var step: Int
        public var validationLoss: Double
    }

    /// Of state.json as this program writes it; it reads the one before too (docs/formats/checkpoint.md).
    public static let version = 2

    /// The cursor of a run that has read nothing.
    public static let startCursor = Cursor.start

    /// Steps done, skipped ones included.
    public var step = 0
    /// Updates applied.
    public var updates = 0
    /// Updates of a parameter that began to learn after others.
    public struct OwnUpdates: Sendable, Equatable {
        public var name: String
        public var updates: Int
    }

    /// Where the count differs from `updates`: the t of bias corrections.
    public var ownUpdates: [OwnUpdates] = []
    /// Targets learned from.
    public var tokens = 0
    /// Where the stream goes on, in `tok-pack --cursor`'s spelling.
    public var cursor = TrainingState.startCursor
    public var status = Status.running
    /// The step the run goes to.
    public var steps = 0
    public var recipe: TrainingRecipe
    public var data: Data?
    public var guardState = Guard()
    public var best: Best?
    /// What the model has been through on its way to its shape: `ExpansionRecord`s, oldest first.
    public var expansions: [JSON] = []
    /// What it is still to go through, by step.
    public internal(set) var plannedExpansions: [PlannedExpansion] = []
    /// When to stop before the last step; nil: never.
    public var stopping: Stopping?

    public init(recipe: TrainingRecipe, steps: Int) {
        self.recipe = recipe
        self.steps = steps
    }

    /// The digest of all rows applied so far: the cursor's last field.
    public var orderDigest: String? {
        cursor == TrainingState.startCursor ? nil : cursor.split(separator: ":").last.map(String.init)
    }

    public var json: JSON {
        var object: JSONObject = [
            "format": "millrace-state", "version": .integer(TrainingState.version), "step": .integer(step),
            "updates": .integer(updates),
            "tokens": .integer(tokens), "cursor": .string(cursor),
            "order_digest": orderDigest.map(JSON.string) ?? .null, "status": .string(status.rawValue),
            "steps": .integer(steps), "seed": JSON(recipe.seed), "recipe": recipe.json,
        ]
        object["data"] =
            data.map { data in
                var object: JSONObject = [
                    "dataset": .string(data.dataset), "recipe": .string(data.recipe), "length": .integer(data.length),
                    "vocabulary_size": .integer(data.vocabularySize),
                    "end_of_document": data.endOfDocument.map(JSON.integer) ?? .null, "tokenizer": data.tokenizer,
                ]
                if data.firstBatch > 0 { object["first_batch"] = .integer(data.firstBatch) }
                return .object(object)
            } ?? .null
        if !ownUpdates.isEmpty {
            var counts = JSONObject()
            for own in ownUpdates { counts[own.name] = .integer(own.updates) }
            object["own_updates"] = .object(counts)
        }
        object["guard"] = guardState.json
        if let stopping { object["stopping"] = stopping.json }
        object["best"] =
            best.map {
                ["step": .integer($0.step), "validation_loss": .number($0.validationLoss)]
            } ?? .null
        if !expansions.isEmpty { object["expansions"] = .array(expansions) }
        if !plannedExpansions.isEmpty {
            object["planned_expansions"] = .array(plannedExpansions.map(\.json))
        }
        return .object(object)
    }

    /// - Parameter name: the file, for messages.
    /// - Throws: `Fault` (bad data) naming the missing or wrong field.
    public init(json: JSON, name: String) throws(Fault) {
        let fields = Fields(json, name: name)
        guard json["format"]?.stringValue == "millrace-state" else {
            throw .badData(name, "expected a state of format 'millrace-state'")
        }
        let version = try fields.count("version")
        let readable = TrainingState.version - 1...TrainingState.version
        guard readable.contains(version) else {
            throw .badData(
                name, "version \(version), this program reads \(readable.lowerBound) and \(readable.upperBound)",
                hint: version > readable.upperBound
                    ? "a newer Millrace wrote it" : "ckpt-tool migrate of the releases between, one after the other")
        }
        recipe = try TrainingRecipe(json: json["recipe"] ?? .null, name: name)
        step = try fields.count("step")
        updates = try fields.count("updates")
        tokens = try fields.count("tokens")
        cursor = try fields.string("cursor")
        steps = try fields.count("steps")
        guard let status = Status(rawValue: try fields.string("status")) else {
            throw .badData(name, "field 'status': expected 'running', 'complete' or 'stopped'")
        }
        self.status = status
        if let data = json["data"], !data.isNull {
            let fields = Fields(data, name: name, within: "data")
            self.data = Data(
                dataset: try fields.string("dataset"), recipe: try fields.string("recipe"),
                length: try fields.count("length"), vocabularySize: try fields.count("vocabulary_size"),
                endOfDocument: data["end_of_document"]?.intValue, tokenizer: data["tokenizer"] ?? .null,
                firstBatch: data["first_batch"] == nil ? 0 : try fields.count("first_batch"))
        }
        for (key, value) in json["own_updates"]?.objectValue?.members ?? [] {
            guard let count = value.intValue, Fields.counts.contains(count) else {
                throw .badData(name, "field 'own_updates.\(key)': expected an integer from 0 to 2^60")
            }
            ownUpdates.append(OwnUpdates(name: key, updates: count))
        }
        guardState = try Guard(Fields(json["guard"] ?? .null, name: name, within: "guard"), name: name)
        expansions = try ExpansionRecord.list(json["expansions"], name: name)
        plannedExpansions = try PlannedExpansion.list(json["planned_expansions"], name: name)
        if let best = json["best"], !best.isNull {
            let fields = Fields(best, name: name, within: "best")
            self.best = Best(step: try fields.count("step"), validationLoss: try fields.double("validation_loss"))
        }
        if let stopping = json["stopping"], !stopping.isNull {
            self.stopping = try Stopping(Fields(stopping, name: name, within: "stopping"), name: name)
        }
        if status == .stopped && stopping == nil {
            throw .badData(name, "status 'stopped' without 'stopping', which says why")
        }
        try TrainingState.refuseUnknown(json, known: self.json, name: name)
    }

    /// What this program would not write it does not know, and a run that goes on without knowing goes on otherwise than it
    /// was begun.
    private static func refuseUnknown(_ json: JSON, known: JSON, name: String, within prefix: String = "") throws(Fault)
    {
        guard let object = json.objectValue else { return }
        for (key, value) in object.members {
            guard let ours = known[key] else {
                throw .badData(
                    name, "field \(quoted(prefix + key)) is unknown to this program",
                    hint: "a newer Millrace wrote it, which may train in another way")
            }
            // What a tokenizer says of itself is the stream's business.
            if prefix + key == "data.tokenizer" { continue }
            try refuseUnknown(value, known: ours, name: name, within: prefix + key + ".")
        }
    }
}
