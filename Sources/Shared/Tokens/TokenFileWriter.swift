// Writers of the formats that are one file: a head and ids, a JSON array a line, text.

internal import Bytes
internal import SystemPackage

/// Takes the ids of one file, in order.
protocol TokenFileWriter: AnyObject {
    func write(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws
    /// Publishes the file.
    func finish() throws
}

/// A file that appears whole, or standard output.
final class OutputFile: ByteSink {
    private let file: AtomicFile?
    private let buffer: BufferedSink
    var name: String { buffer.name }

    /// - Parameter path: `-` is standard output.
    init(_ path: String) throws(Fault) {
        file = path == "-" ? nil : try AtomicFile(FilePath(path))
        if let file {
            buffer = BufferedSink(file, capacity: 1 << 18)
        } else {
            buffer = BufferedSink(FileSink.standardOutput)
        }
    }

    func write(_ bytes: [UInt8]) throws { try buffer.write(bytes) }
    func write(_ text: String) throws { try buffer.write(text) }

    func commit() throws {
        try buffer.flush()
        try file?.commit()
    }
}

/// A head, then ids: llm.c, nanoGPT, .npy.
final class RawTokenWriter: TokenFileWriter {
    private let file: OutputFile
    private let type: TokenType

    init(_ path: String, head: [UInt8] = [], type: TokenType) throws {
        file = try OutputFile(path)
        self.type = type
        try file.write(head)
    }

    func write(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws { try file.write(type.stored(ids)) }
    func finish() throws { try file.commit() }
}

/// `{"tokens":[1,2,3]}`, a line a document.
final class JSONIdWriter: TokenFileWriter {
    private let file: OutputFile
    private let open: String
    private var isInside = false

    init(_ path: String, field: String) throws {
        file = try OutputFile(path)
        open = "{" + JSON.string(field).compact + ":["
    }

    func write(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws {
        var text = isInside ? "" : open
        var needsComma = isInside
        for id in ids {
            if needsComma { text += "," }
            text += String(id)
            needsComma = true
        }
        isInside = !endsDocument
        try file.write(endsDocument ? text + "]}\n" : text)
    }

    func finish() throws { try file.commit() }
}

/// What the ids say.
final class DecodedTextWriter: TokenFileWriter {
    private let file: OutputFile
    private let tokenizer: any Tokenizer
    private let separator: String?
    private var isFirst = true
    private var isInside = false

    init(_ path: String, tokenizer: any Tokenizer, separator: String?) throws {
        file = try OutputFile(path)
        self.tokenizer = tokenizer
        self.separator = separator
    }

    func write(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws {
        if !isInside && !isFirst, let separator { try file.write(separator + "\n") }
        try file.write(tokenizer.text(of: ids, endsDocument: endsDocument))
        isFirst = false
        isInside = !endsDocument
    }

    func finish() throws { try file.commit() }
}

extension NumPyHead {
    /// The head of a .npy 1.0 file of `count` ids in one dimension.
    static func text(type: TokenType, count: Int) -> [UInt8] {
        let descriptor = type == .u16 ? "<u2" : "<u4"
        var text = "{'descr': '\(descriptor)', 'fortran_order': False, 'shape': (\(count),), }"
        // Magic, version and length take 10 bytes; ids begin at a multiple of 64.
        text += String(repeating: " ", count: 63 - (10 + text.utf8.count) % 64) + "\n"
        var bytes = magic + [1, 0]
        bytes.append(littleEndian: UInt16(text.utf8.count))
        return bytes + Array(text.utf8)
    }
}
