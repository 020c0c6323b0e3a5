// What a test needs of the system that Bytes has no call for.

import Foundation

/// Runs a command line that must succeed.
func runShell(_ command: String) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = ["-c", command]
    try process.run()
    process.waitUntilExit()
    if process.terminationStatus != 0 { throw CocoaError(.executableLoad) }
}

/// As every tool does from its start.
func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }
