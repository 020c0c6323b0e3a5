// Which tokenizer: options that several subcommands share.

public import ArgumentParser
public import Bytes
internal import Tokens

struct TokenizerChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Tokenizer: 'bytes' (ids 0-255 are the bytes, 256 ends a document), or a tokenizer.json, a .tiktoken rank file, "
                + "a vocab.bpe with encoder.json beside it, or a directory with one of them. For ids: the one that made them.",
            valueName: "file"))
    var tokenizer: String?
    @Option(
        help: ArgumentHelp(
            "How text is cut, for rank files that are not known: \(PretokenPattern.allCases.map(\.rawValue).joined(separator: ", ")).",
            valueName: "name"))
    var pattern: PretokenPattern?

    var isBytes: Bool { tokenizer == "bytes" }

    /// - Parameters:
    ///   - endOfDocument: what the user chose; nil leaves the choice to the file.
    ///   - missing: the complaint when no tokenizer was named.
    func load(endOfDocument: String? = nil, missing: () -> Fault) throws -> any Tokenizer {
        guard let tokenizer else { throw missing() }
        if isBytes {
            if pattern != nil { throw Fault(.usage, "--pattern is for rank files, not for 'bytes'") }
            return BytesTokenizer()
        }
        var loaded = try BytePairTokenizer(path: tokenizer, pattern: pattern)
        if endOfDocument == "none" {
            loaded.endOfDocument = nil
        } else if let endOfDocument {
            try loaded.chooseEndOfDocument(endOfDocument)
        }
        return loaded
    }
}

extension PretokenPattern: ExpressibleByArgument {}
