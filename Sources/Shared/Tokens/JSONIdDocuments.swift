// JSON Lines of ids: an array of integers a line, or an object with one under a field. Read in pieces: a line may be longer
// than memory, and other fields are passed over.

internal import Bytes

final class JSONIdDocuments: DocumentReader {
    private let source: any ByteSource
    private let field: String
    private let vocabularySize: Int
    private let endOfDocument: UInt32?
    private var reader: JSONReader
    /// The line that the last value ended on; the next one begins on another.
    private var lastLine: Int
    private var isAtStart: Bool
    private var isOpen = false
    private var isInObject = false
    private var document = 0
    private var last: (id: UInt32, byte: Int)?
    private(set) var nextDocument: (offset: Int, line: Int)?
    private static let idsAtOnce = inputPieceBytes / 4

    init(
        _ source: any ByteSource, field: String, vocabularySize: Int, endOfDocument: UInt32?, offset: Int, line: Int
    ) {
        self.source = source
        self.field = field
        self.vocabularySize = vocabularySize
        self.endOfDocument = endOfDocument
        reader = JSONReader(source, base: offset, line: line)
        isAtStart = offset == 0
        lastLine = isAtStart ? -1 : line
    }

    func next() throws(Fault) -> DocumentPiece? {
        if !isOpen, try !open() { return nil }
        var ids: [UInt32] = []
        while ids.count < JSONIdDocuments.idsAtOnce {
            guard try reader.nextElement() else {
                try close()
                return DocumentPiece(content: storedIds(ids, vocabularySize: vocabularySize), endsDocument: true)
            }
            _ = try reader.nextToken()
            let byte = reader.offset
            guard let id = try reader.integer() else { throw fault(byte, "expected an integer of 64 bits") }
            if id < 0 { throw fault(byte, "id \(id) is negative") }
            if id >= vocabularySize {
                throw fault(byte, "id \(id) is not below the vocabulary size \(vocabularySize)")
            }
            ids.append(UInt32(id))
            last = (UInt32(id), byte)
        }
        return DocumentPiece(content: storedIds(ids, vocabularySize: vocabularySize), endsDocument: false)
    }

    /// Goes to the ids of the next line. False at the end.
    private func open() throws(Fault) -> Bool {
        if isAtStart { _ = try reader.skip([0xef, 0xbb, 0xbf]) }  // a byte order mark
        isAtStart = false
        guard let byte = try reader.nextToken() else { return false }
        if reader.line == lastLine { throw fault(reader.offset, "expected a newline after the value before") }
        last = nil
        isInObject = byte == UInt8(ascii: "{")
        if isInObject {
            let begin = reader.offset
            try reader.beginObject()
            guard try findField() else {
                throw fault(begin, "no field \(quoted(field))", hint: "--field chooses it")
            }
        }
        guard try reader.nextToken() == UInt8(ascii: "[") else {
            throw fault(reader.offset, "expected an array of ids")
        }
        try reader.beginArray()
        isOpen = true
        return true
    }

    /// Reads on to the value of the field; false at the object's end.
    private func findField() throws(Fault) -> Bool {
        while let key = try reader.nextKey() {
            if key == field { return true }
            try reader.skipValue()
        }
        return false
    }

    private func close() throws(Fault) {
        if isInObject, try findField() { throw fault(reader.keyOffset, "duplicate key \(quoted(field))") }
        if let endOfDocument, let last, last.id != endOfDocument {
            throw fault(
                last.byte, "expected the line to end with the end-of-document id \(endOfDocument), found \(last.id)")
        }
        isOpen = false
        lastLine = reader.line
        nextDocument = (reader.offset, reader.line)
    }

    private func fault(_ byte: Int, _ reason: String, hint: String? = nil) -> Fault {
        Fault(.badData, "\(quoted(source.name)), line \(reader.line + 1), at byte \(byte): \(reason)", hint: hint)
    }
}
