// datatrove's `X.ds` with `X.ds.index` (docs/formats/foreign-tokens.md): ids of two or four bytes, and where documents end.
// The width follows from the two sizes, so that nobody has to be asked.

internal import Bytes
internal import SystemPackage

final class DatatroveDocuments: DocumentReader {
    private let file: InputFile
    private let indexName: String
    private let type: IntegerType
    private let endOfDocument: UInt32?
    private var ends: IntegerColumn
    private var run: TokenRun
    private var document: Int
    private var isOpen = false
    private(set) var nextDocument: (offset: Int, line: Int)?

    /// - Parameter document: the first one to read.
    init(_ path: String, vocabularySize: Int, endOfDocument: UInt32?, document: Int) throws(Fault) {
        file = try InputFile(FilePath(path))
        let index = try InputFile(FilePath(path + ".index"))
        indexName = index.name
        if index.size % 8 != 0 {
            throw .badData(
                index.name, byte: index.size - index.size % 8,
                "expected document ends of 8 bytes, found \(index.size % 8) left over at the end")
        }
        ends = IntegerColumn(index, at: 0, count: index.size / 8, type: .u64)
        let tokens = ends.count == 0 ? 0 : try ends.value(ends.count - 1)
        // 2 × tokens cannot overflow once they are not more than the file has bytes.
        switch file.size {
        case _ where tokens > file.size: type = .u8
        case 2 * tokens: type = .u16
        case 4 * tokens: type = .u32
        default: type = .u8
        }
        if type == .u8 {
            throw .badData(
                index.name, byte: max(0, index.size - 8),
                "the last document ends at id \(tokens), which fits the \(file.size) bytes of \(quoted(path)) neither "
                    + "with 2 bytes an id nor with 4")
        }
        self.endOfDocument = endOfDocument
        self.document = document
        run = TokenRun(file, type: type, vocabularySize: vocabularySize)
    }

    func next() throws(Fault) -> DocumentPiece? {
        if document >= ends.count { return nil }
        if !isOpen {
            let (begin, end) = (document == 0 ? 0 : try ends.value(document - 1), try ends.value(document))
            if begin > end || end > file.size / type.byteCount {
                throw .badData(
                    indexName, byte: ends.byte(document),
                    "expected document \(document) to end from id \(begin) to \(file.size / type.byteCount), found \(end)"
                )
            }
            run = TokenRun(file, type: type, vocabularySize: run.vocabularySize)
            run.move(to: begin * type.byteCount, count: end - begin)
            isOpen = true
        }
        let ids = try run.next()
        let endsDocument = run.left == 0
        if endsDocument {
            try run.requireLast(endOfDocument, document: document)
            document += 1
            isOpen = false
            nextDocument = (document, 0)
        }
        return DocumentPiece(content: ids, endsDocument: endsDocument)
    }
}
