// Ids that another program made, one integer after the other. A file is a document; or a document ends with each
// end-of-document id, which stays its last token; or a document is a row of so many ids. Nothing is mapped or dropped: an
// id at or above the vocabulary size is refused with its byte.

internal import Bytes

final class IdDocuments: DocumentReader {
    private let source: any ByteSource
    private let type: IntegerType
    private let vocabularySize: Int
    private let endOfDocument: UInt32?
    private let mustEnd: Bool
    private let rowTokens: Int?
    private var offset: Int
    /// Ids that were read and checked and not handed out yet.
    private var pending: ArraySlice<UInt32> = []
    private var hasContent = false
    /// Ids that the current row still wants.
    private var rowLeft: Int
    private var isFinished = false
    private(set) var nextDocument: (offset: Int, line: Int)?

    /// - Parameters:
    ///   - mustEnd: whether an input whose last document lacks its end-of-document id is refused.
    ///   - rowTokens: ids of every document; nil when documents are cut otherwise.
    init(
        _ source: any ByteSource, type: IntegerType, vocabularySize: Int, endOfDocument: UInt32?, mustEnd: Bool,
        rowTokens: Int? = nil, offset: Int
    ) {
        self.source = source
        self.type = type
        self.rowTokens = rowTokens
        rowLeft = rowTokens ?? 0
        self.vocabularySize = vocabularySize
        self.endOfDocument = endOfDocument
        self.mustEnd = mustEnd
        self.offset = offset
    }

    func next() throws(Fault) -> DocumentPiece? {
        if isFinished { return nil }
        if pending.isEmpty { try fill() }
        let size = type.byteCount
        if pending.isEmpty {
            isFinished = true
            // An empty file is an empty document only where a file is a document.
            if (endOfDocument != nil || rowTokens != nil) && !hasContent { return nil }
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
        } else if let rowTokens {
            end = pending.startIndex + min(rowLeft, pending.count)
            rowLeft -= end - pending.startIndex
            endsDocument = rowLeft == 0
            if endsDocument { rowLeft = rowTokens }
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
        let size = type.byteCount
        if bytes.count % size != 0 {
            throw .badData(
                source.name, byte: offset + bytes.count - bytes.count % size,
                "expected ids of \(size) bytes, found \(bytes.count % size) left over at the end")
        }
        let ids = try type.ids(bytes[...], below: vocabularySize, name: source.name, byte: offset)
        pending = ids[...]
    }
}

/// Ids as a dataset of this vocabulary stores them.
func storedIds(_ ids: [UInt32], vocabularySize: Int) -> [UInt8] {
    TokenType(vocabularySize: vocabularySize).stored(ids[...])
}
