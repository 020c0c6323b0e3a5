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

    /// Whoever opened the file before it was removed and locks it after that would hold nothing.
    @Test func aLockWhoseFileIsRemovedIsNotSharedByTwo() throws {
        try withTemporaryDirectory { directory in
            let path = FilePath(directory + "/lock")
            let holders = Monitor(0)
            let threads = try (0..<4).map { _ in
                try WorkerThread {
                    for _ in 0..<2000 {
                        guard let lock = try? FileLock(path, subject: "a run") else { continue }
                        #expect(
                            holders.update {
                                $0 += 1; return $0
                            } == 1)
                        holders.update { $0 -= 1 }
                        lock.removeFile()
                    }
                }
            }
            for thread in threads { thread.join() }
            #expect(!exists(path.string))
        }
    }
}
