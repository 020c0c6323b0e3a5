// The loss of a model on a batch stream from standard input.

import ArgumentParser
import Batches
import Bytes
import CommandLine
import Training

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print loss, perplexity and number of targets of a batch stream.",
        discussion: """
            EXAMPLE: tok-pack --rows 16 --length 256 data/validation | ckpt-tool evaluate runs/first/best

            One line, separated by tabs: mean loss in nats a target, its exponential, targets. Read from standard input.
            """)

    @Flag(help: "One JSON object instead.")
    var json = false

    @Option(help: ArgumentHelp("Threads; 0 = the CPUs this process may use.", valueName: "n"))
    var threads = 0

    @Argument(help: "A checkpoint, or a run for its latest.")
    var checkpoint: String

    func run() throws {
        try Self.helpIfInputIsTerminal()
        let source = FileSource.standardInput
        var reader = try BatchStreamReader(source)
        let head = reader.head
        let loaded = try LoadedModel(
            checkpoint, rows: min(head.rows, max(1, 4096 / head.length)), length: head.length, threads: threads)
        guard let result = try Evaluation.measure(loaded.model, &reader, name: source.name) else { return }
        let perplexity = exp(result.loss)
        guard result.loss.isFinite else {
            throw Fault.badData(checkpoint, "the model's loss is not finite")
        }
        if json {
            // A loss above 709 has a perplexity beyond what a double holds, and JSON has no infinity.
            let line: JSON = [
                "loss": .number(result.loss), "perplexity": perplexity.isFinite ? .number(perplexity) : .null,
                "tokens": .integer(result.tokens),
            ]
            try FileSink.standardOutput.write(line.compact + "\n")
        } else {
            try FileSink.standardOutput.write("\(result.loss)\t\(perplexity)\t\(result.tokens)\n")
        }
    }
}
