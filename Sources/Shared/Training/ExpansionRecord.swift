// What is kept of an expansion: what was asked for, what was promised, and what a float64 pass of the model before and
// after found.

public import Bytes
public import Models

/// An expansion as state.json and manifest.json have it (docs/formats/checkpoint.md).
public struct ExpansionRecord: Sendable, Equatable {
    /// The run's step; nil for a model without a run.
    public let step: Int?
    public let policy: String
    public let promise: ExpansionPromise
    /// Random ids that both models were given.
    public let positions: Int
    /// max |logit| of the smaller model, and max |Δlogit|.
    public let largest, difference: Double
    public let parametersBefore, parametersAfter: Int
    /// Layers of the larger model that are new, in its numbering.
    public let newLayers: [Int]

    /// max |Δlogit| / max |logit|.
    public var relative: Double { difference == 0 ? 0 : difference / largest }

    /// Whether the promise was kept; true when there is none.
    public var isKept: Bool { promise.tolerance.map { relative <= $0 } ?? true }

    public var json: JSON {
        [
            "step": step.map(JSON.integer) ?? .null, "policy": .string(policy), "preserves": .string(promise.rawValue),
            "tolerance": promise.tolerance.map(JSON.number) ?? .null, "positions": .integer(positions),
            "max_logit": .number(largest), "max_difference": .number(difference), "relative": .number(relative),
            "parameters_before": .integer(parametersBefore), "parameters_after": .integer(parametersAfter),
            "new_layers": .array(newLayers.map(JSON.integer)),
        ]
    }

    /// The records of a state.json, as they stand there; none where there is no such key.
    /// - Throws: `Fault` (bad data) for what is no list of records.
    static func list(_ json: JSON?, name: String) throws(Fault) -> [JSON] {
        guard let json, !json.isNull else { return [] }
        guard let list = json.arrayValue, list.allSatisfy({ $0["policy"]?.stringValue != nil }) else {
            throw .badData(name, "field 'expansions': expected a list of objects with a 'policy'")
        }
        return list
    }
}
