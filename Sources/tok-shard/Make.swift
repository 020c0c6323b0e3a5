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
    @OptionGroup
    var settings: IngestSettings
    @Argument(help: "Files to read in order; '-' is standard input.")
    var files: [String] = []

    func run() throws {
        try TokShard.requireInputs(files)
        let (recipe, tokenizer) = try makeRecipe()
        try settings.run(recipe, tokenizer: tokenizer, output: output)
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
        let tokenizer: (any Tokenizer)?
        if format.holdsIds {
            tokenizer = choice.tokenizer == nil ? nil : try loadTokenizer()
            recipe = try IngestRecipe(
                ids: files, format: format, vocabularySize: vocabSize, endOfDocument: try endOfDocumentId(tokenizer),
                tokenizer: tokenizer)
        } else {
            let found = try loadTokenizer()
            if let vocabSize, vocabSize != found.vocabularySize {
                throw Fault(
                    .usage, "--vocab-size \(vocabSize): the tokenizer has a vocabulary of \(found.vocabularySize)")
            }
            recipe = IngestRecipe(inputs: files, format: format, tokenizer: found)
            tokenizer = found
        }
        recipe.allowsSpecial = allowSpecial
        recipe.separator = splitOn
        recipe.field = field
        return (recipe, tokenizer)
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
}

extension DocumentFormat: ExpressibleByArgument {}
