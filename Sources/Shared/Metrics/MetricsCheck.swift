// Questions that a script asks of a run, answered yes or by the first thing that says no: in CI, in cron, before a long
// evaluation. One pass over the records, in the order of the file, whatever the number of questions.
//
//   validation_loss < 2.1        the last value; also min(…), max(…), mean(…), first(…), last(…), all(…) of a metric
//   no nonfinite [GLOB…]         no number of (these) metrics is nan, inf or -inf
//   no stall 60s                 no two records that follow each other lie further apart (ms, s, m, h)
//   monotonic step               a metric never goes back; and no step holds a measured value twice
//   age < 10m                    the last record was made less than that ago

public import Bytes

/// One question.
public struct MetricsCheck: Sendable {
    enum Aggregate: String { case first, last, min, max, mean, all }
    enum Comparison: String, CaseIterable {
        // Longer signs first: `<=` begins with `<`.
        case lessOrEqual = "<=", greaterOrEqual = ">=", equal = "==", different = "!=", less = "<", greater = ">"

        func holds(_ left: Double, _ right: Double) -> Bool {
            switch self {
            case .less: left < right
            case .lessOrEqual: left <= right
            case .greater: left > right
            case .greaterOrEqual: left >= right
            case .equal: left == right
            case .different: left != right
            }
        }
    }

    enum Question {
        case value(Aggregate, key: String, Comparison, Double)
        case age(Comparison, seconds: Double)
        case noNonfinite([Glob])
        case noStall(seconds: Double)
        case monotonic(key: String)
    }

    public let text: String
    let question: Question

    /// Parses an expression.
    /// - Throws: `Fault` (usage) that says what was expected.
    public init(_ text: String) throws(Fault) {
        self.text = text
        let words = text.split(separator: " ").map(String.init)
        if words.first == "no" {
            switch (words.count > 1 ? words[1] : "", words.count) {
            case ("nonfinite", _): question = .noNonfinite(words.dropFirst(2).map(Glob.init))
            case ("stall", 3):
                guard let seconds = MetricsCheck.seconds(words[2]) else {
                    throw MetricsCheck.fault(text, "a time such as 60s, 500ms, 5m or 1h, found \(quoted(words[2]))")
                }
                question = .noStall(seconds: seconds)
            default: throw MetricsCheck.fault(text, "'no nonfinite [GLOB…]' or 'no stall TIME'")
            }
            return
        }
        if words.first == "monotonic" {
            guard words.count == 2, MetricsRecord.isKey(words[1]) else {
                throw MetricsCheck.fault(text, "'monotonic METRIC'")
            }
            question = .monotonic(key: words[1])
            return
        }
        question = try MetricsCheck.comparison(text)
    }

    private static func comparison(_ text: String) throws(Fault) -> Question {
        var found: (range: Range<String.Index>, sign: Comparison)?
        for sign in Comparison.allCases {
            guard let range = text.firstRange(of: sign.rawValue) else { continue }
            if let other = found, other.range.lowerBound <= range.lowerBound { continue }
            found = (range, sign)
        }
        guard let (range, sign) = found else {
            throw fault(text, "'METRIC < NUMBER', 'no nonfinite', 'no stall TIME' or 'monotonic METRIC'")
        }
        let left = text[..<range.lowerBound].split(separator: " ").joined(separator: " ")
        let right = text[range.upperBound...].split(separator: " ").joined(separator: " ")
        if left == "age" {
            guard let seconds = seconds(right) else {
                throw fault(text, "a time such as 60s, 500ms, 5m or 1h, found \(quoted(right))")
            }
            return .age(sign, seconds: seconds)
        }
        guard let limit = Double(right), limit.isFinite else { throw fault(text, "a number, found \(quoted(right))") }
        var aggregate = Aggregate.last
        var key = left
        if let open = left.firstIndex(of: "("), left.hasSuffix(")") {
            guard let known = Aggregate(rawValue: String(left[..<open])) else {
                throw fault(
                    text, "first, last, min, max, mean or all before '(', found \(quoted(String(left[..<open])))")
            }
            aggregate = known
            key = String(left[left.index(after: open)...].dropLast())
        }
        guard MetricsRecord.isKey(key) else { throw fault(text, "the name of a metric, found \(quoted(key))") }
        return .value(aggregate, key: key, sign, limit)
    }

    private static func fault(_ text: String, _ expected: String) -> Fault {
        Fault(.usage, "check \(quoted(text)): expected \(expected)")
    }

    /// `60s`, `500ms`, `5m`, `1h`, or a number of seconds.
    private static func seconds(_ text: String) -> Double? {
        for (suffix, factor) in [("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600), ("", 1)] where text.hasSuffix(suffix) {
            if let value = Double(text.dropLast(suffix.count)), value.isFinite, value >= 0 { return value * factor }
        }
        return nil
    }
}

extension MetricsCheck {
    /// Asks all of `checks` about a run.
    /// - Returns: the first of them, in their order, that does not hold, and why; nil when all hold.
    /// - Throws: `Fault` of the reader.
    public static func firstViolation(
        of checks: [MetricsCheck], in run: SurveyedRun, now: Double = Host.wallClock
    ) throws(Fault) -> String? {
        var states = checks.map(CheckState.init)
        var reader = RowReader(try run.input.openUnsorted())
        var seen = StepContents()
        while let line = try reader.nextLine() {
            let repeated = seen.add(line, reader)
            for index in states.indices where states[index].violation == nil {
                states[index].observe(line, reader, repeated: repeated)
            }
        }
        for index in states.indices {
            states[index].finish(now: now)
            if let violation = states[index].violation {
                return "\(quoted(run.label)): \(quoted(states[index].check.text)) does not hold: \(violation)"
            }
        }
        return nil
    }
}

/// Which measured values the step under way has: a resume that went wrong records them twice.
private struct StepContents {
    private var step: Int64 = -1
    private var keys: Set<Int32> = []

