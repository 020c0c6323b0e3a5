// Rows for other programs, held against a slow twin: every record read by the strict parser into a dictionary, every row
// spelled cell by cell. The quick reader must agree with it on every input, good or bad, however it is cut into pieces.

import Bytes
import Metrics
import SystemPackage
import Testing

/// CSV as the format's page describes it.
private func slowCSV(_ text: String, name: String) throws(Fault) -> String {
    var reader = MetricsReader(MemorySource(Array(text.utf8), name: name))
    var keys: [String] = []
    var rows: [Int: [String: MetricsRecord.Value]] = [:]
    while let record = try reader.next() {
        guard let step = record.step else { continue }
        rows[step, default: [:]]["step"] = .integer(step)
        for field in record.fields where field.key != "step" {
            if !keys.contains(field.key) { keys.append(field.key) }
            rows[step, default: [:]][field.key] = field.value
        }
    }
    func cell(_ value: MetricsRecord.Value?) -> String {
        switch value {
        case nil, .null: return ""
        case .integer(let value): return String(value)
        case .number(let value): return value.description
        case .string(let value):
            let text = printable(value)
            let isPlain = !text.contains { $0 == "," || $0 == "\"" } && text.first != " " && text.last != " "
            return isPlain
                ? text
                : "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
        }
    }
    let lines =
        [(["step"] + keys).joined(separator: ",")]
        + rows.keys.sorted().map { step in ([String(step)] + keys.map { cell(rows[step]?[$0]) }).joined(separator: ",")
        }
    return lines.map { $0 + "\r\n" }.joined()
}

