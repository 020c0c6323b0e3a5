// The inputs of an ingest as one stream of documents in pieces, each end with the place at which a later run may go on.

internal import Bytes

/// A part of a document, and where it comes from.
struct StreamPiece: Sendable {
    var content: [UInt8]
    /// Index of the input.
    var input: Int
    /// Set on the last piece of a document.
    var end: DocumentEnd?
}

/// The end of a document.
struct DocumentEnd: Sendable {
    /// Whether the document had no byte.
    var isEmpty: Bool
    /// What comes after it.
    var next: ResumePoint
}

struct DocumentStream {
    private let recipe: IngestRecipe
    private var position: InputPosition
    private var reader: (any DocumentReader)?
    private var document: Int
    private var emptyDocuments: Int
    private var hasContent = false

    init(_ recipe: IngestRecipe, from first: ResumePoint) {
        self.recipe = recipe
        position = first.position
        document = first.document
        emptyDocuments = first.emptyDocuments
    }

    /// Where the input has been read up to: after `next` gave nil, its end.
    var end: ResumePoint { ResumePoint(document: document, emptyDocuments: emptyDocuments, position: position) }

    /// Reads one more piece; nil at the end of all inputs. May give a piece of nothing, so that the caller can look
    /// around between two inputs.
    mutating func next() throws(Fault) -> StreamPiece? {
        guard position.input < recipe.inputs.count else { return nil }
        let input = position.input
        if reader == nil { reader = try openReader() }
        guard let piece = try reader?.next() else {
            nextInput()
            return StreamPiece(content: [], input: input)
        }
        hasContent = hasContent || !piece.content.isEmpty
        guard piece.endsDocument else { return StreamPiece(content: piece.content, input: input) }
        if let next = reader?.nextDocument {
            position.offset = next.offset
            position.line = next.line
        } else {
            nextInput()
        }
        if hasContent { document += 1 } else { emptyDocuments += 1 }
        defer { hasContent = false }
        return StreamPiece(
            content: piece.content, input: input, end: DocumentEnd(isEmpty: !hasContent, next: end))
    }

    private mutating func nextInput() {
        position = InputPosition(input: position.input + 1)
        reader = nil
    }

    private func openReader() throws(Fault) -> any DocumentReader {
        if recipe.format.isForeign {
            return try ForeignDocuments.open(recipe, recipe.inputs[position.input], at: position)
        }
        let source = try openInput(recipe.inputs[position.input], at: position.offset)
        let (offset, line) = (position.offset, position.line)
        switch recipe.format {
        case .text:
            if let separator = recipe.separator {
                return SeparatedDocuments(source, separator: Array(separator.utf8), offset: offset, line: line)
            }
            return WholeFileDocument(source)
        case .jsonLines: return JSONLineDocuments(source, field: recipe.field, offset: offset, line: line)
        case .ids16, .ids32:
            return IdDocuments(
                source, type: recipe.format == .ids32 ? .u32 : .u16, vocabularySize: recipe.vocabularySize,
                endOfDocument: recipe.endOfDocument.map(UInt32.init),
                // With its tokenizer a dataset promises that every document ends with that id (`verify` looks).
                mustEnd: recipe.tokenizer.canDecode, offset: offset)
        case .idsText:
            return IdTextDocuments(source, vocabularySize: recipe.vocabularySize, offset: offset, line: line)
        case .idsJSONLines, .llmc, .npy, .megatron, .datatrove, .mds: preconditionFailure("opened above")
        }
    }
}
