// `tok-shard export`: a dataset becomes token files that other programs read, or text.

internal import ArgumentParser
private import Bytes
private import CommandLine
internal import Tokens

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a dataset as another program's token files.",
        discussion: """
            Example:
              tok-shard export --to megatron --output wiki_text_document corpus/train

            llmc, nanogpt and npy have no place for the ends of documents: there the dataset's end-of-document id marks \
            them, or the one that --end-of-document appends; --drop-boundaries does without.
            """)

    @Option(help: "Format to write: llmc, nanogpt, megatron, datatrove, mds, npy, jsonl, text.")
    var to: ForeignFormat
    @Option(help: "File to make; mds: a directory; megatron: the name without .bin; '-': standard output.")
    var output: String
    @Option(help: ArgumentHelp("Append this id to every document.", valueName: "id"))
    var endOfDocument: Int?
    @Flag(help: "llmc, nanogpt, npy: write a dataset without end-of-document ids, whose documents run together then.")
    var dropBoundaries = false
    @Option(
        help: ArgumentHelp(
            "Several files NAME-00000… of whole documents, each ending with the one that reaches this many ids.",
            valueName: "N"))
    var fileTokens: Int?
    @Option(help: ArgumentHelp("mds: the column, jsonl: the field that holds ids.", valueName: "name"))
    var field = "tokens"
    @Option(help: ArgumentHelp("mds: compress shards with zstd at this level, 1 to 19.", valueName: "L"))
    var compress: Int?
    @Option(help: ArgumentHelp("mds: bytes that a shard may have before it is compressed.", valueName: "bytes"))
    var sizeLimit = 1 << 26
    @Option(
        parsing: .unconditional, help: ArgumentHelp("text: write this line between documents.", valueName: "line"))
    var separator: String?
    @Argument(help: "The dataset directory.")
    var dataset: String

    func run() throws {
        var options = TokenExport.Options(format: to)
        options.appendedId = endOfDocument
        options.dropsBoundaries = dropBoundaries
        options.fileTokens = fileTokens
        options.field = field
        options.level = compress
        options.sizeLimit = sizeLimit
        options.separator = separator
        let dataset = try Dataset(dataset)
        let export = try TokenExport(dataset, options)
        if output == "-" && to.isBinary { try StandardOutput.requireNoTerminal("ids") }
        var progress = Progress()
        defer { progress.clear() }
        let total = max(1, dataset.manifest.totals.tokens)
        try export.run(output: output) { done in
            progress.update { "\(abbreviated(Double(done))) tokens, \(done * 100 / total) %" }
        }
    }
}