    /// The name of a measured value that the step had before.
    mutating func add(_ line: FlatJSON.Line, _ reader: RowReader) -> String? {
        if line.step != step {
            step = line.step
            keys.removeAll(keepingCapacity: true)
        }
        var repeated: String?
        for index in line.cells {
            let key = reader.cells[index].key
            if keys.insert(key).inserted { continue }
            let name = reader.keys.names[Int(key)]
            if name.hasSuffix("_loss") { repeated = name }
        }
        return repeated
    }
}

/// What a check has seen.
private struct CheckState {
    let check: MetricsCheck
    private(set) var violation: String?
    private var previous: (value: Double, step: Int64)?
    private var lastTime: Double?
    private var aggregate: (value: Double, step: Int64)?
    private var sum = 0.0
    private var count = 0

    init(_ check: MetricsCheck) { self.check = check }

    private func cell(_ key: String, _ line: FlatJSON.Line, _ reader: RowReader) -> Double? {
        if key == "step" { return Double(line.step) }
        for index in line.cells where reader.keys.names[Int(reader.cells[index].key)] == key {
            return reader.cells[index].double(in: reader.bytes)
        }
        return nil
    }

    mutating func observe(_ line: FlatJSON.Line, _ reader: RowReader, repeated: String?) {
        switch check.question {
        case .value(let kind, let key, let comparison, let limit):
            guard let value = cell(key, line, reader) else { return }
            gather(value, kind, line.step)
            if kind == .all && !comparison.holds(value, limit) { violation = "it is \(value) at step \(line.step)" }
        case .age: lastTime = cell("time", line, reader) ?? lastTime
        case .noNonfinite(let globs):
            for index in line.cells {
                let cell = reader.cells[index]
                let name = reader.keys.names[Int(cell.key)]
                guard let text = cell.nonfiniteName, globs.isEmpty || globs.contains(where: { $0.matches(name) }) else {
                    continue
                }
                violation = "\(quoted(name)) is \(text) at step \(line.step), line \(reader.lineNumber)"
                return
            }
        case .noStall(let seconds):
            // Training time, which pauses between an interrupt and a resume are no part of; else the clock on the wall.
            guard let time = cell("seconds", line, reader) ?? cell("time", line, reader) else { return }
            if let previous, time - previous.value > seconds {
                violation =
                    "\(MetricsCheck.text(time - previous.value)) s between steps \(previous.step) and \(line.step)"
            }
            previous = (time, line.step)
        case .monotonic(let key):
            guard let value = cell(key, line, reader) else { return }
            if let previous, !(value >= previous.value) {
                violation =
                    key == "step"
                    ? "step \(line.step) comes after step \(previous.step), line \(reader.lineNumber)"
                    : "it is \(MetricsCheck.text(value)) at step \(line.step), after \(MetricsCheck.text(previous.value)) at step \(previous.step)"
            } else if key == "step", let repeated {
                violation = "step \(line.step) has \(quoted(repeated)) twice, line \(reader.lineNumber)"
            }
            previous = (value, line.step)
        }
    }

    private mutating func gather(_ value: Double, _ kind: MetricsCheck.Aggregate, _ step: Int64) {
        count += 1
        switch kind {
        case .first: if aggregate == nil { aggregate = (value, step) }
        case .last: aggregate = (value, step)
        case .min: if value.isFinite && value < aggregate?.value ?? .infinity { aggregate = (value, step) }
        case .max: if value.isFinite && value > aggregate?.value ?? -.infinity { aggregate = (value, step) }
        case .mean:
            sum += value
            aggregate = (sum / Double(count), step)
        case .all: break
        }
    }

    mutating func finish(now: Double) {
        if violation != nil { return }
        switch check.question {
        case .value(let kind, let key, let comparison, let limit):
            if count == 0 {
                violation = "the run has no \(quoted(key))"
            } else if kind != .all {
                guard let aggregate else {
                    violation = "no value of \(quoted(key)) is finite"
                    return
                }
                if comparison.holds(aggregate.value, limit) { return }
                let value = MetricsCheck.text(aggregate.value)
                violation =
                    kind == .mean
                    ? "the mean of \(count) values is \(value)"
                    : "the \(MetricsCheck.adjective[kind] ?? "") value is \(value), at step \(aggregate.step)"
            }
        case .age(let comparison, let seconds):
            guard let lastTime else {
                violation = "the run has no 'time'"
                return
            }
            if !comparison.holds(now - lastTime, seconds) {
                violation = "the last record was made \(MetricsCheck.text(now - lastTime)) s ago"
            }
        case .noNonfinite, .monotonic: break
        case .noStall: if previous == nil { violation = "the run has neither 'seconds' nor 'time'" }
        }
    }
}

extension MetricsCheck {
    fileprivate static let adjective: [Aggregate: String] = [
        .first: "first", .last: "last", .min: "lowest", .max: "highest",
    ]

    fileprivate static func text(_ value: Double) -> String {
        abs(value) >= 1 && abs(value) < 1e15 ? trimmed(fixedText(value, 4)) : value.description
    }

    private static func trimmed(_ text: String) -> String {
        guard text.contains(".") else { return text }
        var text = text
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }
}
