// A command of the user's: what it is given, how its end is told, and that nothing of it outlives its time.

import Bytes
import Foundation
import SystemPackage
import TestSupport
import Testing

@Suite struct ShellCommandTests {
    @Test func itIsGivenItsInputAndItsEnvironment() throws {
        try withTemporaryDirectory { directory in
            let outcome = try ShellCommand("cat > \"$PLACE/in\"; echo \"$PATH\" > \"$PLACE/path\"; exit 3").run(
                input: Array("one line\n".utf8), environment: [("PLACE", directory)], timeout: 20)
            #expect(outcome == .exited(3))
            #expect(try readFile(directory + "/in") == Array("one line\n".utf8))
            #expect(try readFile(directory + "/path") == Array((Host.environment("PATH") ?? "").utf8 + [10]))
        }
    }

    @Test func inputThatNobodyReadsIsNoError() throws {
        let large = [UInt8](repeating: 120, count: 1 << 20)
        #expect(try ShellCommand("exit 0").run(input: large, timeout: 20) == .exited(0))
        #expect(try ShellCommand("exec < /dev/null; sleep 0.1").run(input: large, timeout: 20) == .exited(0))
        // More than a pipe holds arrives whole.
        #expect(try ShellCommand("sleep 0.1; test $(wc -c) = 1048576").run(input: large, timeout: 20) == .exited(0))
    }

    @Test func aSignalThatEndsItIsTold() throws {
        ignoreFileSizeLimits()
        #expect(try ShellCommand("kill -9 $$").run(input: [], timeout: 20) == .killed(signal: 9))
        // Ours is ignored in the tools; a command's pipe breaks as any other does.
        #expect(try ShellCommand("kill -PIPE $$").run(input: [], timeout: 20) == .killed(signal: 13))
        #expect(try ShellCommand("kill -XFSZ $$").run(input: [], timeout: 20) == .killed(signal: SIGXFSZ))
    }

    @Test(arguments: [true, false]) func whatItStartedGoesWithIt(isInterrupted: Bool) throws {
        try withTemporaryDirectory { directory in
            let begin = Host.monotonicClock
            let outcome = try ShellCommand(
                "trap '' TERM; sleep 60 & echo $! > \"$PLACE/child\"; while :; do sleep 60; done"
            ).run(
                input: [], environment: [("PLACE", directory)], timeout: isInterrupted ? 60 : 0.5,
                isInterrupted: { isInterrupted && Host.monotonicClock > begin + 0.5 })
            #expect(outcome == (isInterrupted ? .interrupted : .timedOut))
            #expect(Host.monotonicClock - begin < 5)
            let child = String(decoding: try readFile(directory + "/child"), as: UTF8.self).filter(\.isNumber)
            let rest = try runShell("kill -0 \(child) 2> /dev/null && ! grep -q '^State:.Z' /proc/\(child)/status")
            #expect(rest.status != 0, "process \(child) is still there")
        }
    }

    @Test func noneOfOurFilesIsOpenInIt() throws {
        try withTemporaryDirectory { directory in
            let lock = try FileLock(FilePath(directory).appending(".lock"), subject: "a")
            let outcome = try withExtendedLifetime(lock) {
                try ShellCommand("ls -l /proc/$$/fd > \"$PLACE/open\"").run(
                    input: [], environment: [("PLACE", directory)], timeout: 20)
            }
            #expect(outcome == .exited(0))
            #expect(!String(decoding: try readFile(directory + "/open"), as: UTF8.self).contains(".lock"))
        }
    }
}
