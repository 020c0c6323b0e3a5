// Checkpoints of the version before this program's, rewritten in this one's.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage
import Training

struct Migrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Rewrite checkpoints of the last version in this one's.",
        discussion: """
            EXAMPLE: ckpt-tool migrate runs/first && ckpt-tool verify runs/first

            Of a run every checkpoint is rewritten. Each is verified first and replaced in one rename; the tensors are \
            not copied. One that is of this version already is left alone. train-step and the other commands read the \
            last version as it is, so this is only needed before the version after this one. What is damaged is named, \
            left as it is, and makes the exit status 1.
            """)

    @Argument(help: "Checkpoints or runs.")
    var paths: [String]

    func validate() throws {
        if paths.isEmpty { throw ValidationError("expected a checkpoint or a run") }
    }

    func run() throws {
        Interruption.install(abandonsWrites: true)
        var isWhole = true
        for path in try paths.map({ try typedPath($0) }) {
            if RunDirectory.isRun(path) {
                let run = try RunDirectory(path, access: .write)
                for step in try run.steps() {
                    do {
                        try migrate(run.path(of: step.step))
                    } catch let fault as Fault where fault.kind == .badData {
                        StandardError.writeLine("ckpt-tool: \(fault.message)")
                        isWhole = false
                    }
                }
            } else {
                let place = try Checkpoint(path).path
                let parent = place.removingLastComponent()
                // A checkpoint of a run is the run's.
                let run = RunDirectory.isRun(parent) ? try RunDirectory(parent, access: .write) : nil
                try migrate(place)
                withExtendedLifetime(run) {}
            }
        }
        if !isWhole { throw Exit(.no) }
    }

    private func migrate(_ path: FilePath) throws {
        let checkpoint = try Checkpoint(path)
        guard checkpoint.manifest?[Checkpoint.stateName] != nil else { return }
        let old = try checkpoint.state()
        let name = checkpoint.path.appending(Checkpoint.stateName).string
        let new = try TrainingState(json: old, name: name).json
        if old["version"] == new["version"] { return }
        try Checkpoint.rewrite(checkpoint, replacing: Checkpoint.stateName, with: Array(new.pretty.utf8))
    }
}
