// Ids that another program made, as raw u16 or u32. A file is a document; or a document ends with each
// end-of-document id, which stays its last token. Nothing is mapped or dropped: an id at or above the vocabulary size
// is refused with its byte.

internal import Bytes

final class IdDocuments: DocumentReader {
    private let source: any ByteSource
    private let wide: Bool
    private let vocabularySize: Int
    private let endOfDocument: UInt32?
    private let mustEnd: Bool
    private var offset: Int
    /// Ids that were read and checked and not handed out yet.
    private var pending: ArraySlice<UInt32> = []
    private var hasContent = false
    private var isFinished = false
    private(set) var nextDocument: (offset: Int, line: Int)?

    /// - Parameter mustEnd: whether an input whose last document lacks its end-of-document id is refused.
    init(
        _ source: any ByteSource, wide: Bool, vocabularySize: Int, endOfDocument: UInt32?, mustEnd: Bool, offset: Int
    ) {
        self.source = source
        self.wide = wide
        self.vocabularySize = vocabularySize
        self.endOfDocument = endOfDocument
        self.mustEnd = mustEnd
        self.offset = offset
    }

    func next() throws(Fault) -> DocumentPiece? {
        if isFinished { return nil }
        if pending.isEmpty { try fill() }
        let size = wide ? 4 : 2
        if pending.isEmpty {
            isFinished = true
            // An empty file is an empty document only where a file is a document.
            if endOfDocument != nil && !hasContent { return nil }
            if mustEnd, let endOfDocument {
                throw .badData(
                    source.name, byte: offset,
                    "expected the end-of-document id \(endOfDocument) at the end of the last document",
                    hint: "the input was cut short, or its documents do not end with that id")
            }
            nextDocument = endOfDocument == nil ? nil : (offset, 0)
            return DocumentPiece(content: [], endsDocument: true)
        }
        var end = pending.endIndex
        var endsDocument = false
        if let endOfDocument, let found = pending.firstIndex(of: endOfDocument) {
            end = found + 1
            endsDocument = true
        }
        let ids = pending[..<end]
        pending = pending[end...]
        offset += ids.count * size
        hasContent = !endsDocument
        nextDocument = (offset, 0)
        return DocumentPiece(
            content: storedIds(Array(ids), vocabularySize: vocabularySize), endsDocument: endsDocument)
    }

    private func fill() throws(Fault) {
        let bytes = try source.read(filling: inputPieceBytes)
        let size = wide ? 4 : 2
        if bytes.count % size != 0 {
            throw .badData(
                source.name, byte: offset + bytes.count - bytes.count % size,
                "expected ids of \(size) bytes, found \(bytes.count % size) left over at the end")
        }
        let ids =
            wide
            ? [UInt32](littleEndianBytes: bytes[...]) : [UInt16](littleEndianBytes: bytes[...]).map(UInt32.init(_:))
        if let wrong = ids.firstIndex(where: { Int($0) >= vocabularySize }) {
            throw .badData(
                source.name, byte: offset + wrong * size,
                "id \(ids[wrong]) is not below the vocabulary size \(vocabularySize)")
        }
        pending = ids[...]
    }
}

/// Ids as a dataset of this vocabulary stores them.
func storedIds(_ ids: [UInt32], vocabularySize: Int) -> [UInt8] {
    TokenType(vocabularySize: vocabularySize) == .u16
        ? ids.map { UInt16(truncatingIfNeeded: $0) }.littleEndianBytes : ids.littleEndianBytes
}
