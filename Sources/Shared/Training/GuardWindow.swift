// What is usual, so that what is not can be told: losses and gradient norms of the latest steps that were applied. What is
// not finite or was skipped never enters, so one bad batch cannot widen the limits for the next, nor a NaN poison them.

public import Bytes

/// The outlier guard's memory and its limit. Part of a run's state, because it decides which steps are applied.
public struct GuardWindow: Sendable, Equatable {
    /// Steps it holds once it is full; only then does it judge.
    public let size: Int
    /// How many standard deviations above the mean are too many.
    public let limit: Double
    /// Oldest first. Norms are fewer than losses for a while after what learns has changed: those of other parameters say nothing.
    public private(set) var losses: [Double] = []
    public private(set) var gradientNorms: [Double] = []

    static let defaultSize = 128
    static let defaultLimit = 6.0
    static let sizes = 2...65_536

    /// - Throws: `Fault` (usage) naming what is out of range.
    public init(size: Int, limit: Double) throws(Fault) {
        guard GuardWindow.sizes.contains(size) else {
            throw Fault(
                .usage,
                "guard window is \(size), expected \(GuardWindow.sizes.lowerBound) to "
                    + "\(GuardWindow.sizes.upperBound) steps, or 0 for none")
        }
        guard limit.isFinite && limit > 0 else {
            throw Fault(.usage, "guard z is \(limit), expected a positive number")
        }
        self.size = size
        self.limit = limit
    }

    /// The same memory with other limits; the newest steps stay when there is room for fewer.
    /// - Parameters:
    ///   - size: nil: as it is, or the default where there is no window yet.
    ///   - limit: likewise.
    public static func changed(_ old: GuardWindow?, size: Int?, limit: Double?) throws(Fault) -> GuardWindow? {
        if size == 0 { return nil }
        if old == nil && size == nil && limit == nil { return nil }
        var new = try GuardWindow(
            size: size ?? old?.size ?? defaultSize, limit: limit ?? old?.limit ?? defaultLimit)
        new.losses = Array((old?.losses ?? []).suffix(new.size))
        new.gradientNorms = Array((old?.gradientNorms ?? []).suffix(new.size))
        return new
    }

    /// The same limits with the memory of an earlier time.
    func remembering(_ earlier: GuardWindow?) -> GuardWindow {
        var window = self
        window.losses = Array((earlier?.losses ?? []).suffix(size))
        window.gradientNorms = Array((earlier?.gradientNorms ?? []).suffix(size))
        return window
    }

    /// Takes in a step that was applied.
    mutating func append(loss: Double, gradientNorm: Double) {
        precondition(loss.isFinite && gradientNorm.isFinite, "what is not finite never enters the window")
        if losses.count == size { losses.removeFirst() }
        if gradientNorms.count == size { gradientNorms.removeFirst() }
        losses.append(loss)
        gradientNorms.append(gradientNorm)
    }

    /// Other parameters learn from now on: the norm of their gradient has still to become known.
    mutating func forgetNorms() { gradientNorms = [] }

    /// z = (x − mean) / deviation of the window's values, above which x counts as an outlier when z is over the limit. A
    /// deviation under a millionth of the mean is taken for that: rounding is no news.
    private func z(_ x: Double, among values: [Double]) -> Double {
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
        let deviation = max(variance.squareRoot(), 1e-6 * abs(mean))
        if deviation > 0 { return (x - mean) / deviation }
        return x > mean ? .infinity : 0
    }

    /// Why a step with these (finite) numbers should be left out; nil: it should not.
    func verdict(loss: Double, gradientNorm: Double) -> SkippedStep? {
        func outlier(_ cause: SkippedStep.Cause, _ x: Double, among values: [Double]) -> SkippedStep? {
            if values.count < size { return nil }
            let z = z(x, among: values)
            return z > limit ? SkippedStep(cause: cause, value: z, limit: limit) : nil
        }
        return outlier(.lossOutlier, loss, among: losses)
            ?? outlier(.gradientOutlier, gradientNorm, among: gradientNorms)
    }
}

extension GuardWindow {
    /// `window`, `z`, `losses` and `gradient_norms` of the state's `guard` object.
    func write(to object: inout JSONObject) {
        object["window"] = .integer(size)
        object["z"] = .number(limit)
        object["losses"] = .array(losses.map(JSON.number))
        object["gradient_norms"] = .array(gradientNorms.map(JSON.number))
    }

    /// - Throws: `Fault` (bad data) naming the field.
    init?(_ fields: Fields, name: String) throws(Fault) {
        if fields.json["window"] == nil { return nil }
        do { try self.init(size: try fields.count("window"), limit: try fields.double("z")) } catch {
            throw error.kind == .usage ? .badData(name, "guard: \(error.message)") : error
        }
        func numbers(_ key: String) throws(Fault) -> [Double] {
            try fields.value(key, "an array of at most \(size) finite numbers") { json in
                guard let array = json.arrayValue, array.count <= size else { return nil }
                let numbers = array.compactMap(\.doubleValue).filter(\.isFinite)
                return numbers.count == array.count ? numbers : nil
            }
        }
        losses = try numbers("losses")
        gradientNorms = try numbers("gradient_norms")
        if losses.count < gradientNorms.count {
            throw .badData(
                name,
                "guard: \(losses.count) losses beside \(gradientNorms.count) gradient norms, expected as many or more"
            )
        }
    }
}
