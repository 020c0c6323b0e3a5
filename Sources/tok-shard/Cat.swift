// `tok-shard cat`: the way back, from a dataset to text or ids. With the separator or the format it was made with, the
// output is the input, byte for byte.

internal import ArgumentParser
private import Bytes
private import CommandLine
private import Tokens

struct Cat: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a dataset's documents as text or ids.",
        discussion: "Example: tok-shard cat --document 3 corpus/train")

    @Flag(help: "Decimal ids, a document a line (what --format ids-text reads), instead of text.")
    var ids = false
    @Flag(help: "Text, which is the default.")
    var text = false
    @Option(help: ArgumentHelp("Only this document, counted from 0.", valueName: "N"))
    var document: Int?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Text: write this line between documents.", valueName: "line"))
    var separator: String?
    @Argument(help: "The dataset directory.")
    var dataset: String

    func run() throws {
        if ids && text { throw Fault(.usage, "--text or --ids, not both") }
        if ids && separator != nil { throw Fault(.usage, "--separator is for text, not for --ids") }
        let dataset = try Dataset(dataset)
        let record = dataset.manifest.tokenizer
        let tokenizer = ids ? nil : try record.tokenizer(in: dataset.path)
        if !ids && tokenizer == nil {
            throw Fault(
                .usage,
                "\(quoted(dataset.path)) was made with tokenizer \(quoted(record.name)), "
                    + "which this release cannot decode", hint: "--ids writes the ids")
        }
        let output = BufferedSink(FileSink.standardOutput, capacity: 1 << 18)
        var isFirstPiece = true
        var isBetween = false
        func write(_ piece: ArraySlice<UInt32>, endsDocument: Bool) throws {
            if ids {
                try output.write(line(piece, continues: !isFirstPiece, ends: endsDocument))
            } else if let tokenizer {
                if isFirstPiece && isBetween, let separator { try output.write(separator + "\n") }
                let text = tokenizer.text(of: piece, endsDocument: endsDocument)
                try StandardOutput.requireReadable(text)
                try output.write(text)
            }
            isFirstPiece = endsDocument
            isBetween = true
        }
        if let document {
            guard document >= 0, let (index, local) = dataset.shard(ofDocument: document) else {
                throw Fault(
                    .usage,
                    "no document \(document) in \(quoted(dataset.path)): it has \(dataset.manifest.totals.documents)")
            }
            let shard = try dataset.shard(index)
            let range = try shard.tokenRange(ofDocument: local)
            var left = range.count
            try shard.readTokens(range) {
                left -= $0.count
                try write($0, endsDocument: left == 0)
            }
        } else {
            try dataset.readDocuments { try write($0, endsDocument: $1) }
        }
        try output.flush()
    }

    private func line(_ ids: ArraySlice<UInt32>, continues: Bool, ends: Bool) -> String {
        var text = ""
        var needsSpace = continues
        for id in ids {
            if needsSpace { text += " " }
            text += String(id)
            needsSpace = true
        }
        return ends ? text + "\n" : text
    }
}
