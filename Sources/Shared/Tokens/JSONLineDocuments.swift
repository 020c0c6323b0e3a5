// JSON Lines: an object a line, the text under one field. Strict: what is no object, or has no string there, is
// refused with its line and byte, because a silently dropped line is a silently smaller corpus. Blank lines are no
// values and are passed over; so is a byte order mark at the very start, which some programs write. A line is held in
// memory whole, up to 1 GiB.

internal import Bytes

final class JSONLineDocuments: DocumentReader {
    private let source: any ByteSource
    private let field: String
    private let maximumLine: Int
    private var buffer: [UInt8] = []
    /// The rest of a text that is handed out in pieces.
    private var pending: ArraySlice<UInt8> = []
    private var start = 0
    private var offset: Int
    private var line: Int
    private var isExhausted = false
    private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]
    var nextDocument: (offset: Int, line: Int)? { (offset, line) }

    init(_ source: any ByteSource, field: String, offset: Int, line: Int, maximumLine: Int = 1 << 30) {
        self.source = source
        self.field = field
        self.offset = offset
        self.line = line
        self.maximumLine = maximumLine
    }

    func next() throws(Fault) -> DocumentPiece? {
        if pending.isEmpty {
            guard let text = try nextText() else { return nil }
            if text.count <= inputPieceBytes { return DocumentPiece(content: text, endsDocument: true) }
            pending = text[...]
        }
        // In pieces, so that what follows (ids, frames) does not have all of a long text at once as well.
        let piece = Array(pending.prefix(inputPieceBytes))
        pending = pending.dropFirst(inputPieceBytes)
        if pending.isEmpty { pending = [] }  // lets the text go
        return DocumentPiece(content: piece, endsDocument: pending.isEmpty)
    }

    private func nextText() throws(Fault) -> [UInt8]? {
        while var bytes = try nextLine() {
            var begin = offset
            offset += bytes.count + 1
            line += 1
            if begin == 0, bytes.starts(with: JSONLineDocuments.byteOrderMark) {
                begin = JSONLineDocuments.byteOrderMark.count
                bytes.removeFirst(begin)
            }
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }) { continue }
            return try text(bytes, at: begin)
        }
        return nil
    }

    private func text(_ bytes: [UInt8], at begin: Int) throws(Fault) -> [UInt8] {
        let value: JSON
        do {
            value = try JSON(parsing: bytes, name: "", base: begin)
        } catch {
            // "'' at byte N: reason" becomes a complaint with the name and the line.
            throw Fault(.badData, "\(quoted(source.name)), line \(line),\(error.message.dropFirst(2))")
        }
        guard let object = value.objectValue else { throw fault(begin, "expected an object") }
        guard let member = object[field] else {
            throw fault(
                begin, "no field \(quoted(field))",
                hint: object.keys.isEmpty
                    ? nil
                    : "--field chooses it; the line has \(object.keys.prefix(8).map(quoted).joined(separator: ", "))")
        }
        guard let text = member.stringValue else { throw fault(begin, "field \(quoted(field)) is no string") }
        return Array(text.utf8)
    }

    private func fault(_ byte: Int, _ reason: String, hint: String? = nil) -> Fault {
        Fault(.badData, "\(quoted(source.name)), line \(line), at byte \(byte): \(reason)", hint: hint)
    }

    /// The line up to `newline` by giving the buffer away: a copy of the few bytes behind it is cheaper than one of the line.
    private func takeLongLine(_ newline: Int) -> [UInt8] {
        let rest = Array(buffer[(newline + 1)...])
        var line = buffer
        buffer = rest
        line.removeSubrange(newline...)
        line.removeFirst(start)
        start = 0
        return line
    }

    /// The next line without its newline.
    private func nextLine() throws(Fault) -> [UInt8]? {
        var searched = start
        while true {
            if let newline = buffer.firstIndex(of: 0x0a, from: searched) {
                if newline - start > inputPieceBytes { return takeLongLine(newline) }
                let line = Array(buffer[start..<newline])
                start = newline + 1
                return line
            }
            if isExhausted {
                if start == buffer.count { return nil }
                let line = Array(buffer[start...])
                start = buffer.count
                return line
            }
            if buffer.count - start > maximumLine {
                throw Fault(
                    .badData,
                    "\(quoted(source.name)), line \(line + 1), at byte \(offset): longer than \(maximumLine) bytes")
            }
            let more = try source.read(upTo: inputPieceBytes)
            isExhausted = more.isEmpty
            if start > 0 {
                buffer.removeFirst(start)
                start = 0
            }
            searched = buffer.count
            buffer.append(contentsOf: more)
        }
    }
}
