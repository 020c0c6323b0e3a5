// How text is drawn from a model, as a value: validated once, then applied to each position.

public import Bytes

/// How the next id is drawn.
public struct SamplingRecipe: Sendable, Equatable {
    /// Logits are divided by it; 0 takes the most likely id.
    public var temperature = 1.0
    /// Only the most likely ids whose probabilities reach this sum are drawn from (nucleus sampling, arXiv:1904.09751).
    public var topP = 1.0
    /// Only this many of the most likely ids; 0 = all.
    public var topK = 0
    public var seed: UInt64 = 0

    public init() {}

    /// - Throws: `Fault` (usage) naming the first value out of range.
    public func validate() throws(Fault) {
        if !(temperature >= 0 && temperature.isFinite) {
            throw Fault(.usage, "temperature is \(temperature), expected 0 or more")
        }
        if !(topP > 0 && topP <= 1) { throw Fault(.usage, "top-p is \(topP), expected more than 0, up to 1") }
        if topK < 0 { throw Fault(.usage, "top-k is \(topK), expected 0 or more") }
    }
}
