// `tok-shard import`: token files of other programs become a dataset. The settings and the run are those of
// `make`, so that shards, workers, --validation, --shard and --resume are the same.

public import ArgumentParser
private import Bytes
private import CommandLine
internal import Tokens

struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a dataset of another program's token files.",
        discussion: """
            Example:
              tok-shard import --from megatron --vocab-size 50257 \\
                --end-of-document 50256 --output corpus wiki_text_document

            megatron, datatrove, mds and jsonl say where documents end. With llmc, nanogpt and npy a document ends with \
            each --end-of-document id; without one each file is a document (and each row of an npy of two dimensions). \
            mds takes directories, megatron the name with or without .bin.
            """)

    @Option(help: "Format of the files: llmc, nanogpt, megatron, datatrove, mds, npy, jsonl.")
    var from: ForeignFormat
    @Option(help: "Directory to make; must be new or empty unless --resume.")
    var output: String
    @Option(help: ArgumentHelp("Vocabulary size (default: the tokenizer's); every id is below it.", valueName: "V"))
    var vocabSize: Int?
    @Option(help: "Tokenizer that made the ids, so that they can be text again.")
    var tokenizer: String?
    @Option(help: ArgumentHelp("The id that ends each document.", valueName: "id"))
    var endOfDocument: Int?
    @Option(help: ArgumentHelp("mds: the column, jsonl: the field that holds ids.", valueName: "name"))
    var field = "tokens"
    @OptionGroup
    var settings: IngestSettings
    @Argument(help: "Files to read in order; '-' is standard input (nanogpt, jsonl).")
    var files: [String]

    func run() throws {
        guard let format = from.documentFormat else {
            throw Fault(
                .usage, "--from text: text has no ids yet", hint: "'tok-shard --tokenizer' makes a dataset of it")
        }
        let known: (any Tokenizer)? = try tokenizer.map {
            $0 == "bytes" ? BytesTokenizer() as any Tokenizer : try BytePairTokenizer(path: $0, pattern: nil)
        }
        var recipe = try IngestRecipe(
            ids: files, format: format, vocabularySize: vocabSize, endOfDocument: endOfDocument, tokenizer: known)
        recipe.field = field
        try settings.run(recipe, tokenizer: known, output: output)
    }
}

extension ForeignFormat: ExpressibleByArgument {}
