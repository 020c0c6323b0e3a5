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
            "rank: store frequency ranks as LEB128, smaller for vocabularies above 65,536.", valueName: "how"))
    var transform: TokenTransform?
    @Option(
        help: ArgumentHelp(
            "Leave out documents of fewer tokens, the end-of-document id counted.", valueName: "N"))
    var minTokens: Int?
    @Option(
        help: ArgumentHelp("Leave out documents of more tokens, the end-of-document id counted.", valueName: "N"))
    var maxTokens: Int?
    @Option(
        help: ArgumentHelp(
            "exact: leave out documents whose ids are all those of an earlier one; 22 to 43 bytes of memory a document.",
            valueName: "how"))
    var dedup: Deduplication?
    @Flag(
        help: ArgumentHelp(
            "Put the documents in an order that --seed chooses, every order equally likely.",
            discussion:
                "The ids go through a temporary file in OUTPUT, which has no name and needs 2 or 4 bytes a token and 20 a document."
        ))
    var shuffle = false
    @Option(help: ArgumentHelp("Number that chooses the order of --shuffle (default: 0).", valueName: "S"))
    var seed: UInt64?
    @Option(
        help: ArgumentHelp(
            "Memory of --shuffle, as in 512M or 4G (default: 1G). The order does not depend on it.", valueName: "size"))
    var memory: ByteCount?
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
        recipe.transform = transform
        recipe.minimumTokens = minTokens
        recipe.maximumTokens = maxTokens
        recipe.deduplication = dedup
        for (option, isGiven) in [("--seed", seed != nil), ("--memory", memory != nil)] where isGiven && !shuffle {
            throw Fault(.usage, "\(option) is for --shuffle")
        }
        if shuffle { recipe.shuffleSeed = seed ?? 0 }
        if let memory { recipe.shuffleMemory = memory.bytes }
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
        let leftOut = summary.leftOut
        guard !leftOut.isEmpty || StandardError.isTerminal else { return }
        let totals = summary.manifests.map(\.totals)
        let documents = totals.reduce(0) { $0 + $1.documents }
        let tokens = totals.reduce(0) { $0 + $1.tokens }
        StandardError.writeLine(
            "tok-shard: \(documents) documents, \(tokens) tokens stored; \(description(of: leftOut)) left out")
    }

    private func description(of leftOut: LeftOut) -> String {
        var reasons: [String] = []
        if leftOut.empty > 0 || leftOut.isEmpty { reasons.append("\(leftOut.empty) empty documents") }
        for (count, reason) in [
            (leftOut[.duplicate], "duplicates"), (leftOut[.tooShort], "below \(minTokens ?? 0) tokens"),
            (leftOut[.tooLong], "above \(maxTokens ?? 0) tokens"),
        ] where count.documents > 0 {
            reasons.append("\(count.documents) \(reason) (\(count.tokens) tokens)")
        }
        return reasons.joined(separator: ", ")
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

extension Deduplication: ExpressibleByArgument {}

extension TokenTransform: ExpressibleByArgument {}

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