@Suite struct ExportTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private func input(_ text: String) throws -> MetricsInput {
        let path = try directory.write(text, to: "m.jsonl")
        return try MetricsInput(opening: path.string, label: "run")
    }

    private func export(
        _ text: String, _ format: RowExport.Format = .csv, columns: [String]? = nil, options: RowOptions = RowOptions()
    ) throws -> String {
        let run = try SurveyedRun(input(text))
        let sink = MemorySink()
        try RowExport([run], columns: [columns ?? run.keys], options: options).write(format, to: sink)
        return String(decoding: sink.bytes, as: UTF8.self)
    }

    /// What the quick reader makes of a text, or its complaint; and the same of the slow twin.
    private func both(_ text: String) throws -> (quick: String, slow: String) {
        let name = directory.path.appending("m.jsonl").string
        func outcome(_ body: () throws -> String) throws -> String {
            do { return try body() } catch let fault as Fault { return fault.message }
        }
        return (try outcome { try export(text) }, try outcome { try slowCSV(text, name: name) })
    }

    private static let lines = [
        #"{"step":1,"tokens":4096,"train_loss":2.8125,"learning_rate":0.0006}"#,
        #"{"step":1,"tokens":4096,"validation_loss":2.75,"note":"a, b"}"#,
        #"{ "step" : 2 , "train_loss" : null , "train_loss_nonfinite" : "nan", "tokens":8192 }"#,
        #"{"train_loss_nonfinite":"-inf","train_loss":null,"step":3}"#,
        #"{"step":4,"note":"é \"q\" \\ \u0007\n","tiny":5e-324,"huge":-1.7976931348623157e+308}"#,
        #"{"step":5,"train_loss":1e-05,"tokens":0,"note":null,"zero":-0.0}"#,
        #"{"step":6,"tokens":9223372036854775807,"note":" x "}"#,
        #"{"step":7,"tokens":18446744073709551615,"train_loss":123456789.12345679}"#,
        #"{"step":7}"#,
    ]

    /// Equal but for how numbers are spelled: the quick reader keeps `0.0e06`, of which the twin makes 0.0.
    private static func isSame(_ quick: String, _ slow: String) -> Bool {
        if quick == slow { return true }
        func cells(_ text: String) -> [Substring] { text.split { $0 == "," || $0 == "\r\n" } }
        let (left, right) = (cells(quick), cells(slow))
        return left.count == right.count
            && zip(left, right).allSatisfy { $0 == $1 || (Double($0) != nil && Double($0) == Double($1)) }
    }

    @Test func agreesWithTheSlowTwin() throws {
        let texts = [
            Self.lines.joined(separator: "\n") + "\n", Self.lines.reversed().joined(separator: "\n") + "\n",
            Self.lines.joined(separator: "\r\n"), "", "\n", "{}\n", Self.lines[0] + "\n\n" + Self.lines[1],
        ]
        for text in texts {
            let (quick, slow) = try both(text)
            #expect(quick == slow)
        }
    }

    @Test func agreesOnEveryDamagedLine() throws {
        for line in Self.lines.prefix(4) {
            let bytes = Array(line.utf8)
            for place in bytes.indices {
                for byte in Array("\"\\}:,-.e0 n\n".utf8) + [0xff] {
                    var damaged = bytes
                    damaged[place] = byte
                    let text =
                        Self.lines[0] + "\n" + String(decoding: damaged, as: UTF8.self) + "\n" + Self.lines[5] + "\n"
                    let (quick, slow) = try both(text)
                    if !Self.isSame(quick, slow) {
                        Issue.record("byte \(place) of \(line) as \(byte): \(quick) and not \(slow)")
                    }
                }
            }
        }
    }

    @Test func rowsSurviveTheCutsBetweenPieces() throws {
        // A piece is 256 KiB: the row under way and its texts must survive every cut.
        let long = (1...30_000).map { "{\"step\":\($0 / 2),\"train_loss\":\(Double($0) / 7),\"note\":\"é\($0)\"}\n" }
            .joined()
        let (quick, slow) = try both(long)
        #expect(quick == slow)
        let run = try SurveyedRun(input(long))
        #expect(run.records == 30_000 && run.keys == ["train_loss", "note"] && run.lastStep == 15_000)
    }

    @Test func numbersAreCopiedAsTheyAreWritten() throws {
        let text = #"{"step":1,"a":1.50,"b":1E+2,"c":0.1e-3}"# + "\n"
        #expect(try export(text) == "step,a,b,c\r\n1,1.50,1E+2,0.1e-3\r\n")
        #expect(try export(text, .json) == "[\n{\"step\":1,\"a\":1.50,\"b\":1E+2,\"c\":0.1e-3}\n]\n")
    }

    @Test func numbersAreReadAsTheStandardLibraryReadsThem() {
        var generator = SystemRandomNumberGenerator()
        var texts = [
            "0", "-0", "-0.0", "1e22", "1e23", "9007199254740993", "0.1", "123456789012345678", "5e-324",
            "1.7976931348623157e308",
        ]
        for _ in 0..<20_000 {
            let digits = String(UInt64.random(in: 0..<UInt64(1) << UInt64.random(in: 1..<64), using: &generator))
            let fraction = Bool.random() ? "." + String(UInt64.random(in: 0..<1 << 40, using: &generator)) : ""
            let sign = ["e", "E", "e+", "e-"].randomElement(using: &generator) ?? "e"
            let exponent = Bool.random() ? sign + String(Int.random(in: 0..<40)) : ""
            texts.append((Bool.random() ? "-" : "") + digits + fraction + exponent)
        }
        for text in texts {
            let bytes = Array("x\(text),".utf8)
            let value = FlatJSON.double(bytes, 1..<bytes.count - 1)
            #expect(value.bitPattern == Double(text)?.bitPattern, "\(text)")
        }
    }

    @Test func rowsInAnyOrderComeOutSorted() throws {
        let lines = (1...500).map { "{\"step\":\($0),\"a\":\($0 * 3)}\n" }
        var shuffled = lines
        var generator = SystemRandomNumberGenerator()
        shuffled.shuffle(using: &generator)
        // Which column is first depends on the file; here there is one.
        #expect(try export(shuffled.joined()) == export(lines.joined()))
    }

    @Test func theLaterRecordOfAStepCounts() throws {
        #expect(try export("{\"step\":1,\"a\":1,\"b\":2}\n{\"step\":1,\"a\":3}\n") == "step,a,b\r\n1,3,2\r\n")
        #expect(try export("{\"step\":1,\"a\":1}\n{\"step\":2}\n{\"step\":1,\"a\":3}\n") == "step,a\r\n1,3\r\n2,\r\n")
    }

    @Test func jsonIsAnArrayWithTheSameColumnsInEveryRow() throws {
        let text = Self.lines[2] + "\n" + Self.lines[4] + "\n"
        let json = try JSON(parsing: try export(text, .json), name: "json")
        let rows = try #require(json.arrayValue)
        #expect(rows.count == 2)
        #expect(rows[0]["train_loss"] == .null && rows[0]["train_loss_nonfinite"] == "nan")
        #expect(rows[0]["note"] == .null && rows[1]["note"] == "é \"q\" \\ \u{7}\n")
        #expect(try export("", .json) == "[\n]\n")
    }

    @Test func tsvHasNoTabsButItsOwn() throws {
        let text = #"{"step":1,"note":"a\tb,\"c\""}"# + "\n"
        #expect(try export(text, .tsv) == "step\tnote\n1\ta\\u{9}b,\"c\"\n")
    }

    @Test func severalRunsAreJoinedOnTheStep() throws {
        let first = try directory.write("{\"step\":1,\"a\":1}\n{\"step\":3,\"a\":3}\n", to: "one.jsonl")
        let second = try directory.write(
            "{\"step\":2,\"a\":20,\"b\":\"x, y\"}\n{\"step\":3,\"a\":30}\n", to: "two.jsonl")
        let runs = try [(first, "one"), (second, "two")].map {
            try SurveyedRun(MetricsInput(opening: $0.0.string, label: $0.1))
        }
        let sink = MemorySink()
        try RowExport(runs, columns: runs.map(\.keys)).write(.csv, to: sink)
        #expect(
            String(decoding: sink.bytes, as: UTF8.self)
                == "step,one:a,two:a,two:b\r\n1,1,,\r\n2,,20,\"x, y\"\r\n3,3,30,\r\n")
    }

    @Test func memoryDoesNotGrowWithTheRun() throws {
        let line = #","tokens":4096,"train_loss":2.8125,"gradient_norm":0.71,"seconds":8.03}"# + "\n"
        let file = try AtomicFile(directory.path.appending("big.jsonl"))
        for block in 0..<400 {
            try file.write(Array((0..<1000).map { "{\"step\":\(block * 1000 + $0)" + line }.joined().utf8))
        }
        try file.commit()
        final class Nowhere: ByteSink {
            let name = "nowhere"
            var count = 0
            func write(_ bytes: [UInt8]) { count += bytes.count }
        }
        let before = Host.peakResidentBytes
        let run = try SurveyedRun(MetricsInput(opening: directory.path.appending("big.jsonl").string, label: "run"))
        let sink = Nowhere()
        try RowExport([run], columns: [run.keys]).write(.csv, to: sink)
        _ = try MetricsRun(run, columns: run.keys)
        #expect(run.records == 400_000 && sink.count > 10_000_000)
        #expect(Host.peakResidentBytes - before < 96 << 20)
    }

    @Test func smoothingIsCorrectedForItsStart() throws {
        let text = (1...4).map { "{\"step\":\($0),\"train_loss\":\($0),\"tokens\":\($0 * 10)}\n" }.joined()
        let smooth = try export(text, columns: ["train_loss", "tokens"], options: RowOptions(smoothing: 0.5))
        let values = smooth.split(separator: "\r\n").dropFirst().map {
            $0.split(separator: ",").map { Double($0) ?? .nan }
        }
        // Σ 0.5^(n−i) x_i / Σ 0.5^(n−i); counters stay.
        let expected = [1.0, 5.0 / 3, 17.0 / 7, 49.0 / 15]
        #expect(values.count == 4)
        for (row, value) in zip(values, expected) { #expect(abs(row[1] - value) < 1e-12) }
        #expect(values.map { $0[2] } == [10, 20, 30, 40])
        // A constant stays what it is from the first value on.
        let constant = (1...9).map { "{\"step\":\($0),\"train_loss\":2.5}\n" }.joined()
        #expect(
            try export(constant, options: RowOptions(smoothing: 0.99)).split(separator: "\r\n").dropFirst().allSatisfy {
                abs((Double($0.split(separator: ",")[1]) ?? 0) - 2.5) < 1e-12
            })
    }

    @Test func smoothingLeavesNonfiniteNumbersOut() throws {
        let text =
            #"{"step":1,"a":1.0}"# + "\n" + #"{"step":2,"a":null,"a_nonfinite":"inf"}"# + "\n" + #"{"step":3,"a":1.0}"#
            + "\n"
        #expect(try export(text, options: RowOptions(smoothing: 0.9)).hasSuffix("1,1.0\r\n2,inf\r\n3,1.0\r\n"))
    }

    @Test func thinningKeepsTheExtremesOfEachBucket() throws {
        let values = (0..<10_000).map { ($0 * 7919) % 10_007 }
        let text = values.enumerated().map { index, value in
            let number = index == 5005 ? "null,\"train_loss_nonfinite\":\"nan\"" : String(value)
            return "{\"step\":\(index),\"train_loss\":\(number)\(index == 7777 ? ",\"guard\":\"loss_outlier\"" : "")}\n"
        }.joined()
        let thin = try export(text, options: RowOptions(every: 100)).split(separator: "\r\n").dropFirst()
        let steps = thin.compactMap { Int($0.split(separator: ",")[0]) }
        #expect(steps.count <= 2 * 100 + 4 && steps == steps.sorted() && Set(steps).count == steps.count)
        #expect(steps.first == 0 && steps.last == 9999 && steps.contains(5005) && steps.contains(7777))
        for bucket in 0..<100 {
            let range = (bucket * 100..<bucket * 100 + 100).filter { $0 != 5005 }
            #expect(steps.contains(range.min { values[$0] < values[$1] } ?? -1))
            #expect(steps.contains(range.max { values[$0] < values[$1] } ?? -1))
        }
    }

    @Test func smoothingComesBeforeThinning() throws {
        let text = (1...200).map { "{\"step\":\($0),\"train_loss\":\($0 % 17)}\n" }.joined()
        let smooth = try export(text, options: RowOptions(smoothing: 0.8))
        let both = try export(text, options: RowOptions(smoothing: 0.8, every: 20))
        let all = Set(smooth.split(separator: "\r\n"))
        #expect(
            both.split(separator: "\r\n").count < 30 && both.split(separator: "\r\n").allSatisfy { all.contains($0) })
    }

    @Test func aLongRunInMemoryKeepsItsExtremes() throws {
        let text = (0..<100_000).map { "{\"step\":\($0),\"train_loss\":\($0 == 54_321 ? 1000 : $0 % 100)}\n" }.joined()
        let run = try SurveyedRun(input(text))
        let drawn = try MetricsRun(run, columns: ["train_loss"])
        #expect(drawn.rowCount == 100_000 && drawn.steps.count <= MetricsRun.drawnRows)
        #expect(drawn.steps.first == 0 && drawn.steps.last == 99_999)
        #expect(drawn.values(of: "train_loss")?.contains { $0?.doubleValue == 1000 } == true)
        #expect(try MetricsRun(run, columns: ["train_loss"], limit: nil).steps.count == 100_000)
    }
}
