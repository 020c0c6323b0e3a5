// Less on the disk: a copy of a checkpoint without what only training needs, or a run without its older checkpoints. What
// goes is printed.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct Prune: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy a checkpoint without its optimizer, or remove a run's older checkpoints.",
        discussion: """
            EXAMPLE: ckpt-tool prune runs/first/best --output published

            With --output a copy for publishing, without the optimizer's state and the moving average; nothing is removed from the original. \
            With --keep-last the checkpoints of a run that no rule keeps are removed: the newest n stay, steps that \
            are multiples of --keep-every do, whatever latest, best and last-good point at does, and the newest valid \
            one when no other is valid: the digests of what stays are recomputed first. Prints what is gone and its bytes, tab-separated, a line each.
            """)

    @Option(help: ArgumentHelp("The directory of the copy.", valueName: "dir"))
    var output: String?

    @Flag(help: "Leave out state.json too: cursor, recipe, where the run stood.")
    var state = false

    @Option(help: ArgumentHelp("Keep the newest n checkpoints of the run.", valueName: "n"))
    var keepLast: Int?

    @Option(help: ArgumentHelp("Keep steps that are multiples of n.", valueName: "n"))
    var keepEvery: Int?

    @Flag(help: "Print what would go and remove nothing.")
    var dryRun = false

    @Argument(help: "A checkpoint or a run.")
    var path: String

    func validate() throws {
        if (output == nil) == (keepLast == nil) { throw ValidationError("expected either --output or --keep-last") }
        if output != nil && (keepEvery != nil || dryRun) {
            throw ValidationError("--keep-every and --dry-run go with --keep-last")
        }
        if keepLast != nil && state { throw ValidationError("--state goes with --output") }
        for (name, value) in [("keep-last", keepLast), ("keep-every", keepEvery)] {
            if let value, value < 1 { throw ValidationError("--\(name) is \(value), expected 1 or more") }
        }
    }

    func run() throws {
        let gone: [(name: String, bytes: Int)]
        if let output {
            Interruption.install(abandonsWrites: true)
            let place = try typedPath(output)
            gone = try publish(Checkpoint.named(path), to: place)
        } else {
            gone = try removeSteps(keeping: keepLast ?? 1)
        }
        let lines = gone.map { "\(printable($0.name))\t\($0.bytes)\n" }
        try FileSink.standardOutput.write(lines.joined())
    }

    // MARK: a copy

    /// Files that other trainers keep beside a model.
    private static func isTraining(_ name: String) -> Bool {
        [
            Checkpoint.optimizerName, Checkpoint.averageName, "optimizer.pt", "optimizer.bin", "scheduler.pt",
            "scheduler.bin", "scaler.pt",
            "training_args.bin", "trainer_state.json",
        ].contains(name) || name.hasPrefix("rng_state")
    }

    private func publish(_ checkpoint: Checkpoint, to path: FilePath) throws -> [(name: String, bytes: Int)] {
        let writer = try CheckpointWriter(path)
        writer.expansions = checkpoint.manifest?.expansions
        var gone: [(String, Int)] = []
        for name in try checkpoint.fileNames() where name != Manifest.fileName {
            let source = checkpoint.path.appending(name)
            guard FileSystem.kind(of: source) == .file else { continue }
            if Prune.isTraining(name) || state && name == Checkpoint.stateName {
                gone.append((name, try InputFile(source).size))
            } else if let file = checkpoint.model.files.first(where: { $0.file.path == source }) {
                // Tensor by tensor, so that every digest is checked on the way.
                let sources = file.tensors.map { entry in
                    TensorSource(name: entry.name, dtype: entry.dtype, shape: entry.shape) { emit in
                        try checkpoint.model.read(entry.name) { try $1.withRawSpan(emit) }
                    }
                }
                try writer.write(sources, to: name, metadata: file.metadata)
            } else if checkpoint.isForeign {
                try writer.copy(source, to: name)
            } else {
                try writer.write(checkpoint.read(name), to: name)
            }
        }
        try writer.commit()
        return gone
    }

    // MARK: a run

    private func removeSteps(keeping count: Int) throws -> [(name: String, bytes: Int)] {
        guard try RunDirectory.isRun(typedPath(path)) else {
            throw Fault(.noInput, "\(quoted(path)) is no run: --keep-last expects one")
        }
        let run = try RunDirectory(typedPath(path), access: dryRun ? .read : .write)
        var gone: [(String, Int)] = []
        for step in try superfluous(in: run, keeping: count) {
            let place = run.path(of: step)
            let bytes = try FileSystem.list(place).reduce(0) { $0 + (FileSystem.size(of: place.appending($1)) ?? 0) }
            if !dryRun { try run.remove(step) }
            gone.append((RunDirectory.name(of: step), bytes))
        }
        return gone
    }

    /// What no rule keeps. What stays is read and held against its digests before anything goes: a checkpoint that is damaged in
    /// the midst of a tensor opens like a sound one, and must not be what all others are given up for.
    private func superfluous(in run: RunDirectory, keeping count: Int) throws -> [Int] {
        var (hasValid, isAsked) = (false, false)
        let steps = try run.superfluous(last: count, every: keepEvery ?? 0) { step in
            isAsked = true
            guard let finding = run.verify(step: step)?.first else {
                hasValid = true
                return true
            }
            StandardError.writeLine("ckpt-tool: \(quoted(RunDirectory.name(of: step))) is damaged: \(finding.message)")
            return false
        }
        if isAsked && !hasValid {
            throw Fault(.badData, "\(quoted(path)) has no valid checkpoint: nothing is removed")
        }
        return steps
    }
}
