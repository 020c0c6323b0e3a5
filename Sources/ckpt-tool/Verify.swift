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
            EXAMPLE: ckpt-tool verify --deep runs/first && echo whole

            Of a run every checkpoint and link is checked. Findings go to standard error, one a line, and the exit \
            status is 1. A model directory without a manifest has no digests: its structure is checked. Of GGUF, npz \
            and llm.c's files the structure is, and npz's checksums. --deep also looks at every number (is it finite), at \
            the model's shapes against its configuration and at the optimizer's against the model's.
            """)

    @Flag(help: "Only manifest, sizes and headers; the tensors are not read.")
    var quick = false

    @Flag(help: "Digests, and whether values are finite and shapes those of the configuration.")
    var deep = false

    @Argument(help: "Checkpoints, runs, or files of a readable format.")
    var paths: [String]

    func validate() throws {
        if paths.isEmpty { throw ValidationError("expected a checkpoint or a run") }
        if quick && deep { throw ValidationError("expected either --quick or --deep") }
    }

    func run() throws {
        var messages: [String] = []
        for path in try paths.map({ try typedPath($0) }) {
            if RunDirectory.isRun(path) {
                let run = try RunDirectory(path, access: .read)
                let found = try run.verify(deep: !quick).map(\.message)
                messages += found
                if !deep { continue }
                for step in try run.steps() {
                    messages +=
                        run.inspect(step.step) { path in
                            let isSound = Checkpoint.verify(path, deep: false).isEmpty
                            return isSound ? DeepCheck.checkpoint(path, except: found) : []
                        } ?? []
                }
            } else {
                if FileSystem.kind(of: path, followingLinks: false) == nil {
                    throw Fault(.noInput, "cannot open \(quoted(path.string)): no such file or directory")
                }
                messages += Checkpoint.whileStanding(path, isSettled: \.isEmpty) { single(path) }
            }
        }
        for message in messages { StandardError.writeLine("ckpt-tool: \(message)") }
        if !messages.isEmpty { throw Exit(.no) }
    }

    private func single(_ path: FilePath) -> [String] {
        if FileSystem.kind(of: path) == .file { return DeepCheck.file(path, quick: quick, deep: deep) }
        let found = Checkpoint.verify(path, deep: !quick).map(\.message)
        // What cannot even be opened was said already.
        return found + (deep && (try? Checkpoint(path)) != nil ? DeepCheck.checkpoint(path, except: found) : [])
    }
}
