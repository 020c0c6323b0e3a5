// Rotary angles for more positions than a model was trained with: the scalings that transformers has under
// `rope_parameters`, as far as they do not depend on the length of a sequence. All are a change of the d/2 frequencies, and
// one also of the length of the rotated vectors.

import Bytes
import Kernels

/// How rotary frequencies are changed (docs/numerics.md).
public enum RotaryScaling: Sendable, Equatable {
    /// Every frequency is divided by the factor (arXiv:2306.15595).
    case linear(factor: Double)
    /// Frequencies that turn less than `betaSlow` times in the original length are divided, those that turn more than
    /// `betaFast` times stay, between them a straight line; rotated vectors are multiplied with `attentionFactor`, or
    /// 0.1 ln(factor) + 1 (arXiv:2309.00071).
    case yarn(factor: Double, original: Int, betaFast: Double, betaSlow: Double, attentionFactor: Double?)
    /// As YaRN, by wavelength and without a factor on attention (Llama 3.1, arXiv:2407.21783).
    case llama3(factor: Double, low: Double, high: Double, original: Int)

    /// The object that config.json holds, without the base.
    var json: JSONObject {
        switch self {
        case .linear(let factor): return ["rope_type": "linear", "factor": .number(factor)]
        case .yarn(let factor, let original, let betaFast, let betaSlow, let attentionFactor):
            var object: JSONObject = [
                "rope_type": "yarn", "factor": .number(factor),
                "original_max_position_embeddings": .integer(original),
                "beta_fast": .number(betaFast), "beta_slow": .number(betaSlow),
            ]
            object["attention_factor"] = attentionFactor.map(JSON.number)
            return object
        case .llama3(let factor, let low, let high, let original):
            return [
                "rope_type": "llama3", "factor": .number(factor), "low_freq_factor": .number(low),
                "high_freq_factor": .number(high), "original_max_position_embeddings": .integer(original),
            ]
        }
    }
}

/// Angles of a model: pair i of a head turns by p · frequencies[i] at position p, and grows by `magnitude`.
struct RotaryAngles {
    let frequencies: [Double]
    let magnitude: Double

    /// nil when the model does not rotate.
    init?(_ c: ModelConfiguration) {
        guard let theta = c.ropeTheta else { return nil }
        let (d, half) = (Double(c.headSize), c.headSize / 2)
        let logarithm = Naive.logarithm(theta)
        let plain = (0..<half).map { Naive.exponential(-2 * Double($0) / d * logarithm) }
        switch c.ropeScaling {
        case nil: (frequencies, magnitude) = (plain, 1)
        case .linear(let factor): (frequencies, magnitude) = (plain.map { $0 / factor }, 1)
        case .yarn(let factor, let original, let betaFast, let betaSlow, let attentionFactor):
            /// The pair that turns so many times in the original length.
            func pair(_ turns: Double) -> Double {
                d * Naive.logarithm(Double(original) / (turns * 2 * Double.pi)) / (2 * logarithm)
            }
            let low = max(pair(betaFast).rounded(.down), 0)
            var high = min(pair(betaSlow).rounded(.up), d - 1)
            if low == high { high += 0.001 }
            frequencies = plain.enumerated().map { i, frequency in
                let ramp = min(max((Double(i) - low) / (high - low), 0), 1)
                return frequency / factor * ramp + frequency * (1 - ramp)
            }
            magnitude = attentionFactor ?? (factor <= 1 ? 1 : 0.1 * Naive.logarithm(factor) + 1)
        case .llama3(let factor, let low, let high, let original):
            frequencies = plain.map { frequency in
                let turns = Double(original) * frequency / (2 * Double.pi)
                if turns > high { return frequency }
                if turns < low { return frequency / factor }
                let smooth = (turns - low) / (high - low)
                return (1 - smooth) * frequency / factor + smooth * frequency
            }
            magnitude = 1
        }
    }
}
