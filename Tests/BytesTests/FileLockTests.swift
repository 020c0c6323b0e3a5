import Bytes
import SystemPackage
import TestSupport
import Testing

@Suite struct FileLockTests {
    @Test func oneHolderAtATime() throws {
        try withTemporaryDirectory { directory in
            let path = FilePath(directory + "/lock")
            let lock = try FileLock(path, subject: "a run")
            let fault = #expect(throws: Fault.self) { try FileLock(path, subject: "a run") }
            #expect(fault?.message.hasPrefix("'a run' is in use by process ") == true)
            withExtendedLifetime(lock) {}
        }
    }

    /// A child that is being started has copies of all descriptors for a moment.
    @Test func aLockThatIsGivenUpIsFreeWhileProgramsStart() throws {
        try withTemporaryDirectory { directory in
            let path = FilePath(directory + "/lock")
            let isDone = Monitor(false)
            let starter = try WorkerThread {
                repeat { _ = try? runTool("/bin/true", []) } while !isDone.update { $0 }
            }
            defer {
                isDone.update { $0 = true }
                starter.join()
            }
            for _ in 0..<1000 { _ = try FileLock(path, subject: "a run") }
        }
    }
}
