// tok-pack inspect: a batch stream for the eye: what HEAD promises, a line a batch, how rows are made of documents, and
// what DONE accounts for. It verifies everything that train-step would.

import ArgumentParser
import Batches
import Bytes
import CommandLine
import Tokens

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show and verify a batch stream.",
        discussion: """
            Example:
              tok-pack --rows 8 --length 256 --limit 1 corpus/train |
                tok-pack inspect --batch 0
            """)

    @Option(
        help: ArgumentHelp(
            "Draw the rows of the batch with this index: a letter a document, dots for padding.", valueName: "k"))
    var batch: Int?

    @Option(name: .customLong("rows"), help: ArgumentHelp("Draw at most this many rows.", valueName: "n"))
    var drawnRows: Int?

    @Flag(help: "Print JSON Lines: {\"head\": …}, {\"batch\": …} each, {\"done\": …}.")
    var json = false

    @Argument(help: "A file that holds a stream; - is standard input.")
    var file = "-"

    func run() throws {
        if file == "-" { try Self.helpIfInputIsTerminal() }
        var reader = try BatchStreamReader(FileSource.open(file))
        let output = BufferedSink(FileSink.standardOutput)
        var packing = PackingCount(reader.head)
        // What was read is shown before what went wrong is said.
        do {
            try output.write(json ? JSON.object(["head": reader.head.json]).compact + "\n" : summary(reader.head))
            while let next = try reader.next() {
                packing.add(next)
                try output.write(json ? jsonLine(next) : lines(next))
            }
            if let end = reader.end {
                try output.write(json ? JSON.object(["packing": packing.json]).compact + "\n" : packing.summary)
                try output.write(json ? JSON.object(["done": end.json]).compact + "\n" : summary(end))
            }
        } catch let fault as Fault {
            try output.flush()
            throw fault
        }
        try output.flush()
    }

    private func summary(_ head: StreamHead) -> String {
        let tokenizer = printable(head.tokenizer["name"]?.stringValue ?? "unknown")
        return """
            batches     \(head.rows) rows of \(head.length), \(head.type.rawValue) ids below \(head.vocabularySize)
            tokenizer   \(tokenizer), end of document \(head.endOfDocument.map(String.init) ?? "none")
            dataset     \(head.dataset)
            order       \(printable(head.order)), seed \(head.seed), epochs \(head.epochs.map(String.init) ?? "forever")
            packing     \(printable(head.packing))\(head.crossDocument ? ", across documents" : "")
            \(shares(head))starts at   \(head.start)

            """
    }

    /// Lines for what a plain run has not.
    private func shares(_ head: StreamHead) -> String {
        var text = ""
        let total = head.mix.reduce(0.0) { $0 + Double($1.share) }
        for (number, source) in head.mix.enumerated() {
            text += (number == 0 ? "mix         " : "            ")
            text += "\(percent(Double(source.share) / total)) of \(source.dataset)\n"
        }
        if head.world > 1 { text += "rank        \(head.rank) of \(head.world)\n" }
        if head.lanes > 1 { text += "lanes       \(head.lanes)\n" }
        if !head.mask.isNull { text += "loss mask   \(printable(head.mask.compact))\n" }
        return text
    }

    private func lines(_ batch: TokenBatch) -> String {
        let segments = batch.segmentEnds.reduce(0) { $0 + $1.count }
        let padded = batch.rows * batch.length - batch.realPositions
        var text =
            "batch \(batch.index)  \(batch.realPositions) tokens, \(segments) segments, \(padded) padded"
            + (batch.lossMask == nil ? "" : ", \(batch.lossPositions) in the loss") + "  \(batch.cursor)\n"
        if self.batch == batch.index || self.batch == nil && drawnRows != nil {
            for row in 0..<min(batch.rows, drawnRows ?? batch.rows) { text += drawing(batch, row) }
        }
        return text
    }

    /// The row in at most 64 columns, each showing the segment that holds the middle of its positions.
    private func drawing(_ batch: TokenBatch, _ row: Int) -> String {
        let ends = batch.segmentEnds[row]
        let columns = min(64, batch.length)
        var picture = ""
        var segment = 0
        for column in 0..<columns {
            let position = (2 * column + 1) * batch.length / (2 * columns)
            while segment < ends.count, Int(ends[segment]) <= position { segment += 1 }
            picture +=
                segment == ends.count ? "." : String(Character(UnicodeScalar(UInt8(ascii: "a") + UInt8(segment % 26))))
        }
        let number = String(row)
        return String(repeating: " ", count: max(1, 6 - number.count)) + number + " |" + picture + "| ends "
            + ends.prefix(8).map(String.init).joined(separator: " ") + (ends.count > 8 ? " …" : "") + "\n"
    }

    private func jsonLine(_ batch: TokenBatch) -> String {
        var object: JSONObject = [
            "index": .integer(batch.index), "tokens": .integer(batch.realPositions),
            "segments": .integer(batch.segmentEnds.reduce(0) { $0 + $1.count }),
            "padded": .integer(batch.rows * batch.length - batch.realPositions),
            "loss_positions": .integer(batch.lossPositions), "cursor": .string(batch.cursor),
        ]
        if self.batch == batch.index {
            object["segment_ends"] = .array(batch.segmentEnds.map { .array($0.map { .integer(Int($0)) }) })
        }
        return JSON.object(["batch": .object(object)]).compact + "\n"
    }

    private func summary(_ end: StreamEnd) -> String {
        """
        done        \(end.batches) batches, \(end.rows) rows
        ledger      \(end.ledger.tokensIn) tokens in = \(end.ledger.emitted) emitted + \(end.ledger.leftOver) left over; \
        \(end.ledger.padded) positions of padding
        digest      \(end.orderDigest)
        cursor      \(end.cursor)

        """
    }
}

/// What packing cost in the batches that were read.
private struct PackingCount {
    private let head: StreamHead
    private var positions = 0
    private var emitted = 0
    private var segments = 0
    private var cuts = 0

    init(_ head: StreamHead) { self.head = head }

    /// A piece that does not begin with its document is the other side of a cut; the id before a beginning tells it.
    private var knowsCuts: Bool { head.endOfDocument != nil && !head.crossDocument }

    mutating func add(_ batch: TokenBatch) {
        positions += batch.rows * batch.length
        emitted += batch.realPositions
        for (row, ends) in batch.segmentEnds.enumerated() {
            segments += ends.count
            var start = 0
            for end in ends {
                if batch.inputs[row * batch.length + start] != head.endOfDocument { cuts += 1 }
                start = Int(end)
            }
        }
    }

    private var waste: Double { positions == 0 ? 0 : Double(positions - emitted) / Double(positions) }

    var json: JSON {
        [
            "positions": .integer(positions), "padded": .integer(positions - emitted), "waste": .number(waste),
            "segments": .integer(segments), "cuts": knowsCuts ? .integer(cuts) : .null,
        ]
    }

    var summary: String {
        "packed      \(percent(waste)) of \(positions) positions wasted"
            + (knowsCuts ? ", documents cut \(cuts) times" : "") + "\n"
    }
}
