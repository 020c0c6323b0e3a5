// `tok-shard train-tokenizer`: a vocabulary of one's own, from the text that it is for.

internal import ArgumentParser
internal import Bytes
private import CommandLine
private import SystemPackage
internal import Tokens

struct TrainTokenizer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train-tokenizer",
        abstract: "Make a tokenizer.json from text: byte-level BPE.",
        discussion: """
            Example: tok-shard train-tokenizer --output tokenizer.json --split-on --- book.txt

            The merges are those of Hugging Face's BpeTrainer on the same texts, which are documents here (with --lines, as \
            in its train(files), lines). Special tokens have the ids from 0 on. Memory: up to --memory for the unique \
            pre-tokens while text is read; about four times what they need while they are merged.
            """)

    @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
    var output: String
    @Option(help: ArgumentHelp("Ids of the vocabulary, special tokens and the 256 bytes included.", valueName: "V"))
    var vocabSize = 32_768
    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("A special token; may be given several times (default: <|endoftext|>).", valueName: "name"))
    var special: [String] = []
    @Option(help: ArgumentHelp("How text is cut: gpt2, cl100k, qwen, o200k, tekken, deepseek.", valueName: "name"))
    var pattern = PretokenPattern.gpt2
    @Option(help: ArgumentHelp("Pairs that come up more rarely are not merged.", valueName: "N"))
    var minFrequency = 0
    @Option(help: "Format of the input: text, jsonl.")
    var format = DocumentFormat.text
    @Option(help: ArgumentHelp("Field of jsonl that holds the text.", valueName: "name"))
    var field = "text"
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Text: a line that separates documents and belongs to none.", valueName: "line"))
    var splitOn: String?
    @Flag(help: "Each line, with its newline, is a text of its own.")
    var lines = false
    @Option(help: ArgumentHelp("Memory for unique pre-tokens, as in 512M or 4G (default: 2G).", valueName: "size"))
    var memory: ByteCount?
    @Argument(help: "Files to read in order; '-' is standard input.")
    var files: [String] = []

    func run() throws {
        try TokShard.requireInputs(files)
        if format.holdsIds { throw Fault(.usage, "--format \(format.rawValue): a tokenizer is made from text") }
        if splitOn != nil && format != .text { throw Fault(.usage, "--split-on is for --format text") }
        if minFrequency < 0 { throw Fault(.usage, "--min-frequency \(minFrequency): expected 0 or more") }
        let special = special.isEmpty ? ["<|endoftext|>"] : special
        Interruption.install()
        var training = try TokenizerTraining(pattern: pattern, memoryLimit: memory?.bytes ?? 2 << 30)
        var progress = Progress()
        var bytes = 0
        for file in files {
            try training.count(file, format: format, separator: splitOn, field: field, isPerLine: lines) { more in
                bytes += more
                progress.update { "\(abbreviated(Double(bytes))) bytes counted" }
                return Interruption.isRequested
            }
        }
        progress.clear()
        let (content, size) = try training.tokenizerJSON(
            vocabularySize: vocabSize, special: special, leastCount: minFrequency)
        try AtomicFile.write(content, to: FilePath(output))
        if size < vocabSize {
            StandardError.writeLine(
                "tok-shard: the text has merges for a vocabulary of \(size), less than \(vocabSize)")
        }
    }
}
