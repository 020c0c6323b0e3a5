// A larger model that goes on where a smaller one stands.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import Models
import SystemPackage
import Training

struct Expand: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a model larger and keep what it computes: deeper, wider, more tokens, longer.",
        discussion: """
            EXAMPLE: ckpt-tool expand runs/small/latest --run runs/deep --layers 12

            Parameters and the optimizer's moments move together. Before anything is published, a float64 pass of both \
            models over random tokens holds the policy to its promise: every logit within 1e-12 of the largest, where it \
            says 'exact'. One line a policy is printed, tab-separated: policy, what it preserves, max |Δlogit| / \
            max |logit|, parameters before and after. state.json and manifest.json keep it.

            A run that is begun with --run is watched over as the old one was (run.json) and has its best checkpoint; what \
            could not come along is said on standard error.

            Policies are given as options, applied in the order of the list below, or as words, applied in their own: \
            layers=12,how=identity intermediate=4096. With one option --how and --where say how:
              layers         identity (the default; --where even or end): new layers that add nothing yet, exact; \
            stack: copies, which change the function
              intermediate   uneven (the default): copies whose outgoing weights are shared out by random parts, exact; \
            split: by equal parts, exact, but the copies stay alike; fresh: random, with outgoing weights zero, exact
              heads          the same, --key-value-heads too
              hidden         a multiple of the model's: uneven or split, exact; with RMSNorm any other: fresh, exact but for \
            rounding
              vocabulary     new rows are the mean of the old ones; old tokens keep their logits
              context        extend (the default): exact; rotary: linear, ntk, yarn, llama3; learned: interpolate
            """)

    @Option(help: ArgumentHelp("Write a checkpoint to this directory, which must not exist.", valueName: "dir"))
    var output: String?

    @Option(
        name: .customLong("run"),
        help: ArgumentHelp("Begin a run with it here, for train-step --resume.", valueName: "dir"))
    var runDirectory: String?

    @Option(help: ArgumentHelp("Layers.", valueName: "n"))
    var layers: Int?

    @Option(help: ArgumentHelp("Width of the feed-forward block.", valueName: "n"))
    var intermediate: Int?

    @Option(help: ArgumentHelp("Query heads.", valueName: "n"))
    var heads: Int?

    @Option(help: ArgumentHelp("Heads of keys and values.", valueName: "n"))
    var keyValueHeads: Int?

    @Option(help: ArgumentHelp("Width of the residual stream.", valueName: "n"))
    var hidden: Int?

    @Option(help: ArgumentHelp("Tokens.", valueName: "n"))
    var vocabulary: Int?

    @Option(help: ArgumentHelp("Positions.", valueName: "n"))
    var context: Int?

    @Option(help: ArgumentHelp("How, in a word of the list above.", valueName: "word"))
    var how: String?

    @Option(
        name: .customLong("where"), help: ArgumentHelp("Where new layers stand: even or end.", valueName: "place"))
    var place: String?

    @Option(help: ArgumentHelp("Seed of uneven shares and fresh weights (default: 0).", valueName: "s"))
    var seed: UInt64?

    @Flag(help: "Leave out what train-step --expand-at of the old run still plans.")
    var dropPlanned = false

    @Argument(help: "A checkpoint, or a run for its latest.")
    var checkpoint: String

    @Argument(help: ArgumentHelp("Policies as words.", valueName: "policy"))
    var policies: [String] = []

    func run() throws {
        Interruption.install(abandonsWrites: true)
        guard (output == nil) != (runDirectory == nil) else {
            throw Fault(.usage, "expected either --output (a checkpoint) or --run (a run to resume)")
        }
        let path = try typedPath(output ?? runDirectory ?? "")
        var expansion = try CheckpointExpansion(Checkpoint.named(checkpoint), try parsed())
        expansion.dropsPlanned = dropPlanned
        var records: [ExpansionRecord] = []
        if output != nil {
            let writer = try CheckpointWriter(path)
            records = try expansion.write(writer)
            try writer.commit()
        } else {
            records = try begin(path, expansion)
        }
        let model = expansion.configuration
        if model.family == .llama, model.hiddenSize % model.heads != 0 {
            StandardError.writeLine(
                "ckpt-tool: transformers loads no Llama whose hidden_size (\(model.hiddenSize)) is no multiple of its heads (\(model.heads))"
            )
        }
        let lines = records.map { record in
            "\(record.policy)\t\(record.promise.rawValue)\t\(record.relative)\t\(record.parametersBefore)\t\(record.parametersAfter)\n"
        }
        try FileSink.standardOutput.write(lines.joined())
    }

    /// The checkpoint as the first of a new run.
    private func begin(_ path: FilePath, _ expansion: CheckpointExpansion) throws -> [ExpansionRecord] {
        guard expansion.origin.optimizer != nil else {
            throw Fault(
                .usage, "\(quoted(checkpoint)) has no optimizer state, so a run cannot go on from it",
                hint: "--output DIR, then train-step --run RUN --from DIR")
        }
        try expansion.requirePlanned()
        let directory = try RunDirectory(path, access: .write)
        guard try directory.steps().isEmpty else {
            throw Fault(.usage, "\(quoted(path.string)) has a run already", hint: "choose another directory")
        }
        let (records, leftBehind) = try expansion.begin(directory)
        note(leftBehind)
        return records
    }

    private func parsed() throws -> [ExpansionPolicy] {
        var words = policies
        func word(_ values: [(String, Int?)]) -> String? {
            let parts = values.compactMap { name, value in value.map { "\(name)=\($0)" } }
            return parts.isEmpty ? nil : parts.joined(separator: ",")
        }
        let options = [
            word([("layers", layers)]), word([("intermediate", intermediate)]),
            word([("heads", heads), ("key-value-heads", keyValueHeads)]), word([("hidden", hidden)]),
            word([("vocabulary", vocabulary)]), word([("context", context)]),
        ].compactMap { $0 }
        let manner = [("how", how), ("where", place)].compactMap { name, value in value.map { ",\(name)=\($0)" } }
        if !manner.isEmpty && options.count != 1 {
            throw Fault(
                .usage, "--how and --where go with one option, found \(options.count)",
                hint: "words say it for each: layers=12,how=identity intermediate=4096,how=fresh")
        }
        words += options.map { $0 + manner.joined() + (seed.map { ",seed=\($0)" } ?? "") }
        if words.isEmpty { throw Fault(.usage, "no policy", hint: "'ckpt-tool expand --help' lists them") }
        return try words.map { try ExpansionPolicy(parsing: $0) }
    }
}
