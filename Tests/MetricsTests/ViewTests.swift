// Pictures made of characters, pages and specifications: what a person or another program finds in them.

import Bytes
import Metrics
import SystemPackage
import Testing

@Suite struct ViewTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private func run(_ name: String, _ text: String) throws -> MetricsRun {
        let path = try directory.write(text, to: name + ".jsonl")
        let run = try SurveyedRun(MetricsInput(opening: path.string, label: name))
        return try MetricsRun(run, columns: run.keys)
    }

    private func falling(_ name: String, from start: Double, batch: Int, steps: Int = 50) throws -> MetricsRun {
        try run(
            name,
            (1...steps).map {
                "{\"step\":\($0),\"tokens\":\($0 * batch),\"train_loss\":\(start - Double($0 * batch) / 1000),\"gradient_norm\":1.5}\n"
            }.joined())
    }

    @Test func differencesAreTakenAtEqualTokens() throws {
        // Half the batch size: at equal tokens the second run is 0.5 above the first, at equal steps it is not.
        let runs = [try falling("a", from: 3, batch: 20), try falling("b", from: 3.5, batch: 10, steps: 100)]
        let text = try RunComparison(runs, keys: ["train_loss"], x: .tokens, width: 80).text()
        let lines = text.split(separator: "\n")
        #expect(lines[0] == "train_loss at equal tokens; * is best")
        #expect(lines[1].split(separator: " ") == ["tokens", "a", "b", "b", "-", "a"])
        let rows = lines.dropFirst(2).filter { $0.contains("+") }
        #expect(rows.count == 10 && rows.allSatisfy { $0.hasSuffix("+0.5000") && $0.contains("*") }, "\(text)")
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
        let steps = try RunComparison(runs, keys: ["train_loss"], x: .step, width: 80).text()
        #expect(steps.contains("+1.0000"))
    }

    @Test func manyRunsFitTheWidth() throws {
        let runs = try (0..<9).map { try falling("a-run-with-a-name-\($0)", from: 3 + Double($0), batch: 10) }
        let text = try RunComparison(runs, keys: ["train_loss"], x: .step, width: 80).text()
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
        for run in runs { #expect(text.contains(run.label)) }
    }

    @Test func whatCannotBeComparedSaysSo() throws {
        let runs = [try falling("a", from: 3, batch: 10), try run("b", "{\"step\":1,\"other\":1}\n")]
        #expect(throws: Fault.self) { _ = try RunComparison(runs, keys: ["train_loss"], x: .step, width: 80).text() }
        #expect(throws: Fault.self) { _ = try RunComparison(runs, keys: ["other"], x: .tokens, width: 80).text() }
    }

    @Test func aPlotOfCharactersFitsAndShowsEachCurve() throws {
        let runs = [try falling("a", from: 3, batch: 20), try falling("b", from: 3.5, batch: 10)]
        for width in [24, 40, 80, 200] {
            let panels = try Plot.panels(runs, keys: ["train_loss", "gradient_norm"], x: .step)
            let text = TextPlot(panels, width: width, height: 10, isColored: false).text
            #expect(text.split(separator: "\n").allSatisfy { $0.count <= width }, "\(width)\n\(text)")
            #expect(text.contains("loss (nats a token)") && text.contains("norm"))
            #expect(text.unicodeScalars.contains { (0x2801...0x28ff).contains($0.value) } && !text.contains("\u{1b}"))
            #expect(text.contains("a a") && text.contains("b b"))
        }
        let panels = try Plot.panels(runs, keys: ["train_loss"], x: .step)
        #expect(TextPlot(panels, width: 80, height: 10, isColored: true).text.contains("\u{1b}[34m"))
    }

    @Test func anOddRunIsDrawnToo() throws {
        let odd = try run(
            "odd",
            #"{"step":1,"a":null,"a_nonfinite":"nan","b":1e308,"c":"x"}"# + "\n" + #"{"step":2,"a":1,"b":-1e308}"#
                + "\n")
        let panels = try Plot.panels([odd], keys: ["a", "b", "c"], x: .step)
        #expect(panels.count == 2 && !TextPlot(panels, width: 30, height: 4, isColored: false).text.isEmpty)
        #expect(RunSummary([odd], width: 80).text.contains("x"))
        #expect(PlotGrid(title: "t", panels: panels).svg.hasSuffix("</svg>\n"))
        let empty = MetricsRun(label: "empty")
        #expect(RunSummary([empty], width: 80).text == "empty, nothing recorded\n")
        #expect(throws: Fault.self) { _ = try Plot.panels([empty], keys: ["a"], x: .step) }
    }

    @Test func unitsHavePlotsOfTheirOwn() throws {
        let runs = [try falling("a", from: 3, batch: 20)]
        let panels = try Plot.panels(runs, keys: ["train_loss", "gradient_norm", "tokens"], x: .step)
        #expect(panels.map(\.yTitle) == ["loss (nats a token)", "norm", "tokens"])
        let svg = PlotGrid(title: "t", panels: panels).svg
        #expect(svg.split(separator: "class=\"unit\"").count == 4 && svg.contains("viewBox=\"0 0 900 652\""))
    }

    @Test func thePageIsOneFileThatNamesCannotBreak() throws {
        let name = "</script><script>alert(1)</script>"
        let runs = [try falling("a", from: 3, batch: 20)]
        let panels = try Plot.panels(runs, keys: ["train_loss"], x: .step, title: name)
        let page = HTMLPage(
            title: name, runs: runs, keys: ["train_loss"], descriptions: [["config": ["text": .string(name)]]],
            panels: panels
        ).html
        #expect(page.split(separator: "</script").count == 3, "two scripts, and no other end of one")
        #expect(!page.contains("<script>alert") && page.contains("\\u003c/script>"))
        #expect(!page.contains("http://") || !page.contains("src="))
        #expect(page.contains("default-src 'none'") && page.contains("<noscript>"))
    }

    @Test func theSpecificationIsJSONWithTheData() throws {
        let runs = [try falling("a", from: 3, batch: 20), try falling("b", from: 4, batch: 20)]
        let panels = try Plot.panels(runs, keys: ["train_loss"], x: .tokens)
        let json = PlotGrid(title: "t", panels: panels).vegaLite
        let values = try #require(json["vconcat"]?.arrayValue?.first?["data"]?["values"]?.arrayValue)
        #expect(values.count == 100 && values[0] == ["curve": "a", "raw": false, "x": 20, "y": 2.98])
    }

    @Test func textfilesAndHistoriesHaveTheirRules() throws {
        let path = try directory.write(
            """
            {"step":1,"tokens":10,"train_loss":2.5,"seconds":1,"time":1000.25,"note":"x"}
            {"step":1,"validation_loss":2.25,"time":1000.5}
            {"step":2,"tokens":20,"train_loss":null,"train_loss_nonfinite":"inf","seconds":2,"time":1000.125,"odd_total":3}
            {"step":3,"tokens":30,"train_loss":2.0,"seconds":3,"time":1002}

            """, to: "p.jsonl")
        let run = try SurveyedRun(MetricsInput(opening: path.string, label: "a\"\\b"))
        let text = PrometheusText([run], columns: [run.keys])
        let latest = MemorySink()
        try text.writeLatest(to: latest)
        let lines = String(decoding: latest.bytes, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false
        ).map(String.init)
        #expect(lines.contains(#"millrace_tokens_total{run="a\"\\b"} 30"#))
        #expect(lines.contains(#"millrace_validation_loss{run="a\"\\b"} 2.25"#))
        #expect(lines.contains(#"millrace_last_record_timestamp_seconds{run="a\"\\b"} 1002"#))
        #expect(lines.contains(#"millrace_odd_total_value{run="a\"\\b"} 3"#))
        #expect(!lines.dropLast().contains("") && lines.last == "" && !lines.contains { $0.contains("note") })
        let history = MemorySink()
        #expect(try text.writeHistory(to: history) > 0)
        let all = String(decoding: history.bytes, as: UTF8.self)
        #expect(all.hasSuffix("# EOF\n") && !all.contains("\n\n"))
        #expect(
            all.contains("# TYPE millrace_tokens counter\n")
                && all.contains("# UNIT millrace_training_seconds seconds\n"))
        #expect(all.contains("millrace_train_loss{run=\"a\\\"\\\\b\"} 2.0 1002\n"))
        let timeless = try SurveyedRun(
            MetricsInput(opening: try directory.write("{\"step\":1,\"a\":1}\n", to: "t.jsonl").string, label: "t"))
        #expect(throws: Fault.self) {
            _ = try PrometheusText([timeless], columns: [["a"]]).writeHistory(to: MemorySink())
        }
    }

    @Test func aFollowedRunShowsWhatIsNew() throws {
        let path = directory.path.appending("live.jsonl")
        var followed = FollowedRun(path.string, label: "live") { _ in true }
        #expect(try !followed.update() && followed.run.steps.isEmpty)
        let writer = try MetricsWriter(path)
        for step in 1...3 {
            var record = MetricsRecord(step: step)
            record.set("train_loss", Double(step))
            try writer.append(record)
            #expect(try followed.update())
            #expect(followed.run.steps == Array(1...step))
        }
        #expect(try !followed.update())
        var later = MetricsRecord(step: 3)
        later.set("validation_loss", 7.5)
        try writer.append(later)
        #expect(try followed.update())
        #expect(followed.run.steps == [1, 2, 3] && followed.run.keys == ["train_loss", "validation_loss"])
        #expect(followed.run.values(of: "train_loss")?.last == .some(.number(3)))
        #expect(followed.run.values(of: "validation_loss")?.last == .some(.number(7.5)))
        // A resume goes back: another file in its place.
        try MetricsWriter.truncate(path, afterStep: 1)
        #expect(try followed.update())
        #expect(followed.run.steps == [1])
    }
}
