import Bytes
import Checkpoints
import SystemPackage
import Testing

@Suite struct RunDirectoryTests {
    private let scratch: Scratch
    private let path: FilePath

    init() throws {
        scratch = try Scratch()
        path = scratch.path.appending("run")
    }

    private func open() throws -> RunDirectory { try RunDirectory(path, access: .write) }

    private func damage(_ step: Int) throws {
        let file = path.appending(RunDirectory.name(of: step)).appending(Checkpoint.modelName)
        var bytes = try scratch.read(file)
        bytes[bytes.count - 1] ^= 1
        try scratch.write(bytes, to: file)
    }

    private func names() throws -> [String] { try FileSystem.list(path).filter { $0 != ".lock" } }

    @Test func savesAndLinks() throws {
        let run = try open()
        #expect(try run.latestValid() == nil)
        let first = try run.save(step: 10, links: [.latest, .best]) { try fill($0, step: 10) }
        #expect(first == path.appending("step-00000010"))
        try run.save(step: 123_456_789) { try fill($0, step: 123_456_789) }
        #expect(try names() == ["best", "latest", "step-00000010", "step-123456789"])
        #expect(FileSystem.linkTarget(path.appending("latest")) == "step-123456789")
        #expect(run.step(of: .best) == 10 && run.step(of: .latest) == 123_456_789 && run.step(of: .lastGood) == nil)
        #expect(try run.steps().map(\.step) == [10, 123_456_789])
        let valid = try #require(try run.latestValid())
        #expect(valid.step == 123_456_789 && valid.skipped.isEmpty)
        #expect(try valid.checkpoint.state()["step"] == 123_456_789)
        try run.point(.lastGood, at: 10)
        #expect(try Checkpoint(path.appending("last-good")).path.lastComponent?.string == "step-00000010")
        #expect(message { try run.point(.best, at: 11) }.contains("has no checkpoint of step 11"))
        #expect(try run.verify().isEmpty)
        #expect(RunDirectory.isRun(path) && !RunDirectory.isRun(first))
        #expect(try Checkpoint.find(path).path.lastComponent?.string == "step-123456789")
    }

