// Is it whole? Silence and 0, or a line for everything that is wrong and 1.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Recompute every digest; say nothing when all is well.",
        discussion: """
            EXAMPLE: ckpt-tool verify runs/first && echo whole

            Of a run every checkpoint and link is checked. Findings go to standard error, one a line, and the exit \
            status is 1. A model directory without a manifest has no digests: its structure is checked.
            """)

    @Flag(help: "Only manifest, sizes and headers; the tensors are not read.")
    var quick = false

    @Argument(help: "Checkpoints or runs.")
    var paths: [String]

    func validate() throws {
        if paths.isEmpty { throw ValidationError("expected a checkpoint or a run") }
    }

    func run() throws {
        var messages: [String] = []
        for path in paths.map({ FilePath($0) }) {
            if RunDirectory.isRun(path) {
                messages += try RunDirectory(path, access: .read).verify(deep: !quick).map(\.message)
            } else {
                if FileSystem.kind(of: path, followingLinks: false) == nil {
                    throw Fault(.noInput, "cannot open \(quoted(path.string)): no such directory")
                }
                messages += Checkpoint.verify(path, deep: !quick).map(\.message)
            }
        }
        for message in messages { StandardError.writeLine("ckpt-tool: \(message)") }
        if !messages.isEmpty { throw Exit(.no) }
    }
}
