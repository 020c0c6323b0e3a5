// Decides what becomes of each document: which dataset it goes to, or why it is left out. Documents come in pieces of
// stored ids, in the order of the input; those that stay go on to the frames, or first to the shuffle.
//
// The side of a document (`--validation`) must be known before its first byte goes out and may not need the whole of
// it in memory: it follows from the first 65,536 bytes of its stored ids (docs/formats/dataset.md). No seed, no
// counter: a document lands on the same side in every run, and identical documents on the same one. A limit of length
// and the search for duplicates need the whole document: it waits (`HeldDocument`) until its end is there.

internal import Bytes
internal import SystemPackage

struct DocumentSelector {
    private let recipe: IngestRecipe
    private let type: TokenType
    private let directory: FilePath
    private let starts: [ResumePoint]
    private var cutters: [FrameCutter]
    private var shuffle: DocumentShuffle?
    private var seen: DigestSet?
    /// Of each side, without empty documents.
    private var leftOut: [LeftOut]
    /// Documents with tokens that have come, over all inputs.
    private var document: Int
    // The current document:
    private var held: HeldDocument
    private var bytes = 0
    private var side: Int?
    private var isPassing = false
    private var isTooLong = false
    private var hasher = DigestHasher()

    static let hashedBytes = 65_536

    /// - Parameters:
    ///   - first: where reading begins.
    ///   - sides: where each dataset goes on.
    ///   - directory: for temporary files.
    init(_ recipe: IngestRecipe, from first: ResumePoint, sides: [ResumePoint], directory: FilePath) throws(Fault) {
        self.recipe = recipe
        let type = TokenType(vocabularySize: recipe.vocabularySize)
        self.type = type
        self.directory = directory
        starts = sides
        cutters = sides.map { _ in
            FrameCutter(
                type: type, shardTokens: recipe.shardTokens,
                rankedVocabulary: recipe.transform == .rank ? recipe.vocabularySize : nil)
        }
        if let seed = recipe.shuffleSeed {
            shuffle = DocumentShuffle(
                seed: seed, part: recipe.part?.index ?? 0, memory: recipe.shuffleMemory, directory: directory)
        }
        seen = recipe.deduplication == nil ? nil : DigestSet()
        leftOut = first.leftOut.isEmpty ? sides.map { _ in LeftOut() } : first.leftOut
        document = first.document
        held = HeldDocument(directory: directory)
    }

    /// A frame that is ready.
    mutating func takeFrame() -> (side: Int, frame: RawFrame)? {
        for side in cutters.indices where !cutters[side].finished.isEmpty {
            return (side, cutters[side].finished.removeFirst())
        }
        return nil
    }

    /// The next piece of the stream.
    mutating func take(_ stored: ArraySlice<UInt8>, end: DocumentEnd?) throws(Fault) {
        bytes += stored.count
        if isPassing {
            try pass(stored)
        } else if bytes > 0 {
            if seen != nil && !isTooLong { hasher.update(Array(stored)) }
            // What is too long is kept only until its side is known.
            if !isTooLong || side == nil { try held.append(stored) }
            try decide(isLast: end != nil)
        }
        if let end { try finish(end) }
    }

    private mutating func decide(isLast: Bool) throws(Fault) {
        if side == nil {
            if recipe.validation == nil {
                side = 0
            } else if isLast || bytes >= DocumentSelector.hashedBytes {
                side = DocumentSelector.side(
                    of: try held.prefix(DocumentSelector.hashedBytes), validation: recipe.validation ?? 0)
            }
        }
        if let most = recipe.maximumTokens, bytes / type.byteCount > most { isTooLong = true }
        if side == nil { return }
        if isTooLong { return try held.removeAll() }
        if seen == nil && recipe.maximumTokens == nil && bytes / type.byteCount >= recipe.minimumTokens ?? 0 {
            try release()
        }
    }

    /// The document stays: what was held of it goes on, and so does the rest.
    private mutating func release() throws(Fault) {
        isPassing = true
        shuffle?.beginDocument(document, side: side ?? 0)
        var waiting = held
        held = HeldDocument(directory: directory)
        try waiting.release { (stored: ArraySlice<UInt8>) throws(Fault) in try pass(stored) }
        held = waiting
    }

    /// Whether no finished shard has the current document; one that has is read and not written again.
    private var isNew: Bool { side.map { document >= starts[$0].document } ?? false }

    private mutating func pass(_ stored: ArraySlice<UInt8>) throws(Fault) {
        if let shuffle {
            try shuffle.append(stored)
        } else if let side, isNew {
            cutters[side].append(stored)
        }
    }

    private mutating func finish(_ end: DocumentEnd) throws(Fault) {
        defer { reset() }
        if end.isEmpty { return }
        precondition(end.next.document == document + 1, "document \(document) is followed by \(end.next.document)")
        if !isPassing {
            if let reason = verdict() {
                leftOut[side ?? 0][reason].documents += 1
                leftOut[side ?? 0][reason].tokens += bytes / type.byteCount
                try held.removeAll()
                document += 1
                return
            }
            try release()
        }
        if let shuffle {
            try shuffle.endDocument()
        } else if let side, isNew {
            var next = end.next
            next.leftOut = leftOut
            cutters[side].endDocument(next)
        }
        document += 1
    }

    /// Why the current document, which has ended, is left out; nil when it stays.
    private mutating func verdict() -> LeftOut.Reason? {
        if isTooLong { return .tooLong }
        if bytes / type.byteCount < recipe.minimumTokens ?? 0 { return .tooShort }
        if let isFirst = seen?.insert(hasher.finish()), !isFirst { return .duplicate }
        return nil
    }

    private mutating func reset() {
        bytes = 0
        side = nil
        isPassing = false
        isTooLong = false
        if seen != nil { hasher = DigestHasher() }
    }

    /// The end of the input with the counts.
    func counted(_ end: ResumePoint) -> ResumePoint {
        var end = end
        end.leftOut = leftOut
        return end
    }

    /// After the last piece: goes on with what is left to do. False when everything has gone into frames.
    mutating func advance(_ end: ResumePoint) throws(Fault) -> Bool {
        if let shuffle {
            if let piece = try shuffle.next() {
                // Places of a shuffled dataset are counted in its own order; the input is read again from its beginning.
                let isNew = piece.document >= starts[piece.side].document
                if isNew { cutters[piece.side].append(piece.stored) }
                if isNew && piece.endsDocument {
                    cutters[piece.side].endDocument(
                        ResumePoint(
                            document: piece.document + 1, emptyDocuments: end.emptyDocuments, leftOut: leftOut))
                }
                return true
            }
            self.shuffle = nil
        } else if cutters.isEmpty {
            return false
        }
        for index in cutters.indices { cutters[index].finish(counted(end)) }
        let isDone = cutters.allSatisfy(\.finished.isEmpty)
        if isDone { cutters = [] }
        return !isDone
    }

    /// 1 (validation) when the first 53 bits of the SHA-256 of the stored ids' first 65,536 bytes, as a fraction of
    /// 2^53, are below `validation`.
    static func side(of stored: [UInt8], validation: Double) -> Int {
        let digest = Digest.of(Array(stored.prefix(hashedBytes))).bytes
        let value = digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } >> 11
        return Double(value) < validation * 9_007_199_254_740_992 ? 1 : 0
    }
}
