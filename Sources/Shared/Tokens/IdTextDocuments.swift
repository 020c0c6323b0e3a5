// Ids as decimal text, a document a line, separated by blanks: what other tools print and people write by hand. Read
// byte by byte with a small state, so that a line may be longer than memory.

internal import Bytes

final class IdTextDocuments: DocumentReader {
    private let source: any ByteSource
    private let vocabularySize: Int
    private var buffer: [UInt8] = []
    private var position = 0
    private var offset: Int
    private var line: Int
    /// The id being read and the byte it begins at; nil between ids.
    private var id: (value: Int, byte: Int)?
    private var lineHasBytes = false
    private(set) var nextDocument: (offset: Int, line: Int)?

    init(_ source: any ByteSource, vocabularySize: Int, offset: Int, line: Int) {
        self.source = source
        self.vocabularySize = vocabularySize
        self.offset = offset
        self.line = line
    }

    func next() throws(Fault) -> DocumentPiece? {
        if position == buffer.count {
            buffer = try source.read(upTo: inputPieceBytes)
            position = 0
            if buffer.isEmpty && !lineHasBytes { return nil }
        }
        var ids: [UInt32] = []
        if buffer.isEmpty {  // the last line has no newline
            try finishId(&ids)
            return end(ids)
        }
        while position < buffer.count {
            let byte = buffer[position]
            position += 1
            offset += 1
            switch byte {
            case 0x30...0x39:
                let value = (id?.value ?? 0) * 10 + Int(byte - 0x30)
                id = (min(value, 1 << 53), id?.byte ?? offset - 1)
                lineHasBytes = true
            case 0x20, 0x09, 0x0d, 0x0a:
                try finishId(&ids)
                lineHasBytes = lineHasBytes || byte == 0x20 || byte == 0x09
                if byte == 0x0a {
                    line += 1
                    return end(ids)
                }
            default: throw fault(offset - 1, "expected decimal ids and blanks, found byte 0x\(hexadecimal([byte]))")
            }
        }
        return DocumentPiece(content: storedIds(ids, vocabularySize: vocabularySize), endsDocument: false)
    }

    private func finishId(_ ids: inout [UInt32]) throws(Fault) {
        guard let (value, byte) = id else { return }
        if value >= vocabularySize {
            throw fault(byte, "id \(value) is not below the vocabulary size \(vocabularySize)")
        }
        ids.append(UInt32(value))
        id = nil
    }

    private func end(_ ids: [UInt32]) -> DocumentPiece {
        lineHasBytes = false
        nextDocument = (offset, line)
        return DocumentPiece(content: storedIds(ids, vocabularySize: vocabularySize), endsDocument: true)
    }

    private func fault(_ byte: Int, _ reason: String) -> Fault {
        Fault(.badData, "\(quoted(source.name)), line \(line + 1), at byte \(byte): \(reason)")
    }
}
