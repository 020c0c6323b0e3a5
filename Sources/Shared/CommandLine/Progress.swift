// The progress line: rate and time to go, redrawn in place at most ten times a second, only when standard error is a
// terminal. Scripts and logs see nothing of it.

private import Bytes

/// One line that is rewritten while work goes on.
public struct Progress {
    private let isShown: Bool
    private var lastDrawn = 0.0
    private var hasLine = false

    public init(quiet: Bool = false) { isShown = StandardError.isTerminal && !quiet }

    /// Redraws with `line()`, which is only asked when it is time.
    public mutating func update(_ line: () -> String) {
        if !isShown { return }
        let now = Host.monotonicClock
        if now - lastDrawn < 0.1 { return }
        lastDrawn = now
        hasLine = true
        StandardError.write("\r\u{1b}[K" + line())
    }

    /// Clears the line; call before anything else is written and at the end.
    public mutating func clear() {
        if hasLine { StandardError.write("\r\u{1b}[K") }
        hasLine = false
    }
}

/// `12.3 M`, `4.5 k`, `678`: three significant digits with a decimal prefix.
public func abbreviated(_ value: Double) -> String {
    for (limit, suffix) in [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")] where value >= limit {
        let scaled = value / limit
        return fixed(scaled, scaled < 10 ? 2 : scaled < 100 ? 1 : 0) + suffix
    }
    return fixed(value, value < 10 && value != value.rounded() ? 1 : 0)
}

/// `value` with `digits` decimals, as `%.*f` prints it.
public func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite else { return "\(value)" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = (abs(value) * scale).rounded()
    guard scaled < 9e15 else { return "\(value)" }
    let whole = Int(scaled)
    let sign = value < 0 && whole > 0 ? "-" : ""
    if digits == 0 { return sign + String(whole) }
    let fraction = String(whole % Int(scale))
    return sign + String(whole / Int(scale)) + "." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// `3:07` or `1:02:03`.
public func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e9 else { return "?" }
    let total = Int(seconds.rounded())
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let minutes = total / 60 % 60
    return total >= 3600
        ? "\(total / 3600):\(two(minutes)):\(two(total % 60))" : "\(minutes):\(two(total % 60))"
}
