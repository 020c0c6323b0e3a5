// tok-pack pack: a dataset becomes batches on standard output, in an order that a seed fixes and a cursor can enter.

import ArgumentParser
import Batches
import Bytes
import CommandLine
import Tokens

struct Pack: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Pack documents into batches and stream them to standard output.",
        discussion: """
            Example:
              tok-pack --rows 16 --length 512 corpus/train |
                train-step --run runs/first --model config.json --steps 1000
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case stream, npy, jsonl
    }

    @Option(help: ArgumentHelp("Rows a batch.", valueName: "b"))
    var rows: Int

    @Option(help: ArgumentHelp("Targets a row.", valueName: "t"))
    var length: Int

    @Option(help: "Fixes the order.")
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("Passes over the data in the whole run; 0 or 'forever': without end.", valueName: "e"))
    var epochs = Epochs(count: 1)

    @Option(help: ArgumentHelp("At most this many batches from here.", valueName: "batches"))
    var limit: Int?

    @Option(
        help:
            "window: blocks of the whole epoch and rows in windows of 8 Mi tokens; full: single rows of the whole epoch; sequential."
    )
    var order = Order.window

    @Option(
        help:
            "best-fit: documents whole where a row holds them; concat: cut every t tokens; pad: one document a row, longer ones in several."
    )
    var pack = Packing.bestFit

    @Flag(help: "Make each row one segment, so that attention crosses the borders of documents.")
    var crossDocument = false

    @Option(
        help: ArgumentHelp(
            "Leave targets up to and including a document's first token of this id out of the loss.", valueName: "id"))
    var maskBefore: UInt32?

    @Flag(help: "Leave out of the loss what the datasets' loss masks say (tok-pack mask).")
    var lossMask = false

    @Option(help: ArgumentHelp("Only every world-th row of each batch, from this one on.", valueName: "r"))
    var rank = 0

    @Option(help: ArgumentHelp("Ranks that share the rows of each batch.", valueName: "n"))
    var world = 1

    @Option(
        help: ArgumentHelp(
            "Lay the rows of a batch out in this many lanes, which no rank divides; train-step --lanes must be the same.",
            valueName: "n"))
    var lanes = 1

    @Option(
        help: ArgumentHelp("Go on behind the batch that carried this cursor; 'start' is the beginning.", valueName: "c")
    )
    var cursor: String?

    @Option(
        help:
            "stream: frames for train-step; npy: an array of shape (rows, 2, t), inputs and targets; jsonl: one batch a line."
    )
    var to = Format.stream

    @Option(
        help: ArgumentHelp("Worker threads (default: one a CPU); they change nothing but the speed.", valueName: "n"))
    var threads: Int?

    @Argument(
        help: ArgumentHelp(
            "Directories that tok-shard made, read as one; or each with its share of the rows: train=0.7 code=0.3.",
            valueName: "dataset[=weight]"))
    var dataset: [String]

    func run() throws {
        for (name, value) in [
            ("--rows", rows), ("--length", length), ("--limit", limit ?? 1), ("--threads", threads ?? 1),
        ]
        where value < 1 {
            throw ValidationError("\(name) is \(value), expected at least 1")
        }
        if to != .jsonl { try StandardOutput.requireNoTerminal(to == .npy ? "a NumPy array" : "a batch stream") }
        if maskBefore != nil && lossMask { throw ValidationError("expected --mask-before or --loss-mask, not both") }
        let (sources, mixture) = try DatasetArguments.open(dataset)
        var recipe = Recipe(
            length: length, seed: seed, order: order, packing: pack, crossDocument: crossDocument, lanes: lanes)
        if let maskBefore { recipe.mask = .after(separator: maskBefore) }
        if lossMask { recipe.mask = .sidecar(try TokenSource.maskDigest(sources)) }
        let producer = try BatchProducer(
            mixing: sources, mixture, recipe: recipe, rows: rows, epochs: epochs.count, limit: limit,
            cursor: try cursor.flatMap { (text: String) throws in try Cursor.parsing(ofRun: text) },
            rank: rank, world: world, threads: min(threads ?? Host.processors, 256))
        Interruption.exitAtOnce()
        // Copies of single rows between buffers that come and go would leave holes in what is kept.
        if order != .full { Host.keepFreedMemory() }
        do { try stream(producer) } catch let violation as LedgerViolation {
            throw Exit(.bug, "\(violation): please report this with the command line")
        }
    }

    private func stream(_ producer: BatchProducer) throws {
        var progress = PackProgress()
        defer { progress.clear() }
        let output = FileSink.standardOutput
        switch to {
        case .stream:
            let writer = try BatchStreamWriter(output, head: producer.head)
            let end = try producer.run { batch in
                try writer.write(batch)
                progress.update(batch)
            }
            try writer.finish(end)
        case .jsonl:
            var writer = JSONLinesWriter(output)
            _ = try producer.run { batch in
                try writer.write(try batch.decoded(producer.head))
                progress.update(batch)
            }
        case .npy:
            guard let rows = try producer.rowsToEmit() else {
                throw Fault(.usage, "a NumPy array cannot be without end", hint: "give --epochs or --limit")
            }
            var writer = try NumPyWriter(output, head: producer.head, rows: rows)
            _ = try producer.run { batch in
                try writer.write(try batch.decoded(producer.head))
                progress.update(batch)
            }
        }
    }
}

/// `--epochs`: a number, or without end.
struct Epochs: ExpressibleByArgument, CustomStringConvertible {
    let count: Int?

    init(count: Int?) { self.count = count }

    init?(argument: String) {
        if argument == "forever" || argument == "0" {
            count = nil
        } else {
            guard let value = Int(argument), value >= 1 else { return nil }
            count = value
        }
    }

    var description: String { count.map(String.init) ?? "forever" }
}

extension Order: ExpressibleByArgument {}
extension Packing: ExpressibleByArgument {}

/// Tokens so far and their rate, on a terminal. Not into a pipe: whoever reads it (train-step) is about to draw a line of
/// its own there.
private struct PackProgress {
    private var line = Progress(quiet: StandardOutput.isPipe)
    private let begin = Host.monotonicClock
    private var first: Int?

    mutating func update(_ batch: EncodedBatch) {
        let emitted = batch.cursor.emitted
        let first = first ?? emitted
        self.first = first
        line.update {
            let rate = Double(emitted - first) / max(Host.monotonicClock - begin, 1e-3)
            return "batch \(batch.index), epoch \(batch.cursor.epoch + 1), \(abbreviated(Double(emitted)))tokens, "
                + "\(abbreviated(rate))tokens/s"
        }
    }

    mutating func clear() { line.clear() }
}
