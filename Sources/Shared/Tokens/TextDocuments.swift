// Plain text. A file is a document, byte for byte; or documents stand between separator lines. A separator is a line
// that equals the given one, ended by LF, CR LF or the end of the input; it belongs to no document, and every other
// byte does: a document keeps the newline of its last line. What follows the last separator is a document unless it is
// empty.

internal import Bytes

/// A file as one document.
final class WholeFileDocument: DocumentReader {
    private let source: any ByteSource
    private var isFinished = false
    let nextDocument: (offset: Int, line: Int)? = nil

    init(_ source: any ByteSource) { self.source = source }

    func next() throws(Fault) -> DocumentPiece? {
        if isFinished { return nil }
        let piece = try source.read(upTo: inputPieceBytes)
        isFinished = piece.isEmpty
        return DocumentPiece(content: piece, endsDocument: isFinished)
    }
}

/// Documents between separator lines.
final class SeparatedDocuments: DocumentReader {
    private let source: any ByteSource
    private let separator: [UInt8]
    /// Read and not yet handed out; `buffer[start]` is the byte at `offset` of the input.
    private var buffer: [UInt8] = []
    private var start = 0
    private var offset: Int
    private var line: Int
    /// False when the line that holds `buffer[start]` began earlier.
    private var isAtLineStart = true
    /// Whether the current document has bytes.
    private var hasContent = false
    private var isExhausted = false
    private(set) var nextDocument: (offset: Int, line: Int)?

    init(_ source: any ByteSource, separator: [UInt8], offset: Int, line: Int) {
        self.source = source
        self.separator = separator
        self.offset = offset
        self.line = line
    }

    func next() throws(Fault) -> DocumentPiece? {
        while true {
            if let piece = scan() { return piece }
            if isExhausted {
                if !hasContent { return nil }
                hasContent = false
                nextDocument = (offset, line)
                return DocumentPiece(content: [], endsDocument: true)
            }
            let more = try source.read(upTo: inputPieceBytes)
            isExhausted = more.isEmpty
            if start == buffer.count { buffer = more } else { buffer = buffer[start...] + more }
            start = 0
        }
    }

    /// What can be handed out of the buffer; nil when it needs more.
    private func scan() -> DocumentPiece? {
        var position = start
        while position < buffer.count {
            let newline = buffer.firstIndex(of: 0x0a, from: position)
            let end = newline ?? buffer.count
            if isAtLineStart && (newline != nil || isExhausted) && isSeparator(position..<end) {
                let piece = take(upTo: position, endsDocument: true)
                start = min(end + 1, buffer.count)
                offset += start - position
                line += 1
                nextDocument = (offset, line)
                hasContent = false
                return piece
            }
            guard newline != nil else {
                // A line still open: hold it back while it could become a separator, else hand it out.
                if isAtLineStart && !isExhausted && end - position <= separator.count + 1 {
                    return position == start ? nil : take(upTo: position, endsDocument: false)
                }
                isAtLineStart = false
                return take(upTo: end, endsDocument: false)
            }
            position = end + 1
            isAtLineStart = true
            line += 1
        }
        return position == start ? nil : take(upTo: position, endsDocument: false)
    }

    private func isSeparator(_ range: Range<Int>) -> Bool {
        let extra = range.count - separator.count
        guard extra == 0 || (extra == 1 && buffer[range.upperBound - 1] == 0x0d) else { return false }
        return buffer[range.lowerBound..<range.lowerBound + separator.count].elementsEqual(separator)
    }

    private func take(upTo end: Int, endsDocument: Bool) -> DocumentPiece {
        let content = Array(buffer[start..<end])
        offset += end - start
        start = end
        hasContent = hasContent || !content.isEmpty
        return DocumentPiece(content: content, endsDocument: endsDocument)
    }
}
