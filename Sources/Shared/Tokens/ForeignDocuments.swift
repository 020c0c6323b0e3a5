// Token files of other programs as inputs of an ingest: which reader a format has, and the two formats that are a head and
// plain ids (llm.c and .npy). What each format keeps and loses: docs/formats/foreign-tokens.md.

internal import Bytes
internal import SystemPackage

enum ForeignDocuments {
    /// Opens an input at a place that an earlier reader gave as `nextDocument`.
    static func open(
        _ recipe: IngestRecipe, _ path: String, at position: InputPosition
    ) throws(Fault) -> any DocumentReader {
        let (size, end) = (recipe.vocabularySize, recipe.endOfDocument.map { UInt32($0) })
        switch recipe.format {
        case .llmc: return try llmc(recipe, path, position)
        case .npy: return try npy(recipe, path, position)
        case .megatron:
            return try MegatronDocuments(path, vocabularySize: size, endOfDocument: end, document: position.offset)
        case .datatrove:
            return try DatatroveDocuments(path, vocabularySize: size, endOfDocument: end, document: position.offset)
        case .mds:
            return try MDSDocuments(
                path, column: recipe.field, vocabularySize: size, endOfDocument: end, sample: position.offset)
        case .idsJSONLines:
            return JSONIdDocuments(
                try openInput(path, at: position.offset), field: recipe.field, vocabularySize: size,
                endOfDocument: end, offset: position.offset, line: position.line)
        case .text, .jsonLines, .ids16, .ids32, .idsText: preconditionFailure("\(recipe.format) is our own")
        }
    }

    /// Bytes of the file that says what an input holds, by which a resumed run knows it again.
    static func size(of path: String, _ format: DocumentFormat) throws(Fault) -> Int? {
        switch format {
        case .megatron: return try InputFile(MegatronDocuments.files(path).index).size
        case .datatrove: return try InputFile(FilePath(path)).size
        case .mds:
            if FileSystem.kind(of: FilePath(path)) == .file {
                throw Fault(.usage, "\(quoted(path)) is a file; an MDS input is a directory with an 'index.json'")
            }
            return try InputFile(FilePath(path).appending(MDSIndex.fileName)).size
        default: return try InputFile(FilePath(path)).size
        }
    }

    // MARK: llm.c

    static let llmcHeadBytes = 1024
    /// Magic and version of the two kinds of files, and the type of their ids.
    static let llmcKinds: [(magic: Int32, version: Int32, type: IntegerType)] = [
        (20_240_520, 1, .u16), (20_240_801, 7, .u32),
    ]

    private static func llmc(
        _ recipe: IngestRecipe, _ path: String, _ position: InputPosition
    ) throws(Fault) -> IdDocuments {
        let file = try InputFile(FilePath(path))
        if file.size < llmcHeadBytes {
            throw .badData(path, byte: file.size, "expected a head of \(llmcHeadBytes) bytes, found \(file.size)")
        }
        let head = [Int32](littleEndianBytes: try file.read(at: 0, count: llmcHeadBytes)[...])
        guard let kind = llmcKinds.first(where: { $0.magic == head[0] }) else {
            throw .badData(
                path, byte: 0, "expected an llm.c token file (20240520 or 20240801), found \(head[0])",
                hint: "files without a head are nanogpt")
        }
        if head[1] != kind.version {
            throw .badData(path, byte: 4, "expected version \(kind.version), found \(head[1])")
        }
        if head[2] < 0 { throw .badData(path, byte: 8, "expected a count of ids, found \(head[2])") }
        let end = llmcHeadBytes + Int(head[2]) * kind.type.byteCount
        if end != file.size {
            throw .badData(
                path, byte: min(end, file.size),
                "expected \(head[2]) ids of \(kind.type.byteCount) bytes to end at byte \(end), the file ends at "
                    + "\(file.size)")
        }
        return ids(recipe, file, kind.type, from: llmcHeadBytes, position)
    }

    private static func ids(
        _ recipe: IngestRecipe, _ file: InputFile, _ type: IntegerType, from start: Int, rowTokens: Int? = nil,
        _ position: InputPosition
    ) -> IdDocuments {
        let offset = max(start, position.offset)
        return IdDocuments(
            RangedByteSource(file, offset: offset), type: type, vocabularySize: recipe.vocabularySize,
            endOfDocument: recipe.endOfDocument.map { UInt32($0) }, mustEnd: recipe.tokenizer.canDecode,
            rowTokens: rowTokens, offset: offset)
    }

    // MARK: NumPy

    private static func npy(
        _ recipe: IngestRecipe, _ path: String, _ position: InputPosition
    ) throws(Fault) -> IdDocuments {
        let file = try InputFile(FilePath(path))
        let head = try NumPyHead(file)
        // Rows are documents unless an id says where documents end.
        let rows = recipe.endOfDocument == nil && head.shape.count == 2 ? head.shape[1] : nil
        return ids(recipe, file, head.type, from: head.bytes, rowTokens: rows, position)
    }
}
