// `tok-shard merge`: parts that were made on many machines become one dataset; nothing but sidecars is read.

public import ArgumentParser
private import Bytes
private import CommandLine
public import Tokens

struct Merge: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Join the datasets that several runs made into one.",
        discussion: """
            Example:
              tok-shard merge --output corpus part-0 part-1 part-2

            Parts of one list (--shard I/N) come in the order of their numbers and must all be there; others come as \
            they are given. Shard files are linked, not copied, so that parts may be removed afterwards. A part that \
            is the output itself gets its manifest from the sidecars that lie in it.
            """)

    @Option(help: "Directory to make.")
    var output: String
    @Option(help: "link: a second name for each shard file; copy: for another file system; none: sidecars only.")
    var method = DatasetMerge.Method.link
    @Option(help: ArgumentHelp("Threads that read sidecars (default: the CPUs).", valueName: "N"))
    var threads: Int?
    @Argument(help: "Directories that tok-shard made.")
    var part: [String]

    func run() throws {
        let threads = try TokShard.workers(threads)
        var progress = Progress()
        let merge = try DatasetMerge(parts: part, output: output, method: method)
        _ = try merge.run(threads: threads) { done in progress.update { "\(done) shards" } }
        progress.clear()
    }
}

extension DatasetMerge.Method: ExpressibleByArgument {}
