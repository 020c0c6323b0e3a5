// `tok-shard repair`: what a damaged dataset still holds, as a new one.

internal import ArgumentParser
private import Bytes
private import CommandLine
private import Tokens

struct Repair: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Salvage the whole documents of a damaged dataset into a new one.",
        discussion: """
            Example:
              tok-shard repair --output salvaged corpus/train

            A document is kept when every frame that holds some of it decodes and checks. What is wrong and what is lost \
            goes to standard error. Exit code: 0 when nothing was lost, 1 when something was; the new dataset is whole \
            in both cases. The damaged one is not changed.
            """)

    @Option(help: "Directory to make; must be new.")
    var output: String
    @Option(help: ArgumentHelp("zstd level, 1 to 19.", valueName: "L"))
    var level = DatasetWriter.defaultLevel
    @Argument(help: "The damaged dataset.")
    var dataset: String

    func run() throws {
        if !(1...19).contains(level) { throw Fault(.usage, "a compression level is 1 to 19") }
        let dataset = try Dataset(dataset)
        let total = max(1, dataset.manifest.totals.tokens)
        var progress = Progress()
        let repair = try DatasetRepair(dataset, output: output, level: level)
        let summary = try repair.run(
            report: { line in
                progress.clear()
                StandardError.writeLine("tok-shard: \(line)")
            }, progress: { done in progress.update { "\(done * 100 / total) %" } })
        progress.clear()
        if !summary.isWhole {
            throw Exit(
                .no,
                "\(summary.documents) documents, \(summary.tokens) tokens saved in \(quoted(output)); "
                    + "\(summary.lostDocuments) documents, \(summary.lostTokens) tokens lost")
        }
    }
}
