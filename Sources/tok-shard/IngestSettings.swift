// How a dataset is made whatever it is made of: what `make` and `import` share, options and the run itself.

public import ArgumentParser
private import Bytes
private import CommandLine
public import Tokens

struct IngestSettings: ParsableArguments {
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

    /// Makes the dataset.
    /// - Parameters:
    ///   - recipe: of all inputs; the settings are put into it.
    ///   - tokenizer: what encodes text, or made the ids, if that is known: the dataset keeps its file.
    func run(_ recipe: IngestRecipe, tokenizer: (any Tokenizer)?, output: String) throws {
        let threads = try TokShard.workers(threads)
        var recipe = recipe
        recipe.validation = validation
        recipe.shardTokens = shardTokens
        recipe.level = level
        if let shard {
            recipe.part = shard
            recipe.inputs = Array(recipe.inputs[shard.range(of: recipe.inputs.count)])
        }
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
            warnOfEmptySides(summary, output)
        } catch  where error is IngestInterrupted || (error as? Fault)?.kind == .interrupted {
            progress.clear()
            throw Exit(.interrupted, "interrupted: the same command with --resume goes on")
        }
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

    /// A side without documents is as asked for and no error, but the next tool in the line will refuse it.
    private func warnOfEmptySides(_ summary: IngestSummary, _ output: String) {
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

extension IngestRecipe {
    /// Of ids. The tokenizer encodes nothing here; it says what the ids mean and how many there are.
    /// - Parameter vocabularySize: as the user gave it.
    init(
        ids inputs: [String], format: DocumentFormat, vocabularySize: Int?, endOfDocument: Int?,
        tokenizer: (any Tokenizer)?
    ) throws {
        guard let size = vocabularySize ?? tokenizer?.vocabularySize else {
            throw Fault(.usage, "--format \(format.rawValue) needs --vocab-size or --tokenizer")
        }
        // More than the tokenizer has is padding of an embedding; fewer would leave some of its ids without one.
        if let tokenizer, size < tokenizer.vocabularySize {
            throw Fault(
                .usage,
                "--vocab-size \(size): the tokenizer has a vocabulary of \(tokenizer.vocabularySize), expected at least that"
            )
        }
        self.init(
            inputs: inputs, format: format, vocabularySize: size, endOfDocument: endOfDocument, tokenizer: tokenizer)
    }
}

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
