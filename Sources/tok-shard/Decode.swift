// `tok-shard decode`: ids to text. Every id must be one of the vocabulary's: a hole in a text would be silent.

internal import ArgumentParser
private import Bytes
private import CommandLine
private import Tokens

struct Decode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn ids into text.",
        discussion: "Example: echo 15496 995 | tok-shard decode --tokenizer gpt2/vocab.bpe -")

    @OptionGroup
    var choice: TokenizerChoice
    @Option(help: "lines: decimal, between blanks or newlines; ids-u16, ids-u32: raw little-endian.")
    var format = IdFormat.lines
    @Argument(help: "Files to read in order; '-' is standard input.")
    var files: [String] = []

    func run() throws {
        try TokShard.requireInputs(files)
        let tokenizer = try choice.load { Fault(.usage, "decode needs --tokenizer") }
        let output = BufferedSink(FileSink.standardOutput, capacity: 1 << 18)
        for file in files {
            let source = try FileSource.open(file)
            var position = 0
            // Digits of a number, or bytes of an id, that the end of a piece cut.
            var rest: [UInt8] = []
            while true {
                let piece = try source.read(upTo: 1 << 18)
                let ids = try parse(rest + piece, isLast: piece.isEmpty, rest: &rest, source.name, at: position)
                position += ids.count
                if let id = ids.first(where: { !isKnown($0, tokenizer) }) {
                    throw Fault.badData(source.name, "id \(id) is none of the tokenizer's")
                }
                let text = tokenizer.decode(ids)
                try StandardOutput.requireReadable(text)
                try output.write(text)
                if piece.isEmpty { break }
            }
        }
        try output.flush()
    }

    private func isKnown(_ id: UInt32, _ tokenizer: any Tokenizer) -> Bool {
        (tokenizer as? BytePairTokenizer)?.isKnown(id) ?? (Int(id) < tokenizer.vocabularySize)
    }

    private func parse(
        _ bytes: [UInt8], isLast: Bool, rest: inout [UInt8], _ name: String, at position: Int
    ) throws -> [UInt32] {
        if format != .lines {
            let type: TokenType = format == .ids16 ? .u16 : .u32
            let size = type.byteCount
            let whole = bytes.count / size * size
            rest = Array(bytes[whole...])
            if isLast && !rest.isEmpty {
                throw Fault.badData(name, "expected ids of \(size) bytes, found \(rest.count) left over at the end")
            }
            return type.ids(stored: bytes[..<whole])
        }
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
        let end = isLast ? bytes.count : (bytes.lastIndex(where: isBlank) ?? 0)
        rest = Array(bytes[end...])
        if rest.count > 20 { throw Fault.badData(name, "expected decimal ids, found a word of more than 20 bytes") }
        var ids: [UInt32] = []
        for word in bytes[..<end].split(whereSeparator: isBlank) {
            guard let id = UInt32(String(decoding: word, as: UTF8.self)), word.first != 0x2b else {
                throw Fault.badData(
                    name,
                    "expected id \(position + ids.count) as a decimal number, found "
                        + quoted(String(decoding: word.prefix(20), as: UTF8.self)))
            }
            ids.append(id)
        }
        return ids
    }
}
