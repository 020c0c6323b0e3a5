// The reading side of an ingest: inputs → documents → ids → sides → frames, pulled one step at a time by the thread
// that feeds the workers.
//
// The side of a document (`--validation`) must be known before its first byte goes out and may not need the whole of
// it in memory: it follows from the first 65,536 bytes of its stored ids (docs/formats/dataset.md). No seed, no
// counter: a document lands on the same side in every run, and identical documents on the same one.

internal import Bytes

struct FrameStream {
    private let recipe: IngestRecipe
    private let encoder: (any TextEncoder)?
    private let endOfDocument: [UInt8]
    private let starts: [ResumePoint]
    private var cutters: [FrameCutter]
    private var position: InputPosition
    private var reader: (any DocumentReader)?
    private var isExhausted = false
    /// The current document.
    private var document: Int
    private var emptyDocuments: Int
    private var hasContent = false
    private var side: Int?
    private var prefix: [UInt8] = []

    static let hashedBytes = 65_536

    /// - Parameter sides: where each dataset goes on.
    init(_ recipe: IngestRecipe, tokenizer: (any Tokenizer)?, sides: [ResumePoint]) throws(Fault) {
        self.recipe = recipe
        encoder = try tokenizer?.makeEncoder(allowSpecial: recipe.allowsSpecial)
        let type = TokenType(vocabularySize: recipe.vocabularySize)
        if encoder != nil, let id = recipe.tokenizer.endOfDocument {
            endOfDocument = storedIds([UInt32(id)], vocabularySize: recipe.vocabularySize)
        } else {
            endOfDocument = []
        }
        starts = sides
        cutters = sides.map { _ in FrameCutter(type: type, shardTokens: recipe.shardTokens) }
        let first = sides.min { $0.document < $1.document } ?? ResumePoint()
        position = first.position
        document = first.document
        emptyDocuments = first.emptyDocuments
    }

    /// Where the input has been read up to: after `advance` gave false, its end.
    var end: ResumePoint { ResumePoint(document: document, emptyDocuments: emptyDocuments, position: position) }

    /// A frame that is ready.
    mutating func takeFrame() -> (side: Int, frame: RawFrame)? {
        for side in cutters.indices where !cutters[side].finished.isEmpty {
            return (side, cutters[side].finished.removeFirst())
        }
        return nil
    }

    /// Reads one more piece. False when there is nothing left to read.
    mutating func advance() throws(Fault) -> Bool {
        if isExhausted { return false }
        guard position.input < recipe.inputs.count else {
            isExhausted = true
            for index in cutters.indices { cutters[index].finish(end) }
            return true
        }
        if reader == nil { reader = try openReader() }
        guard let piece = try reader?.next() else {
            nextInput()
            return true
        }
        try take(piece)
        return true
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

    private mutating func take(_ piece: DocumentPiece) throws(Fault) {
        hasContent = hasContent || !piece.content.isEmpty
        var stored = piece.content
        if let encoder {
            do throws(Fault) {
                stored = try encoder.encode(stored, endsDocument: piece.endsDocument)
            } catch {
                throw .badData(recipe.inputs[position.input], error.message)
            }
        }
        emit(stored, isLast: false)
        if piece.endsDocument { emit(hasContent ? endOfDocument : [], isLast: true) }
        guard piece.endsDocument else { return }
        if let next = reader?.nextDocument {
            position.offset = next.offset
            position.line = next.line
        } else {
            nextInput()
        }
        if hasContent {
            document += 1
            if let side, document > starts[side].document { cutters[side].endDocument(end) }
        } else {
            emptyDocuments += 1
        }
        hasContent = false
        side = nil
    }

    private mutating func emit(_ stored: [UInt8], isLast: Bool) {
        if side != nil {
            pass(stored)
            return
        }
        if recipe.validation == nil {
            side = 0
            pass(stored)
            return
        }
        prefix += stored
        if prefix.count >= FrameStream.hashedBytes || isLast {
            side = FrameStream.side(of: prefix, validation: recipe.validation ?? 0)
            pass(prefix)
            prefix = []
        }
    }

    private mutating func pass(_ stored: [UInt8]) {
        // A document that this side's finished shards hold already is read and not written again.
        if let side, document >= starts[side].document { cutters[side].append(stored) }
    }

    /// 1 (validation) when the first 53 bits of the SHA-256 of the stored ids' first 65,536 bytes, as a fraction of
    /// 2^53, are below `validation`.
    static func side(of stored: [UInt8], validation: Double) -> Int {
        let digest = Digest.of(Array(stored.prefix(hashedBytes))).bytes
        let value = digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } >> 11
        return Double(value) < validation * 9_007_199_254_740_992 ? 1 : 0
    }
}
