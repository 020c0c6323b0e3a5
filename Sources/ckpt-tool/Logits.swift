// The model's raw answer, for holding it against other programs.

import ArgumentParser
import Bytes
import CommandLine
import Models

struct Logits: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the logits that follow each id of a sequence.",
        discussion: """
            EXAMPLE: ckpt-tool logits runs/first/latest --ids 256,72,101

            A line a position: a JSON array of V numbers, each the shortest text that reads back to the same float.
            """)

    @Option(help: ArgumentHelp("Token ids, separated by commas.", valueName: "ids"))
    var ids: String

    @Option(help: ArgumentHelp("Threads; 0 = the CPUs this process may use.", valueName: "n"))
    var threads = 0

    @Argument(help: "A checkpoint, or a run for its latest.")
    var checkpoint: String

    func run() throws {
        let ids = try parseIds(ids)
        let loaded = try LoadedModel(checkpoint, length: max(1, ids.count), threads: threads)
        let output = BufferedSink(FileSink.standardOutput)
        for row in try loaded.model.logits(ids) {
            guard row.allSatisfy(\.isFinite) else {
                throw Fault.badData(checkpoint, "the model's logits are not finite")
            }
            try output.write("[" + row.map { "\($0)" }.joined(separator: ",") + "]\n")
        }
        try output.flush()
    }
}
