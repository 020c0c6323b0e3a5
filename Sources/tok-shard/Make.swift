// The default subcommand: flags become a validated recipe, the library does the work.

public import ArgumentParser
private import Bytes
private import CommandLine
private import SystemPackage
public import Tokens

struct Make: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make",
        abstract: "Make a dataset (the default: the word 'make' may be left out).",
        discussion: """
            Example:
              tok-shard --tokenizer bytes --output corpus --format jsonl \\
                --validation 0.01 pages.jsonl

            A document is a file, or what stands between --split-on lines, or a line of jsonl or ids-text. Empty \
            documents are counted and not stored. The dataset's bytes do not depend on --threads.
            """)

    @OptionGroup
    var choice: TokenizerChoice
    @Option(help: "Directory to make; must be new or empty unless --resume.")
    var output: String
    @Option(help: "Format of the input: text, jsonl, ids-u16, ids-u32, ids-text.")
    var format = DocumentFormat.text
    @Option(help: ArgumentHelp("Field of jsonl that holds the text.", valueName: "name"))
    var field = "text"
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Text: a line that separates documents and belongs to none.", valueName: "line"))
    var splitOn: String?
    @Option(
        help: ArgumentHelp(
            "Vocabulary size of ids formats (default: the tokenizer's); every id is below it.", valueName: "V"))
    var vocabSize: Int?
    @Flag(help: "What reads like a special token in text becomes its id; otherwise it is text.")
    var allowSpecial = false
    @Option(
        help: ArgumentHelp(
            "The special token (name or id) that ends each document, or 'none'. ids-u16, ids-u32: an id.",
            valueName: "token"))
    var endOfDocument: String?
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
    @Argument(help: "Files to read in order; '-' is standard input.")
    var files: [String] = []

    func run() throws {
        if files.isEmpty {
            try TokShard.helpIfInputIsTerminal()
            throw Fault(.usage, "no input files", hint: "'-' reads standard input")
        }
        let threads = threads ?? Host.processors
        if threads < 1 { throw Fault(.usage, "--threads \(threads): expected at least 1") }
        let (recipe, tokenizer) = try makeRecipe()
        Interruption.install()
        var ingest = try Ingest(recipe, tokenizer: tokenizer, output: output, resume: resume)
        var progress = Progress()
        let begin = Host.monotonicClock
        do {
            let summary = try ingest.run(
                threads: threads, isInterrupted: { Interruption.isRequested },
                progress: { tokens in
                    progress.update {
                        "\(abbreviated(Double(tokens))) tokens, "
                            + "\(abbreviated(Double(tokens) / max(0.001, Host.monotonicClock - begin))) tokens/s"
                    }
                })
            progress.clear()
            printLedger(summary)
            warnOfEmptySides(summary)
        } catch  where error is IngestInterrupted || (error as? Fault)?.kind == .interrupted {
            progress.clear()
            throw Exit(.interrupted, "interrupted: the same command with --resume goes on")
        }
    }

    private func makeRecipe() throws -> (IngestRecipe, (any Tokenizer)?) {
        if splitOn != nil && format != .text {
            throw Fault(.usage, "--split-on is for --format text, not \(format.rawValue)")
        }
        if endOfDocument != nil && (format == .idsText || (!format.holdsIds && choice.isBytes)) {
            throw Fault(
                .usage,
                "--end-of-document is for --format ids-u16 and ids-u32 and for tokenizer files, not \(format.rawValue)"
                    + (format.holdsIds ? "" : " with 'bytes'"))
        }
        if allowSpecial && (format.holdsIds || choice.isBytes) {
            throw Fault(.usage, "--allow-special is for text with a tokenizer file")
        }
        var recipe: IngestRecipe
        var encoder: (any Tokenizer)?
        if format.holdsIds {
            // The tokenizer encodes nothing here; it says what the ids mean and how many there are.
            let found = choice.tokenizer == nil ? nil : try loadTokenizer()
            guard let size = vocabSize ?? found?.vocabularySize else {
                throw Fault(.usage, "--format \(format.rawValue) needs --vocab-size or --tokenizer")
            }
            // More than the tokenizer has is padding of an embedding; fewer would leave some of its ids without one.
            if let found, size < found.vocabularySize {
                throw Fault(
                    .usage,
                    "--vocab-size \(size): the tokenizer has a vocabulary of \(found.vocabularySize), expected at least that"
                )
            }
            recipe = IngestRecipe(
                inputs: files, format: format, vocabularySize: size, endOfDocument: try endOfDocumentId(found),
                tokenizer: found)
        } else {
            let found = try loadTokenizer()
            if let vocabSize, vocabSize != found.vocabularySize {
                throw Fault(
                    .usage, "--vocab-size \(vocabSize): the tokenizer has a vocabulary of \(found.vocabularySize)")
            }
            recipe = IngestRecipe(inputs: files, format: format, tokenizer: found)
            encoder = found
        }
        recipe.allowsSpecial = allowSpecial
        recipe.separator = splitOn
        recipe.field = field
        recipe.validation = validation
        recipe.shardTokens = shardTokens
        recipe.level = level
        if let shard {
            recipe.part = shard
            recipe.inputs = Array(files[shard.range(of: files.count)])
        }
        return (recipe, encoder)
    }

    private func loadTokenizer() throws -> any Tokenizer {
        try choice.load(endOfDocument: format.holdsIds ? nil : endOfDocument) {
            Fault(.usage, "--format \(format.rawValue) needs --tokenizer", hint: "--tokenizer bytes needs no file")
        }
    }

    /// What ends the documents of ids.
    private func endOfDocumentId(_ tokenizer: (any Tokenizer)?) throws -> Int? {
        guard let endOfDocument else { return nil }
        if let id = Int(endOfDocument) { return id }
        guard var file = tokenizer as? BytePairTokenizer else {
            throw Fault(.usage, "--end-of-document \(endOfDocument): expected an id")
        }
        try file.chooseEndOfDocument(endOfDocument)
        return file.endOfDocument
    }

    /// Silence is success; but what was left out is said.
    private func printLedger(_ summary: IngestSummary) {
        guard summary.emptyDocuments > 0 || StandardError.isTerminal else { return }
        let totals = summary.manifests.map(\.totals)
        let documents = totals.reduce(0) { $0 + $1.documents }
        let tokens = totals.reduce(0) { $0 + $1.tokens }
        StandardError.writeLine(
            "tok-shard: \(documents) documents, \(tokens) tokens stored; "
                + "\(summary.emptyDocuments) empty documents left out")
    }
}

extension Make {
    /// A side without documents is as asked for and no error, but the next tool in the line will refuse it.
    private func warnOfEmptySides(_ summary: IngestSummary) {
        guard summary.manifests.count == 2 else { return }
        let counts = summary.manifests.map(\.totals.documents)
        for (side, name) in [Ingest.trainName, Ingest.validationName].enumerated() where counts[side] == 0 {
            StandardError.writeLine(
                "tok-shard: no document of \(counts[0] + counts[1]) fell to \(quoted(output + "/" + name))")
            StandardError.writeLine(
                "hint: a \(side == 0 ? "smaller" : "larger") --validation, or shorter documents (--split-on), for a new --output"
            )
        }
    }
}

extension DocumentFormat: ExpressibleByArgument {}

extension DatasetPart: ExpressibleByArgument {
    /// `3/16`.
    public init?(argument: String) {
        let numbers = argument.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 2, let index = numbers[0], let count = numbers[1], count <= 1 << 20,
            (0..<max(0, count)).contains(index)
        else { return nil }
        self.init(index: index, count: count)
    }
}
