// Text from a model, id by id with a cache of keys and values, written as it comes.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import Kernels
import Models
import Tokens

struct Sample: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Generate text.",
        discussion: """
            EXAMPLE: ckpt-tool sample runs/first/latest --prompt 'Once upon' --temperature 0.8 --seed 1

            The prompt is printed, then what the model adds, until it ends the document or --tokens are made. The same
            seed gives the same text.
            """)

    @Option(help: "How the document begins.")
    var prompt = ""

    @Option(help: ArgumentHelp("The prompt as token ids, separated by commas; ids are printed too.", valueName: "ids"))
    var ids: String?

    @Option(help: ArgumentHelp("Ids to generate at most.", valueName: "n"))
    var tokens = 256

    @Option(help: ArgumentHelp("Logits are divided by it; 0 = always the most likely id.", valueName: "x"))
    var temperature = 1.0

    @Option(help: ArgumentHelp("Draw only from the most likely ids that reach this probability.", valueName: "p"))
    var topP = 1.0

    @Option(help: ArgumentHelp("Draw only from this many of the most likely ids; 0 = all.", valueName: "k"))
    var topK = 0

    @Option(help: ArgumentHelp("Seed.", valueName: "s"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("Threads; 0 = the CPUs this process may use.", valueName: "n"))
    var threads = 0

    @Argument(help: "A checkpoint, or a run for its latest.")
    var checkpoint: String

    /// Ids of a prompt that go through the model at once; what follows them goes one by one.
    private static let promptLength = 256

    func run() throws {
        var recipe = SamplingRecipe()
        recipe.temperature = temperature
        recipe.topP = topP
        recipe.topK = topK
        recipe.seed = seed
        try recipe.validate()
        if tokens < 0 { throw Fault(.usage, "--tokens is \(tokens), expected 0 or more") }
        if ids != nil && !prompt.isEmpty { throw Fault(.usage, "expected either --prompt or --ids") }
        let loaded = try LoadedModel(checkpoint, upTo: Sample.promptLength, threads: threads)
        let output = FileSink.standardOutput
        if let ids {
            let begin = try parseIds(ids)
            let generator = try begun(loaded.model, begin)
            try output.write(begin.map(String.init).joined(separator: ","))
            try generate(generator, loaded.model, recipe, end: nil) { try output.write(",\($0)") }
        } else {
            let (tokenizer, end) = try loaded.tokenizer()
            let text = Array(prompt.utf8)
            // A document begins after the end of another: that is how the model learned to begin.
            let begin = try (end.map { [$0] } ?? []) + tokenizer.ids(of: text)
            if begin.isEmpty { throw Fault(.usage, "an empty prompt, and the data have no end-of-document id") }
            let generator = try begun(loaded.model, begin)
            // A model may say anything; what would drive a terminal is shown as a replacement character there.
            let isTerminal = StandardOutput.isTerminal
            try output.write(text)
            try generate(generator, loaded.model, recipe, end: end) { id in
                let bytes = tokenizer.decode([id])
                try output.write(
                    isTerminal ? bytes.flatMap { Sample.controls.contains($0) ? [239, 191, 189] : [$0] } : bytes)
            }
        }
        try output.write("\n")
    }

    /// Bytes that a terminal would obey: control characters but tab and newline.
    private static let controls = Set<UInt8>(0..<32).subtracting([9, 10]).union([127])

    /// A generator that has taken in the prompt.
    private func begun(_ model: Transformer, _ begin: [UInt32]) throws -> Generator {
        let limit = model.configuration.maximumPositions
        guard begin.count <= limit else {
            throw Fault(.usage, "a prompt of \(begin.count) ids, the model has \(limit) positions")
        }
        let (wanted, overflow) = begin.count.addingReportingOverflow(tokens)
        let generator = Generator(model, length: overflow ? limit : min(wanted, limit))
        try generator.feed(begin)
        return generator
    }

    private func generate(
        _ generator: Generator, _ model: Transformer, _ recipe: SamplingRecipe, end: UInt32?,
        _ emit: (UInt32) throws -> Void
    ) throws {
        let limit = model.configuration.maximumPositions
        for made in 0..<tokens {
            guard generator.logits.array.allSatisfy(\.isFinite) else {
                throw Fault.badData(checkpoint, "the model's logits are not finite")
            }
            let id = generator.sample(recipe)
            if id == end { return }
            try emit(id)
            if generator.position >= limit {
                StandardError.writeLine("ckpt-tool: stopped at the model's \(limit) positions")
                return
            }
            if made + 1 < tokens { try generator.feed(id) }
        }
    }
}
