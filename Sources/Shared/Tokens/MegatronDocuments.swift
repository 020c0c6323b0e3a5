// Megatron-LM's pair of files (docs/formats/foreign-tokens.md): ids in `.bin`, and in `.idx` where sequences lie and which
// sequences make a document. Neither file is read whole: an index of a billion documents is 20 GB.

internal import Bytes
internal import SystemPackage

/// The head of an `.idx` file, checked against its size.
struct MegatronIndex {
    static let magic = Array("MMIDIDX\0\0".utf8)
    static let headBytes = 34
    /// Codes of the types that hold ids; 6 and 7 are floating point.
    static let types: [UInt8: IntegerType] = [1: .u8, 2: .i8, 3: .i16, 4: .i32, 5: .i64, 8: .u16]

    let type: IntegerType
    /// Tokens of each sequence.
    var lengths: IntegerColumn
    /// Byte of each sequence in `.bin`.
    var offsets: IntegerColumn
    /// Sequences before each document, then all of them.
    var documents: IntegerColumn

    init(_ file: InputFile) throws(Fault) {
        let head = try file.read(at: 0, count: min(MegatronIndex.headBytes, file.size))
        guard head.starts(with: MegatronIndex.magic) else {
            throw .badData(file.name, byte: 0, "expected a Megatron index (MMIDIDX), found something else")
        }
        guard head.count == MegatronIndex.headBytes, let version: UInt64 = head.littleEndian(at: 9),
            let sequences: UInt64 = head.littleEndian(at: 18), let documents: UInt64 = head.littleEndian(at: 26)
        else { throw .badData(file.name, byte: head.count, "the index ends inside its head") }
        if version != 1 { throw .badData(file.name, byte: 9, "expected version 1, found \(version)") }
        guard let type = MegatronIndex.types[head[17]] else {
            throw .badData(file.name, byte: 17, "type \(head[17]) holds no ids")
        }
        // Both counts are below the size of the file before anything is multiplied.
        let size = UInt64(file.size)
        let rest = sequences <= size && documents <= size ? Int(12 * sequences + 8 * documents) + head.count : Int.max
        // Newer writers append a mode byte for each sequence.
        if documents < 1 || file.size != rest && file.size - rest != Int(clamping: sequences) {
            throw .badData(
                file.name, byte: 18,
                "an index of \(sequences) sequences and \(documents) document borders does not fill \(file.size) bytes")
        }
        let (count, borders) = (Int(sequences), Int(documents))
        self.type = type
        lengths = IntegerColumn(file, at: head.count, count: count, type: .i32)
        offsets = IntegerColumn(file, at: head.count + 4 * count, count: count, type: .i64)
        self.documents = IntegerColumn(file, at: head.count + 12 * count, count: borders, type: .i64)
        let (first, last) = (try self.documents.value(0), try self.documents.value(borders - 1))
        if first != 0 || last != count {
            throw .badData(
                file.name, byte: self.documents.byte(0),
                "expected documents of sequences 0 to \(count), found \(first) to \(last)")
        }
    }
}

final class MegatronDocuments: DocumentReader {
    private let indexName: String
    private let file: InputFile
    private let endOfDocument: UInt32?
    private var index: MegatronIndex
    private var run: TokenRun
    private var document: Int
    /// Sequences of the current document that have not begun; nil between documents.
    private var sequences: Range<Int>?
    private(set) var nextDocument: (offset: Int, line: Int)?

    /// - Parameters:
    ///   - path: of `.bin` or `.idx`, or both without the ending.
    ///   - document: the first one to read.
    init(_ path: String, vocabularySize: Int, endOfDocument: UInt32?, document: Int) throws(Fault) {
        let files = MegatronDocuments.files(path)
        indexName = files.index.string
        file = try InputFile(files.tokens)
        index = try MegatronIndex(try InputFile(files.index))
        run = TokenRun(file, type: index.type, vocabularySize: vocabularySize)
        self.endOfDocument = endOfDocument
        self.document = document
        var tokens = 0
        for sequence in 0..<index.lengths.count { tokens += try index.lengths.value(sequence) }
        if tokens > file.size || tokens * index.type.byteCount != file.size {
            throw .badData(
                indexName, byte: MegatronIndex.headBytes,
                "its sequences have \(tokens) ids of \(index.type.byteCount) bytes, \(quoted(file.name)) has "
                    + "\(file.size) bytes")
        }
    }

    static func files(_ path: String) -> (tokens: FilePath, index: FilePath) {
        let stem = path.hasSuffix(".bin") || path.hasSuffix(".idx") ? String(path.dropLast(4)) : path
        return (FilePath(stem + ".bin"), FilePath(stem + ".idx"))
    }

    func next() throws(Fault) -> DocumentPiece? {
        if document + 1 >= index.documents.count { return nil }
        if sequences == nil {
            let (low, high) = (try index.documents.value(document), try index.documents.value(document + 1))
            if low > high || high > index.lengths.count {
                throw .badData(
                    indexName, byte: index.documents.byte(document),
                    "document \(document) has sequences \(low) to \(high) of \(index.lengths.count)")
            }
            sequences = low..<high
            run = TokenRun(file, type: index.type, vocabularySize: run.vocabularySize)
        }
        while run.left == 0, let range = sequences, let sequence = range.first {
            let (count, byte) = (try index.lengths.value(sequence), try index.offsets.value(sequence))
            if byte > file.size || count > (file.size - byte) / index.type.byteCount {
                throw .badData(
                    indexName, byte: index.offsets.byte(sequence),
                    "sequence \(sequence) of \(count) ids at byte \(byte) does not lie in the \(file.size) bytes of "
                        + quoted(file.name))
            }
            run.move(to: byte, count: count)
            sequences = range.dropFirst()
        }
        let ids = try run.next()
        let endsDocument = run.left == 0 && sequences?.isEmpty == true
        if endsDocument {
            try run.requireLast(endOfDocument, document: document)
            document += 1
            sequences = nil
            nextDocument = (document, 0)
        }
        return DocumentPiece(content: ids, endsDocument: endsDocument)
    }
}
