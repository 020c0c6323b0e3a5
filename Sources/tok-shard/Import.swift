// `tok-shard import`: token files of other programs become a dataset. It is `make` with the names that those formats have,
// so that shards, workers, --validation, --shard and --resume are the same.

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
    @Option(
        help: ArgumentHelp("Part of the documents for OUTPUT/validation; the rest is OUTPUT/train.", valueName: "F"))
    var validation: Double?
    @Option(help: ArgumentHelp("A shard ends with the document that reaches this many tokens.", valueName: "N"))
    var shardTokens = DatasetWriter.defaultShardTokens
    @Option(help: ArgumentHelp("zstd level, 1 to 19.", valueName: "L"))
    var level = DatasetWriter.defaultLevel
    @Option(
        help: ArgumentHelp(
            "Take part I of N of the list of files, I from 0; 'tok-shard merge' joins the parts.", valueName: "I/N"))
    var shard: DatasetPart?
    @Option(help: ArgumentHelp("Worker threads (default: the CPUs).", valueName: "N"))
    var threads: Int?
    @Flag(help: "Go on with a run that was interrupted.")
    var resume = false
    @Argument(help: "Files to read in order; '-' is standard input (nanogpt, jsonl).")
    var files: [String]

    func run() throws {
        guard let format = from.documentFormat else {
            throw Fault(
                .usage, "--from text: text has no ids yet", hint: "'tok-shard --tokenizer' makes a dataset of it")
        }
        var arguments = ["--format", format.rawValue, "--output", output, "--field", field]
        for (name, value) in [
            ("--vocab-size", vocabSize.map(String.init)), ("--tokenizer", tokenizer),
            ("--end-of-document", endOfDocument.map(String.init)), ("--validation", validation.map { "\($0)" }),
            ("--shard-tokens", "\(shardTokens)"), ("--level", "\(level)"), ("--threads", threads.map(String.init)),
            ("--shard", shard.map { "\($0.index)/\($0.count)" }),
        ] {
            if let value { arguments += ["\(name)=\(value)"] }
        }
        if resume { arguments.append("--resume") }
        try Make.parse(arguments + ["--"] + files).run()
    }
}

extension ForeignFormat: ExpressibleByArgument {}
