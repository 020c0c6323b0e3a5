// `tok-shard encode`: text to ids without a dataset, for scripts and for a look at what a tokenizer does. A stream like
// every other: it starts to write before it has read all, and its memory does not grow with the text.

internal import ArgumentParser
private import Bytes
private import CommandLine
private import Tokens

/// How ids are written.
enum IdFormat: String, ExpressibleByArgument, CaseIterable {
    case lines
    case ids16 = "ids-u16"
    case ids32 = "ids-u32"
}

struct Encode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn text into ids; 'decode' is the way back.",
        discussion: """
            Example: echo 'Hello world' | tok-shard encode --tokenizer tokenizer.json -

            A file is one text. No end-of-document id is added.
            """)

    @OptionGroup
    var choice: TokenizerChoice
    @Flag(help: "What reads like a special token in text becomes its id; otherwise it is text.")
    var allowSpecial = false
    @Option(help: "lines: decimal, an id a line; ids-u16, ids-u32: raw little-endian.")
    var format = IdFormat.lines
    @Argument(help: "Files to read in order; '-' is standard input.")
    var files: [String] = []

    private static let pieceBytes = 1 << 18

    func run() throws {
        try TokShard.requireInputs(files)
        let tokenizer = try choice.load { Fault(.usage, "encode needs --tokenizer") }
        if allowSpecial && choice.isBytes { throw Fault(.usage, "--allow-special is for tokenizer files") }
        if format == .ids16 && tokenizer.type != .u16 {
            throw Fault(.usage, "--format ids-u16: ids below \(tokenizer.vocabularySize) do not fit u16")
        }
        if format != .lines { try StandardOutput.requireNoTerminal("raw ids") }
        let encoder = try tokenizer.makeEncoder(allowSpecial: allowSpecial)
        let output = BufferedSink(FileSink.standardOutput, capacity: 1 << 18)
        for file in files {
            let source = try FileSource.open(file)
            while true {
                let text = try source.read(upTo: Encode.pieceBytes)
                let stored: [UInt8]
                do throws(Fault) {
                    stored = try encoder.encode(text, endsDocument: text.isEmpty)
                } catch {
                    throw Fault.badData(source.name, error.message)
                }
                try write(stored, type: tokenizer.type, to: output)
                if text.isEmpty { break }
            }
        }
        try output.flush()
    }

    private func write(_ stored: [UInt8], type: TokenType, to output: BufferedSink) throws {
        if format.rawValue == "ids-" + type.rawValue { return try output.write(stored) }
        let ids = type.ids(stored: stored[...])
        if format == .ids32 { return try output.write(ids.littleEndianBytes) }
        var text = ""
        for id in ids { text += "\(id)\n" }
        try output.write(text)
    }
}