    @Test func aFailedBuildPublishesNothing() throws {
        struct Stop: Error {}
        let run = try open()
        #expect(throws: Stop.self) {
            try run.save(step: 1) {
                try fill($0, step: 1)
                throw Stop()
            }
        }
        #expect(try names() == [])
        try run.save(step: 1) { try fill($0, step: 1) }
        #expect(throws: Stop.self) {
            try run.save(step: 1) {
                try fill($0, step: 2)
                throw Stop()
            }
        }
        #expect(try names() == ["latest", "step-00000001"])
        #expect(try run.latestValid()?.checkpoint.state()["step"] == 1)
    }

    @Test func keepsAnEqualStep() throws {
        let run = try open()
        try run.save(step: 1) { try fill($0, step: 1) }
        // A file beside the listed ones tells the old directory from a new one.
        let mark = run.path(of: 1).appending("mark")
        try scratch.write([], to: mark)
        try run.save(step: 1) { try fill($0, step: 1) }
        #expect(FileSystem.kind(of: mark) == .file)
        #expect(try names() == ["latest", "step-00000001"])
    }

    @Test func replacesADifferentOrDamagedStep() throws {
        let run = try open()
        try run.save(step: 1) { try fill($0, step: 1) }
        try run.save(step: 1) { try fill($0, step: 1, salt: 1) }
        var values: [Float] = []
        try run.latestValid()?.checkpoint.model.readFloats("a") { values += $1 }
        #expect(values.last == 7)
        try damage(1)
        #expect(try run.verify().count == 1)
        try run.save(step: 1) { try fill($0, step: 1, salt: 1) }
        #expect(try run.verify().isEmpty)
        #expect(try names() == ["latest", "step-00000001"])
    }

    @Test func walksBackAndSaysSo() throws {
        let run = try open()
        for step in [1, 2, 3] { try run.save(step: step) { try fill($0, step: step) } }
        try damage(3)
        var valid = try #require(try run.latestValid())
        #expect(valid.step == 2 && valid.skipped.map(\.name) == ["step-00000003"])
        #expect(valid.skipped[0].reason.contains("tensor 'b'"))
        #expect(try run.latestValid(deep: false)?.step == 3)
        // A step without a manifest is none.
        try FileSystem.remove(run.path(of: 2).appending(Manifest.fileName))
        valid = try #require(try run.latestValid())
        #expect(valid.step == 1 && valid.skipped.map(\.name) == ["step-00000003", "step-00000002"])
        try damage(1)
        #expect(message { _ = try run.latestValid() }.contains("has no valid checkpoint: step-00000003: "))
    }

    @Test func survivesADanglingLink() throws {
        let run = try open()
        for step in [1, 2] { try run.save(step: step) { try fill($0, step: step) } }
        try FileSystem.remove(run.path(of: 2))
        let valid = try #require(try run.latestValid())
        #expect(valid.step == 1 && valid.skipped.map(\.name) == ["latest"])
        #expect(valid.skipped[0].reason == "points at 'step-00000002', which is not there")
        #expect(try run.verify().map(\.message) == ["'\(path)/latest': the link dangles: 'step-00000002' is not there"])
        #expect(message { _ = try Checkpoint(path.appending("latest")) }.contains("the link that leads there dangles"))
    }

    /// Of a run that is under way half a checkpoint is seen when it goes, which is no damage.
    @Test func whatGoesMeanwhileIsNotDamaged() throws {
        let run = try open()
        for step in [1, 2] { try run.save(step: step) { try fill($0, step: step) } }
        try damage(1)
        #expect(run.verify(step: 1)?.count == 1 && run.verify(step: 3) == nil)
        // Another one in its place by the time that the finding is there.
        let found = try run.inspect(1) { place in
            let findings = Checkpoint.verify(place)
            try run.save(step: 1) { try fill($0, step: 1, salt: 2) }
            return findings
        }
        #expect(found == nil && run.verify(step: 1) == [])
        // Gone.
        #expect(
            try run.inspect(1) { place in
                try FileSystem.remove(place)
                return Checkpoint.verify(place)
            } == nil)
    }

    /// `latest` has moved on and what it pointed at is gone: what is there now is read.
    @Test func whatMovedOnIsReadAgain() throws {
        let run = try open()
        try run.save(step: 1) { try fill($0, step: 1) }
        for path in [path, path.appending("latest")] {
            var calls = 0
            let step = try Checkpoint.whileStanding(path) {
                let checkpoint = try Checkpoint.find(path)
                calls += 1
                if calls < 3 {
                    let next = (run.step(of: .latest) ?? 0) + 1
                    try run.save(step: next) { try fill($0, step: next) }
                    try run.retain(last: 1)
                }
                return try checkpoint.state()["step"]
            }
            #expect(calls == 3 && step == .integer(run.step(of: .latest) ?? 0))
        }
        // What stays as it is fails at once.
        var calls = 0
        #expect(throws: Fault.self) {
            try Checkpoint.whileStanding(path) {
                calls += 1
                throw Fault(.badData, "damaged")
            }
        }
        #expect(calls == 1)
    }

    @Test func findingTellsWhatItPassedOver() throws {
        let run = try open()
        for step in 1...3 {
            try run.save(step: step, links: step == 1 ? [.latest, .lastGood] : [.latest]) { try fill($0, step: step) }
        }
        var told: [RunDirectory.Valid] = []
        _ = try Checkpoint.find(path) { told.append($0) }
        #expect(told.isEmpty)
        try scratch.write([], to: run.path(of: 3).appending(Manifest.fileName))
        let found = try Checkpoint.find(path) { told.append($0) }
        #expect(found.path.lastComponent?.string == "step-00000001")
        #expect(told.map(\.step) == [1] && told[0].isLastGood && told[0].skipped.map(\.name) == ["step-00000003"])
        _ = try ForeignModel(path) { told.append($0) }
        #expect(told.count == 2)
        // A link is exact.
        #expect(throws: Fault.self) { try Checkpoint.find(path.appending("latest")) { told.append($0) } }
        #expect(told.count == 2)
    }

    @Test func linksLeadToTheRun() throws {
        let run = try open()
        try run.save(step: 1, links: Set(RunDirectory.Link.allCases)) { try fill($0, step: 1) }
        #expect(try run.verify().isEmpty)
        try FileSystem.replaceLink(path.appending("best"), target: "/etc")
        try FileSystem.replaceLink(path.appending("last-good"), target: "../run/step-00000001")
        try FileSystem.remove(path.appending("latest"))
        try FileSystem.makeDirectory(path.appending("latest"))
        let expected = "expected a link to a checkpoint of the run"
        #expect(
            try run.verify().map(\.message) == [
                "'\(path)/latest': is no symbolic link, \(expected)",
                "'\(path)/best': leads to '/etc', \(expected)",
                "'\(path)/last-good': leads to '../run/step-00000001', \(expected)",
            ])
        try FileSystem.remove(path.appending("latest"))
        try FileSystem.replaceLink(path.appending("latest"), target: "/etc")
        #expect(try run.latestValid()?.skipped.map(\.reason) == ["points at '/etc', which is no checkpoint of the run"])
    }

    /// Killed between publishing a step and moving the link: the link decides, as it did for the cursor's reader.
    @Test func prefersTheLinkToANewerStep() throws {
        let run = try open()
        try run.save(step: 1) { try fill($0, step: 1) }
        try run.save(step: 2, links: []) { try fill($0, step: 2) }
        #expect(try run.latestValid()?.step == 1)
    }

    @Test func retainsWhatMatters() throws {
        let run = try open()
        for step in 1...6 {
            let links: Set<RunDirectory.Link> = step == 2 ? [.latest, .best] : step == 3 ? [.lastGood] : [.latest]
            try run.save(step: step, links: links) { try fill($0, step: step) }
        }
        #expect(try run.retain(last: 2) == [1, 4])
        #expect(try run.steps().map(\.step) == [2, 3, 5, 6])
        #expect(try run.retain(last: 2) == [])
        #expect(try names().filter { $0.hasSuffix(".tmp") } == [])
    }

    @Test func retainsEveryNth() throws {
        let run = try open()
        for step in 1...9 {
            let links: Set<RunDirectory.Link> = step == 2 ? [.latest, .best] : step == 4 ? [.lastGood] : [.latest]
            try run.save(step: step, links: links) { try fill($0, step: step) }
        }
        #expect(try run.retain(last: 1, every: 3) == [1, 5, 7, 8])
        #expect(try run.steps().map(\.step) == [2, 3, 4, 6, 9])
        #expect(try run.retain(last: 1, every: 6) == [3])
        #expect(try run.retain(last: 1) == [6])
    }

    @Test func withoutRoomNothingIsBegun() throws {
        let run = try open()
        try run.save(step: 1) { try fill($0, step: 1) }
        let free = try #require(FileSystem.freeBytes(holding: path))
        for step in [1, 2] {
            let found = message {
                try run.save(step: step, needing: Int.max) { _ in Issue.record("begun without room") }
            }
            #expect(
                found.hasPrefix("cannot create '\(path)/step-0000000\(step)': it takes \(Int.max) bytes, the disk has ")
            )
        }
        #expect(try names() == ["latest", "step-00000001"])
        #expect(try run.verify().isEmpty)
        func hint() -> String? {
            do { try run.requireSpace(Int.max, for: 9) } catch { return error.hint }
            return nil
        }
        #expect(hint() == "nothing was written; make room")
        defer { #expect(hint()?.contains("; ckpt-tool prune \(path) --keep-last 1 removes 1 older") == true) }
        try run.save(step: 2, needing: free / 2) { try fill($0, step: 2) }
    }

    @Test func fallsBackToLastGoodFirst() throws {
        let run = try open()
        for step in 1...4 {
            try run.save(step: step, links: step == 2 ? [.latest, .lastGood] : [.latest]) { try fill($0, step: step) }
        }
        #expect(try run.latestValid()?.step == 4)
        try damage(4)
        let valid = try #require(try run.latestValid())
        #expect(valid.step == 2 && valid.skipped.map(\.name) == ["step-00000004"])
        try damage(2)
        #expect(try run.latestValid()?.step == 3)
    }

    @Test func retentionSparesTheOnlyValidOne() throws {
        let run = try open()
        for step in 1...4 { try run.save(step: step) { try fill($0, step: step) } }
        for step in [3, 4] { try FileSystem.remove(run.path(of: step).appending(Checkpoint.modelName)) }
        #expect(try run.retain(last: 1) == [1, 3])
        #expect(try run.latestValid()?.step == 2)
    }

    /// Damage inside of a tensor is no bar to opening.
    @Test func whatStaysMayBeReadFirst() throws {
        let run = try open()
        for step in 1...4 { try run.save(step: step) { try fill($0, step: step) } }
        for step in [2, 4] { try damage(step) }
        #expect(try run.superfluous(last: 1) == [1, 2, 3])
        var asked: [Int] = []
        let superfluous = try run.superfluous(last: 1) { step in
            asked.append(step)
            return run.verify(step: step) == []
        }
        #expect(superfluous == [1, 2] && asked == [4, 3])
    }

    @Test func oneWriterAtATime() throws {
        var run: RunDirectory? = try open()
        let found = message { _ = try open() }
        #expect(found.hasPrefix("'\(path)' is in use by process "))
        _ = try RunDirectory(path, access: .read)
        withExtendedLifetime(run) {}
        run = nil
        _ = try open()
    }

    @Test func clearsAwayOnlyItsOwn() throws {
        _ = try open().save(step: 1) { try fill($0, step: 1) }
        for name in ["step-00000002.abc.tmp", "latest.abc.tmp", "step-00000003.next", "step-00000003.next.x.tmp"] {
            try FileSystem.makeDirectory(path.appending(name))
        }
        // What a killed writer of the run's records left goes too.
        try scratch.write([], to: path.appending("metrics.jsonl.abc.tmp"))
        try scratch.write([], to: path.appending("run.json.abc.tmp"))
        let others = ["notes.tmp", "step-2.abc.tmp", "other.jsonl.abc.tmp", "step-00000001.zip", "step-00000004.x.y"]
        for name in others { try scratch.write([], to: path.appending(name)) }
        _ = try RunDirectory(path, access: .read)
        #expect(try names().contains("step-00000003.next"))
        _ = try open()
        #expect(try names() == (others + ["latest", "step-00000001"]).sorted())
    }

    /// A kill while a step was being replaced on a file system without exchange.
    @Test func putsAStepBack() throws {
        _ = try open().save(step: 1) { try fill($0, step: 1) }
        let place = path.appending("step-00000001")
        let previous = path.appending("step-00000001.previous")
        try FileSystem.rename(place, to: previous)
        #expect(try open().latestValid()?.step == 1)
        #expect(try names() == ["latest", "step-00000001"])
        try FileSystem.makeDirectory(previous)
        #expect(try open().latestValid()?.step == 1)
        #expect(try names() == ["latest", "step-00000001"])
    }

    @Test func refusesForeignThingsInTheWay() throws {
        let run = try open()
        try scratch.write([], to: path.appending("latest"))
        #expect(
            message { try run.save(step: 1) { try fill($0, step: 1) } }.contains("no symbolic link is in its place"))
        // The checkpoint itself is there all the same.
        #expect(try run.latestValid()?.step == 1)
        #expect(message { _ = try RunDirectory(path.appending("latest"), access: .write) }.contains("cannot create"))
        #expect(message { _ = try RunDirectory(path.appending("x"), access: .read) }.contains("no such directory"))
    }

    @Test func leavesNothingWhereNothingBegan() throws {
        let deep = path.appending("a").appending("b")
        var run: RunDirectory? = try RunDirectory(deep, access: .write)
        #expect(FileSystem.kind(of: deep.appending(".lock")) == .file)
        withExtendedLifetime(run) {}
        run = nil
        #expect(FileSystem.kind(of: path) == nil)
        // What was there stays, as does what has come since.
        try FileSystem.makeDirectory(path)
        _ = try open()
        #expect(try FileSystem.list(path) == [])
        run = try RunDirectory(deep, access: .write)
        try scratch.write([], to: deep.appending("metrics.jsonl"))
        withExtendedLifetime(run) {}
        run = nil
        #expect(try FileSystem.list(deep) == [".lock", "metrics.jsonl"])
    }
}
