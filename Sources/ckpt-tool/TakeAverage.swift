// The moving average as a model of its own: what was trained with --ema is used without it.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct TakeAverage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ema",
        abstract: "Take a run's moving average out as a model directory.",
        discussion: """
            EXAMPLE: ckpt-tool ema runs/first/latest averaged

            Writes a Hugging Face model directory with the average of `train-step --ema` as its parameters, the \
            configuration and the tokenizer file: to sample, evaluate, convert, or begin another run from. Reads and \
            writes in pieces; digests are checked on the way.
            """)

    @Argument(help: "A checkpoint, or a run for its latest.")
    var checkpoint: String

    @Argument(help: "The directory to be made.")
    var output: String

    func run() throws {
        Interruption.install(abandonsWrites: true)
        let path = try typedPath(output)
        let checkpoint = try Checkpoint.named(checkpoint)
        guard let average = checkpoint.average else {
            throw Fault(
                .noInput, "\(quoted(checkpoint.path.string)) has no '\(Checkpoint.averageName)'",
                hint: "train-step --ema DECAY keeps one")
        }
        let writer = try CheckpointWriter(path)
        try writer.write(checkpoint.read(Checkpoint.configurationName), to: Checkpoint.configurationName)
        try writer.write(
            average.entries.map { entry in
                TensorSource(name: entry.name, dtype: entry.dtype, shape: entry.shape) { emit in
                    try average.read(entry.name) { _, bytes in try bytes.withRawSpan(emit) }
                }
            }, to: Checkpoint.modelName)
        if let name = try checkpoint.tokenizerName() { try writer.copy(checkpoint.path.appending(name), to: name) }
        try writer.commit()
    }
}
