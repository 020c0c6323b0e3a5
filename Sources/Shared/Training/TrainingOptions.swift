// How a run is worked on and watched over: what may change from one start to the next without changing its numbers. A
// run that is resumed goes on with what run.json keeps of it, so that it ends as it would have without the interruption.

public import Bytes
public import Models
public import SystemPackage

/// Options of a run that are no part of its recipe.
public struct TrainingOptions: Sendable {
    /// Parts that a batch is cut into; nil: as many as are quick and keep memory low.
    public var microBatches: Int?
    /// What the backward pass computes anew instead of having it kept.
    public var recompute = Recompute.none
    /// A saved batch stream to evaluate on.
    public var validation: String?
    /// Steps between evaluations; 0 = only at the end.
    public var evaluateEvery = 0
    /// Evaluate the moving average of the parameters instead of themselves.
    public var evaluatesAverage = false
    /// Steps between checkpoints; 0 = only at the end.
    public var saveEvery = 0
    /// Newest checkpoints kept beside those that links point at; 0 = all, or with `keepEvery` one.
    public var keep = 0
    /// Checkpoints whose step is a multiple of it are kept too; 0 = none.
    public var keepEvery = 0
    /// Go on although the stream is of other data or begins elsewhere than the checkpoint says.
    public var acceptsNewData = false
    /// Skipped steps in a row after which the run gives up, or goes back to `last-good`.
    public var maximumSkips = 10
    /// Which steps are measured, and how closely.
    public var norms = NormOptions()
    /// What is run when something happened; not kept.
    public var hooks = TrainingHooks()
    /// The tokenizer file that a new run puts into its checkpoints; a resumed one takes its checkpoint's.
    public var tokenizer: FilePath?
    /// Where each step's gradient is written; nil writes none.
    public var gradients: FilePath?

    public init() {}

    /// What run.json keeps.
    public var json: JSONObject {
        var object = plainJSON
        if evaluatesAverage { object["eval_ema"] = true }
        object["norms_every"] = .integer(norms.every)
        if norms.byLayer { object["norms_by_layer"] = true }
        return object
    }

    private var plainJSON: JSONObject {
        [
            "validation": validation.map { JSON.string(FileSystem.absolute(FilePath($0)).string) } ?? .null,
            "evaluate_every": .integer(evaluateEvery), "save_every": .integer(saveEvery), "keep": .integer(keep),
            "keep_every": .integer(keepEvery),
            "max_skips": .integer(maximumSkips), "recompute": .string(recompute.rawValue),
        ]
    }

    /// As `json` has them; what is missing or of another kind there keeps its default.
    public init(json: JSON) {
        func count(_ key: String, _ fallback: Int) -> Int {
            json[key]?.intValue.flatMap { $0 >= 0 ? $0 : nil } ?? fallback
        }
        validation = json["validation"]?.stringValue
        evaluateEvery = validation == nil ? 0 : count("evaluate_every", 0)
        evaluatesAverage = json["eval_ema"]?.boolValue ?? false
        saveEvery = count("save_every", 0)
        norms.every = count("norms_every", norms.every)
        norms.byLayer = json["norms_by_layer"]?.boolValue ?? false
        keep = count("keep", 0)
        keepEvery = count("keep_every", 0)
        // Runs that were begun when the option had that name have it here, too.
        maximumSkips = max(1, count("max_skips", count("patience", maximumSkips)))
        recompute = json["recompute"]?.stringValue.flatMap { Recompute(rawValue: $0) } ?? recompute
    }
}
