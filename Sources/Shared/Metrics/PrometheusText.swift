// Metrics as Prometheus reads them. Two formats that look alike and are not: the textfile of node_exporter (text format
// 0.0.4), which refuses timestamps and so has the latest values only, and OpenMetrics 1.0, which has the history (for
// `promtool tsdb create-blocks-from openmetrics`) and is strict about families, units and its end.

public import Bytes

/// Writes `millrace_…` families of one or several runs, a label `run` telling them apart.
public struct PrometheusText {
    private let runs: [SurveyedRun]
    private let columns: [[String]]

    public init(_ runs: [SurveyedRun], columns: [[String]]) {
        self.runs = runs
        self.columns = columns
    }

    private struct Family {
        let key: String
        let name: String
        let isCounter: Bool
        let help: String

        init(_ key: String) {
            let meaning = MetricMeaning.of(key)
            self.key = key
            // `processor_seconds` and the like begin anew when a run is resumed: Prometheus knows that of counters.
            isCounter = meaning.role == .counter
            help = meaning.help
            switch key {
            case "time": name = "millrace_last_record_timestamp_seconds"
            case "seconds": name = "millrace_training_seconds"
            default:
                // Endings that mean something else to OpenMetrics.
                let isReserved = ["_total", "_created", "_bucket", "_count", "_sum", "_info"].contains {
                    key.hasSuffix($0)
                }
                name = "millrace_" + key + (isReserved ? "_value" : "")
            }
        }

        var unit: String? { ["seconds", "bytes"].first { name.hasSuffix("_" + $0) } }
        var sample: String { isCounter ? name + "_total" : name }
    }

    private var families: [Family] {
        var seen = Set<String>()
        return (["step"] + columns.flatMap { $0 }).filter { seen.insert($0).inserted }.map(Family.init)
    }

    /// The latest value of each metric, as a textfile for node_exporter.
    /// - Throws: `Fault` of the readers, and whatever the sink throws.
    public func writeLatest(to sink: any ByteSink) throws {
        var latest: [[String: String]] = []
        for run in runs { latest.append(try PrometheusText.latest(run)) }
        let buffer = BufferedSink(sink)
        for family in families {
            let samples = zip(runs, latest).compactMap { run, values in values[family.key].map { (run.label, $0) } }
            if samples.isEmpty { continue }
            try buffer.write("# HELP \(family.sample) \(PrometheusText.escaped(family.help))\n")
            try buffer.write("# TYPE \(family.sample) \(family.isCounter ? "counter" : "gauge")\n")
            for (label, value) in samples {
                try buffer.write("\(family.sample){run=\"\(PrometheusText.escaped(label))\"} \(value)\n")
            }
        }
        try buffer.flush()
    }

    /// The history of each metric, as OpenMetrics. The runs are read once for each metric, so that nothing is held in memory.
    /// - Returns: samples left out because the clock went back (or stood still), which OpenMetrics forbids.
    /// - Throws: `Fault` (bad data) when a run has no `time`; those of the readers; and whatever the sink throws.
    public func writeHistory(to sink: any ByteSink) throws -> Int {
        for run in runs where run.records > 0 && !run.keys.contains("time") {
            throw Fault(.badData, "\(quoted(run.label)) has no 'time', without which OpenMetrics has no history")
        }
        let buffer = BufferedSink(sink)
        var leftOut = 0
        for family in families where family.key != "time" {
            var hasHead = false
            for run in runs where family.key == "step" || run.keys.contains(family.key) {
                var stream = try RowStream(run, columns: [family.key, "time"], options: RowOptions())
                let labels = "{run=\"\(PrometheusText.escaped(run.label))\"} "
                var last = -Double.infinity
                while let row = try stream.next() {
                    let value = family.key == "step" ? String(row.step) : PrometheusText.sample(row.cells[0], row.bytes)
                    guard let value else { continue }
                    guard let time = row.double(1), time.isFinite, time > last else {
                        leftOut += 1
                        continue
                    }
                    last = time
                    if !hasHead {
                        hasHead = true
                        try buffer.write("# TYPE \(family.name) \(family.isCounter ? "counter" : "gauge")\n")
                        if let unit = family.unit { try buffer.write("# UNIT \(family.name) \(unit)\n") }
                        try buffer.write("# HELP \(family.name) \(PrometheusText.escaped(family.help))\n")
                    }
                    try buffer.write(
                        "\(family.sample)\(labels)\(value) \(PrometheusText.timestamp(row.cells[1], row.bytes))\n")
                }
            }
        }
        try buffer.write("# EOF\n")
        try buffer.flush()
        return leftOut
    }

    /// Of each metric the last value that is one.
    private static func latest(_ run: SurveyedRun) throws(Fault) -> [String: String] {
        var reader = RowReader(try run.input.open(), isCumulative: true)
        while try reader.nextRow() {}
        var latest: [String: String] = [:]
        if run.records > 0 { latest["step"] = String(reader.step) }
        for (number, cell) in reader.slots.enumerated() {
            if let value = sample(cell, reader.bytes) { latest[reader.keys.names[number]] = value }
        }
        return latest
    }

    private static func sample(_ cell: FlatJSON.Cell, _ bytes: [UInt8]) -> String? {
        switch cell.kind {
        case .integer, .number: cell.text(in: bytes)
        case .nan: "NaN"
        case .infinity: "+Inf"
        case .minusInfinity: "-Inf"
        case .missing, .null, .plain, .string: nil
        }
    }

    /// Seconds, without an exponent, which not every reader takes.
    private static func timestamp(_ cell: FlatJSON.Cell, _ bytes: [UInt8]) -> String {
        let text = cell.text(in: bytes)
        return text.contains { $0 == "e" || $0 == "E" } ? fixedText(cell.double(in: bytes) ?? 0, 6) : text
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in printable(text).unicodeScalars {
            if scalar == "\\" || scalar == "\"" { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result
    }
}
