// The writer: lines only ever appended, and a resume that takes back exactly what came after its checkpoint.

import Bytes
import Metrics
import SystemPackage
import Testing

private func line(_ step: Int, _ value: Int = 0) -> String { "{\"step\":\(step),\"a\":\(value)}\n" }

@Suite struct WriterTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private var path: FilePath { directory.path.appending("metrics.jsonl") }

    @Test func whatIsAppendedIsThereAtOnce() throws {
        let writer = try MetricsWriter(run: directory.path)
        for step in 1...3 {
            var record = MetricsRecord(step: step)
            record.set("a", 0)
            try writer.append(record)
            #expect(try directory.read("metrics.jsonl") == (1...step).map { line($0) }.joined())
        }
        try writer.synchronize()
        let again = try MetricsWriter(run: directory.path)
        try again.append(MetricsRecord(step: 4))
        #expect(try directory.read("metrics.jsonl").hasSuffix("{\"step\":3,\"a\":0}\n{\"step\":4}\n"))
    }

    @Test func truncationDropsLaterRecordsAndKeepsTheBytesOfTheRest() throws {
        // Odd spacing shows that kept lines are not written anew from their values.
        let kept = "{ \"step\" : 1 }\n" + line(2) + "{\"step\":2,\"validation_loss\":1.50}\n"
        _ = try directory.write(kept + line(3) + line(4), to: "metrics.jsonl")
        var expected = MetricsWriter.Truncation()
        expected.laterRecords = 2
        #expect(try MetricsWriter.truncate(path, afterStep: 2) == expected)
        #expect(try directory.read("metrics.jsonl") == kept)
    }

    @Test func everyTornEndIsDropped() throws {
        let torn = Array(line(3, 12345).utf8)
        for count in 1..<torn.count {
            _ = try directory.write(
                line(1) + line(2) + String(decoding: torn.prefix(count), as: UTF8.self), to: "metrics.jsonl")
            let change = try MetricsWriter.truncate(path, afterStep: 3)
            let isWhole = count == torn.count - 1
            #expect(change.unreadableLines == (isWhole ? 0 : 1) && change.repairedNewline == isWhole, "\(count) bytes")
            #expect(try directory.read("metrics.jsonl") == line(1) + line(2) + (isWhole ? line(3, 12345) : ""))
            let writer = try MetricsWriter(path)
            try writer.append(MetricsRecord(step: 9))
            #expect(try directory.read("metrics.jsonl").hasSuffix("}\n{\"step\":9}\n"))
        }
    }

    @Test func whatAPowerCutLeavesDoesNotStopAResume() throws {
        let zeros = String(repeating: "\0", count: 5000)
        let long = String(repeating: "x", count: 3 << 20)
        _ = try directory.write(line(1) + zeros + "\n" + long + "\n" + line(2) + zeros, to: "metrics.jsonl")
        let change = try MetricsWriter.truncate(path, afterStep: 5)
        #expect(change.unreadableLines == 3 && change.laterRecords == 0)
        #expect(try directory.read("metrics.jsonl") == line(1) + line(2))
    }

    @Test func nothingToDropLeavesTheFileAlone() throws {
        _ = try directory.write(line(1) + line(2), to: "metrics.jsonl")
        // A reader that follows the file holds the same file afterwards: an appended record reaches it.
        let follower = try FileSource.open(path.string)
        #expect(try MetricsWriter.truncate(path, afterStep: 2) == MetricsWriter.Truncation())
        try MetricsWriter(path).append(MetricsRecord(step: 3))
        #expect(String(decoding: try follower.read(filling: 1 << 16), as: UTF8.self).hasSuffix("{\"step\":3}\n"))
        #expect(try FileSystem.list(directory.path) == ["metrics.jsonl"])
    }

    @Test func aMissingFileIsNothingToTruncate() throws {
        #expect(try MetricsWriter.truncate(run: directory.path, afterStep: 0) == MetricsWriter.Truncation())
        #expect(try FileSystem.list(directory.path).isEmpty)
    }

    @Test func stepZeroTakesEverythingLaterBack() throws {
        _ = try directory.write(line(0) + line(1), to: "metrics.jsonl")
        try MetricsWriter.truncate(path, afterStep: 0)
        #expect(try directory.read("metrics.jsonl") == line(0))
    }

    @Test func devicesAndDirectoriesAreRefused() throws {
        #expect(throws: Fault.self) { try MetricsWriter("/dev/null") }
        #expect(throws: Fault.self) { try MetricsWriter(directory.path) }
        #expect(throws: Fault.self) { try MetricsWriter(directory.path.appending("missing/metrics.jsonl")) }
    }

    @Test func runDescriptionIsWrittenWhole() throws {
        var description = RunDescription(
            millraceVersion: "9.9", commandLine: ["train-step", "--run", "x y"], started: 0, datasetDigest: nil,
            config: ["hidden_size": 64])
        try description.write(run: directory.path)
        description.datasetDigest = "ab"
        try description.write(run: directory.path)
        let json = try JSON(parsing: try directory.read("run.json"), name: "run.json")
        #expect(json["schema_version"]?.intValue == 1)
        #expect(json["command_line"] == ["train-step", "--run", "x y"])
        #expect(json["started"] == "1970-01-01T00:00:00Z")
        #expect(json["dataset_digest"] == "ab")
        #expect(json["config"]?["hidden_size"] == 64)
        #expect(json["host"]?["processors"]?.intValue ?? 0 > 0)
        #expect(try FileSystem.list(directory.path) == ["run.json"])
    }
}
