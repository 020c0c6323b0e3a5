// Text on its way to the workers that encode it, about 256 KiB at once: many small documents, or a part of a large one.
// A large document is cut where its ids cannot notice (`Tokenizer.safeCut`), and its parts are encoded at the same time.
// Where there is no such place the parts go through one encoder in their order: the strand.

internal import Bytes

/// A job for a worker: stretches of text, each encoded apart.
struct TextBatch: Sendable {
    struct Stretch: Sendable {
        /// Where it ends in `text`; it begins where the one before ends.
        var end: Int
        /// Index of the input, for complaints.
        var input: Int
        /// Whether a text ends here, so that nothing is held back.
        var endsText: Bool
        /// Set where a document ends.
        var document: DocumentEnd?
    }

    var text: [UInt8] = []
    var stretches: [Stretch] = []
    /// Its place in the line for the strand; nil when any encoder will do.
    var strand: Int?
}

/// What became of a batch: the ids of each stretch in stored form, with the end-of-document id where a document ends.
struct EncodedBatch: Sendable {
    var stored: [UInt8]
    var pieces: [(end: Int, document: DocumentEnd?)]
}

/// Makes batches of pieces.
struct TextBatcher {
    private let tokenizer: any Tokenizer
    private let allowsSpecial: Bool
    private var batch = TextBatch()
    /// Of the piece that came last.
    private var input = 0
    private var strandBatches = 0
    /// Whether the text at the end of `batch` goes on from one that the strand has.
    private var isOnStrand = false
    private(set) var ready: [TextBatch] = []

    /// A batch is sent off when it has as much text.
    static let batchBytes = 1 << 18
    /// The most text without a safe cut that is held together.
    static let uncutBytes = 1 << 20

    init(_ tokenizer: any Tokenizer, allowsSpecial: Bool) {
        self.tokenizer = tokenizer
        self.allowsSpecial = allowsSpecial
    }

    mutating func take() -> TextBatch? { ready.isEmpty ? nil : ready.removeFirst() }

    mutating func add(_ piece: StreamPiece) {
        input = piece.input
        batch.text += piece.content
        if let end = piece.end {
            batch.stretches.append(
                TextBatch.Stretch(end: batch.text.count, input: input, endsText: true, document: end))
            if isOnStrand { leaveStrand() } else if batch.text.count >= TextBatcher.batchBytes { send() }
            return
        }
        if isOnStrand || batch.text.count >= TextBatcher.batchBytes { cutOpenText() }
    }

    /// Sends what is there: at the end of the input.
    mutating func flush() { send() }

    /// Where the text begins that has no end yet.
    private var openStart: Int { batch.stretches.last?.end ?? 0 }

    private mutating func cutOpenText() {
        let start = openStart
        if batch.text.count == start {
            if !isOnStrand { send() }
            return
        }
        if let cut = tokenizer.safeCut(in: batch.text, from: start, allowSpecial: allowsSpecial) {
            let rest = Array(batch.text[cut...])
            batch.text.removeSubrange(cut...)
            batch.stretches.append(TextBatch.Stretch(end: cut, input: input, endsText: true))
            if isOnStrand { leaveStrand() } else { send() }
            batch.text = rest
        } else if isOnStrand {
            sendToStrand(endsText: false)
        } else if start > 0 {
            let rest = Array(batch.text[start...])
            batch.text.removeSubrange(start...)
            send()
            batch.text = rest
        } else if batch.text.count >= TextBatcher.uncutBytes {
            isOnStrand = true
            sendToStrand(endsText: false)
        }
    }

    private mutating func leaveStrand() {
        isOnStrand = false
        sendToStrand(endsText: true)
    }

    private mutating func sendToStrand(endsText: Bool) {
        if !endsText { batch.stretches.append(TextBatch.Stretch(end: batch.text.count, input: input, endsText: false)) }
        batch.strand = strandBatches
        strandBatches += 1
        send()
    }

    private mutating func send() {
        if !batch.stretches.isEmpty { ready.append(batch) }
        batch = TextBatch()
    }
}

/// The one encoder for text that cannot be cut, and whose turn it is. Workers take batches in their order, so that
/// whoever is waited for is at work.
final class EncodingStrand: Sendable {
    private struct State {
        var next = 0
        var encoder: (any TextEncoder)?
        /// What went wrong before; an encoder is of no use afterwards.
        var failure: Fault?
    }

    private let state = Monitor(State())

    /// Runs `body` with the encoder when all batches before `turn` have been through it.
    func run(
        _ turn: Int, make: () throws(Fault) -> any TextEncoder,
        _ body: (any TextEncoder) throws(Fault) -> EncodedBatch
    ) throws(Fault) -> EncodedBatch {
        let result: Result<EncodedBatch, Fault> = state.wait { state in
            if state.next != turn { return nil }
            state.next += 1
            do throws(Fault) {
                if let failure = state.failure { throw failure }
                if state.encoder == nil { state.encoder = try make() }
                guard let encoder = state.encoder else { preconditionFailure("made above") }
                return .success(try body(encoder))
            } catch {
                state.failure = error
                return .failure(error)
            }
        }
        return try result.get()
    }
}

/// What a worker has to encode with.
final class BatchEncoder {
    private let tokenizer: any Tokenizer
    private let recipe: IngestRecipe
    private let strand: EncodingStrand
    private let endOfDocument: [UInt8]
    /// Made when it is first used.
    private var encoder: (any TextEncoder)?

    init(_ tokenizer: any Tokenizer, _ recipe: IngestRecipe, strand: EncodingStrand) {
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.strand = strand
        endOfDocument =
            recipe.tokenizer.endOfDocument.map { storedIds([UInt32($0)], vocabularySize: recipe.vocabularySize) } ?? []
    }

    func encode(_ batch: TextBatch) throws(Fault) -> EncodedBatch {
        if let turn = batch.strand {
            return try strand.run(turn, make: makeEncoder) { (encoder) throws(Fault) in
                try self.encode(batch, with: encoder)
            }
        }
        if encoder == nil { encoder = try makeEncoder() }
        guard let encoder else { preconditionFailure("made above") }
        return try encode(batch, with: encoder)
    }

    private func makeEncoder() throws(Fault) -> any TextEncoder {
        try tokenizer.makeEncoder(allowSpecial: recipe.allowsSpecial)
    }

    private func encode(_ batch: TextBatch, with encoder: any TextEncoder) throws(Fault) -> EncodedBatch {
        var result = EncodedBatch(stored: [], pieces: [])
        result.pieces.reserveCapacity(batch.stretches.count)
        var start = 0
        for stretch in batch.stretches {
            let text =
                stretch.end == batch.text.count && start == 0 ? batch.text : Array(batch.text[start..<stretch.end])
            start = stretch.end
            let stored: [UInt8]
            do throws(Fault) {
                stored = try encoder.encode(text, endsDocument: stretch.endsText)
            } catch {
                throw .badData(recipe.inputs[stretch.input], error.message)
            }
            if result.stored.isEmpty { result.stored = stored } else { result.stored += stored }
            if let document = stretch.document, !document.isEmpty { result.stored += endOfDocument }
            result.pieces.append((result.stored.count, stretch.document))
        }
        return result
    }
}
