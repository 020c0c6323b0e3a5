// `tok-shard verify`: reads everything; silence and 0 when it is sound, a line a finding and 1 when it is not.

internal import ArgumentParser
private import Bytes
private import CommandLine
private import Tokens

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check every byte of a dataset.", discussion: "Example: tok-shard verify corpus/train")

    @Flag(
        help:
            "Also decode all ids: each has a token, and without a tokenizer file the end-of-document id stands only at ends."
    )
    var deep = false
    @Option(help: ArgumentHelp("Worker threads (default: the CPUs).", valueName: "N"))
    var threads: Int?
    @Argument(help: "The dataset directory.")
    var dataset: String

    func run() throws {
        let threads = try TokShard.workers(threads)
        let dataset = try Dataset(dataset)
        let total = max(1, dataset.manifest.totals.tokens)
        var progress = Progress()
        let findings = try dataset.verify(
            threads: threads, deep: deep,
            report: { line in
                progress.clear()
                StandardError.writeLine("tok-shard: \(line)")
            },
            progress: { checked in
                progress.update { "\(abbreviated(Double(checked))) tokens, \(checked * 100 / total) %" }
            })
        progress.clear()
        if findings > 0 {
            throw Exit(.no, "\(quoted(dataset.path)) is damaged: \(findings) \(findings == 1 ? "finding" : "findings")")
        }
    }
}
