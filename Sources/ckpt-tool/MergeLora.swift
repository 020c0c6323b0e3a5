// A model with low-rank adapters made into a plain one.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage
import Training

struct MergeLora: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge-lora",
        abstract: "Make low-rank adapters part of the matrices that they stand beside.",
        discussion: """
            EXAMPLE: ckpt-tool merge-lora runs/lora/best --output merged

            Writes a Hugging Face model directory with W + s B A in the place of W, in float32, the configuration \
            without adapters and the tokenizer file: for other programs, to convert, expand, or begin another run from. \
            Before it is published, a float64 pass of both models over random tokens is compared: every logit stays \
            within 1e-5 of the largest. Prints, tab-separated: matrices merged, max |Δlogit| / max |logit|.
            """)

    @Option(name: .shortAndLong, help: ArgumentHelp("The directory to be made.", valueName: "dir"))
    var output: String

    @Argument(help: "A checkpoint of train-step --lora, or a run for its latest.")
    var checkpoint: String

    func run() throws {
        Interruption.install(abandonsWrites: true)
        let path = try typedPath(output)
        let merge = try AdapterMerge(Checkpoint.named(checkpoint))
        let writer = try CheckpointWriter(path)
        let report = try merge.write(writer)
        try writer.commit()
        try FileSink.standardOutput.write("\(report.matrices)\t\(report.relative)\n")
    }
}
