// TensorBoard's event files, both ways: what goes out comes back, an export that is gone on with shows every step once, and
// damage is named. `make dashboards` holds the same against the tensorboard package.

import Bytes
import Metrics
import SystemPackage
import Testing

@Suite struct EventTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private var logs: FilePath { directory.path.appending("logs") }

    private func line(_ step: Int, _ loss: String) -> String {
        "{\"step\":\(step),\"tokens\":\(step * 10),\"train_loss\":\(loss),\"seconds\":\(step),\"time\":\(1000 + step)}\n"
    }

    private func export(_ text: String) throws {
        let path = try directory.write(text, to: "m.jsonl")
        let run = try SurveyedRun(MetricsInput(opening: path.string, label: "run"))
        try EventExport(run, columns: run.keys).write(to: logs)
    }

    private func csv(_ path: FilePath) throws -> (text: String, notes: [String]) {
        let input = try MetricsInput(opening: path.string, label: "run")
        let run = try SurveyedRun(input)
        let sink = MemorySink()
        try RowExport([run], columns: [run.keys]).write(.csv, to: sink)
        return (String(decoding: sink.bytes, as: UTF8.self), input.notes)
    }

    private func files() throws -> [String] { try FileSystem.list(logs).filter { $0.contains("tfevents") } }

    private func bytes() throws -> [UInt8] {
        try InputFile(logs.appending(try #require(files().first))).readAll(limit: 1 << 24)
    }

    @Test func whatGoesOutComesBack() throws {
        try export(
            line(1, "2.5") + line(2, "null,\"train_loss_nonfinite\":\"nan\"") + line(3, "0.1")
                + "{\"step\":3,\"validation_loss\":null,\"validation_loss_nonfinite\":\"-inf\",\"time\":1003.5}\n")
        #expect(
            try csv(logs).text == """
                step,tokens,train_loss,seconds,time,validation_loss\r
                1,10,2.5,1.0,1001.0,\r
                2,20,nan,2.0,1002.0,\r
                3,30,0.1,3.0,1003.5,-inf\r

                """)
        // A START at the head of every file: status 1 in field 7.
        #expect(try bytes().firstRange(of: [0x3a, 2, 8, 1]) != nil)
        #expect(String(decoding: try bytes().prefix(60), as: UTF8.self).contains("brain.Event:2"))
    }

    @Test func anExportIsGoneOnWithInPlace() throws {
        try export(line(1, "2.5") + line(2, "2.25"))
        let first = try bytes()
        let names = try files()
        try export(
            line(1, "2.5") + line(2, "2.25")
                + "{\"step\":2,\"validation_loss\":2,\"tokens\":20,\"seconds\":2.5,\"time\":1003}\n" + line(3, "2"))
        #expect(try files() == names)
        #expect(try bytes().starts(with: first) && bytes().count > first.count)
        #expect(try csv(logs).text.split(separator: "\r\n").count == 4)
        let second = try bytes()
        try export(
            line(1, "2.5") + line(2, "2.25")
                + "{\"step\":2,\"validation_loss\":2,\"tokens\":20,\"seconds\":2.5,\"time\":1003}\n" + line(3, "2"))
        #expect(try bytes() == second)
    }

    @Test func aRunThatWentBackGetsANewFile() throws {
        try export(line(1, "2.5") + line(2, "2.25") + line(3, "2"))
        let before = try files()
        try export(line(1, "2.5") + line(2, "2.125"))
        #expect(try files().count == 2 && files()[0] == before[0])
        #expect(try csv(logs).text.contains("2,20,2.125") && !csv(logs).text.contains("2.25"))
        // Shorter is not a beginning, either.
        try export(line(1, "2.5"))
        #expect(try csv(logs).text.split(separator: "\r\n").count == 2 && files().count == 2)
    }

    @Test func anExportThatWasKilledIsRepaired() throws {
        let text = line(1, "2.5") + line(2, "2.25")
        try export(text)
        let whole = try bytes()
        let file = logs.appending(try #require(files().first))
        for count in 0..<whole.count {
            try AtomicFile.write(Array(whole.prefix(count)), to: file, durable: false)
            try export(text)
            #expect(try bytes() == whole, "\(count) bytes")
        }
        #expect(try FileSystem.list(logs).allSatisfy { !$0.hasSuffix(".tmp") && $0 != "millrace-export" })
    }

    @Test func everyTornEndIsReadUpToThereAndEveryFlippedBitIsNamed() throws {
        try export(line(1, "2.5") + line(2, "2.25"))
        let whole = try bytes()
        let complete = try csv(logs).text
        for count in 12..<whole.count {
            let torn = try directory.write("", to: "torn.tfevents")
            try AtomicFile.write(Array(whole.prefix(count)), to: torn, durable: false)
            let (text, notes) = try csv(torn)
            #expect(
                complete.hasPrefix(text.split(separator: "\r\n").dropFirst().map(String.init).joined())
                    || notes.count <= 1)
            #expect(text != complete || notes.count <= 1)
        }
        for place in whole.indices {
            var damaged = whole
            damaged[place] ^= 0x10
            let file = directory.path.appending("bad.tfevents")
            try AtomicFile.write(damaged, to: file, durable: false)
            #expect(throws: Fault.self, "bit of byte \(place)") { _ = try csv(file) }
        }
    }

    @Test func aLaterFileTakesBackWhatItDoesAnew() throws {
        try export(line(1, "2.5") + line(2, "2.25") + line(3, "2"))
        let old = try bytes()
        try FileSystem.remove(logs)
        try export(line(2, "9"))
        let new = try bytes()
        try FileSystem.remove(logs)
        try FileSystem.makeDirectory(logs)
        // The new file's START is at step 0: everything of the old one goes.
        try AtomicFile.write(old, to: logs.appending("events.out.tfevents.1"), durable: false)
        try AtomicFile.write(new, to: logs.appending("events.out.tfevents.2"), durable: false)
        #expect(try csv(logs).text.split(separator: "\r\n").dropFirst() == ["2,20,9.0,2.0,1002.0"])
    }

    @Test func trainerStatesAreRead() throws {
        let state = """
            {
              "best_metric": null, "epoch": 1.0, "is_world_process_zero": true,
              "log_history": [
                {"epoch": 0.5, "grad_norm": NaN, "learning_rate": 5e-05, "loss": 2.5, "step": 10},
                {"eval_loss": 2.25, "eval_runtime": 1.5, "epoch": 0.5, "step": 10, "note": "NaN and \\"Infinity\\" in a text"},
                {"epoch": 1.0, "grad_norm": -Infinity, "loss": 2.0, "num_input_tokens_seen": 4096, "step": 20, "list": [1]},
                {"epoch": 1.0, "step": 20, "train_loss": 2.25, "train_runtime": 3.5}
              ],
              "max_steps": 20, "trial_params": null
            }
            """
        let path = try directory.write(state, to: "trainer_state.json")
        #expect(
            try csv(path).text == """
                step,epoch,gradient_norm,learning_rate,train_loss,validation_loss,eval_runtime,note,tokens,mean_train_loss,train_runtime\r
                10,0.5,nan,5e-05,2.5,2.25,1.5,"NaN and ""Infinity"" in a text",,,\r
                20,1.0,-inf,,2.0,,,,4096,2.25,3.5\r

                """)
        // Of a directory the newest checkpoint's.
        for step in [9, 10] {
            let place = directory.path.appending("out/checkpoint-\(step)")
            try FileSystem.makeDirectory(place)
            try AtomicFile.write(
                Array("{\"log_history\": [{\"step\": \(step), \"loss\": 1}]}".utf8),
                to: place.appending("trainer_state.json"), durable: false)
        }
        #expect(try csv(directory.path.appending("out")).text == "step,train_loss\r\n10,1\r\n")
        for bad in [
            "{\"log_history\": [{\"loss\": 1}]}", "{\"log_history\": [1]}", "{\"log_history\": [{\"step\": -1}]}",
            "{\"log_history\": [",
        ] {
            let path = try directory.write(bad, to: "bad.json")
            #expect(throws: Fault.self, "\(bad)") { _ = try csv(path) }
        }
    }
}
