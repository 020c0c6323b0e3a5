// What an ingest does on the thread that reads and writes: inputs → documents → (workers encode) → selection → frames →
// (workers compress). It is asked for work and told of results, in the order in which the work was given; nothing here
// depends on who does it, or on how many do.

internal import Bytes
internal import SystemPackage

/// A job for a worker.
enum IngestWork: Sendable {
    case encode(TextBatch)
    case compress(side: Int, RawFrame)
}

/// What became of a job.
enum IngestResult: Sendable {
    case encoded(EncodedBatch)
    case compressed(side: Int, CompressedFrame)
}

final class IngestStream {
    private var documents: DocumentStream
    private var selector: DocumentSelector
    /// nil for what is not worth a way to a worker and back: ids, which are not encoded, and bytes.
    private var batcher: TextBatcher?
    private let isBytes: Bool
    private let endOfDocument: [UInt8]
    /// Batches that were given out and have not come back.
    private var encoding = 0
    private var isRead = false
    /// What went wrong with the input: said when what was read before it has gone its way.
    private var failure: Fault?

    /// - Parameters:
    ///   - tokenizer: nil for ids.
    ///   - sides: where each dataset goes on.
    ///   - directory: for temporary files.
    init(
        _ recipe: IngestRecipe, tokenizer: (any Tokenizer)?, sides: [ResumePoint], directory: FilePath
    ) throws(Fault) {
        // Copies of what came earlier, and the places of all documents, are known to those who read from the beginning.
        let readsAll = recipe.deduplication != nil || recipe.shuffleSeed != nil
        let first = readsAll ? ResumePoint() : sides.min { $0.document < $1.document } ?? ResumePoint()
        documents = DocumentStream(recipe, from: first)
        selector = try DocumentSelector(recipe, from: first, sides: sides, directory: directory)
        isBytes = tokenizer is BytesTokenizer
        endOfDocument = storedIds([UInt32(BytesTokenizer.endOfDocument)], vocabularySize: recipe.vocabularySize)
        if let tokenizer, !isBytes { batcher = TextBatcher(tokenizer, allowsSpecial: recipe.allowsSpecial) }
    }

    /// Where the input has been read up to and what was left out: after all work is done, the end.
    var end: ResumePoint { selector.counted(documents.end) }

    /// Work, if there is any for now: what is under way may bring more.
    /// - Parameter isInterrupted: asked between pieces; true stops with `IngestInterrupted`.
    func next(isInterrupted: () -> Bool) throws -> IngestWork? {
        while true {
            // Also after the end: what ended the input may have been the signal that reached its writer.
            if isInterrupted() { throw IngestInterrupted() }
            if let (side, frame) = selector.takeFrame() { return .compress(side: side, frame) }
            if let batch = batcher?.take() {
                encoding += 1
                return .encode(batch)
            }
            if !isRead {
                read()
            } else if encoding > 0 {
                return nil
            } else if let failure {
                throw failure
            } else if try !selector.advance(documents.end) {
                return nil
            }
        }
    }

    private func read() {
        do throws(Fault) {
            guard let piece = try documents.next() else {
                isRead = true
                batcher?.flush()
                return
            }
            if batcher != nil {
                batcher?.add(piece)
            } else if isBytes {
                var stored = piece.content.widened
                if let end = piece.end, !end.isEmpty { stored += endOfDocument }
                try selector.take(stored[...], end: piece.end)
            } else {
                try selector.take(piece.content[...], end: piece.end)
            }
        } catch {
            isRead = true
            failure = error
            // Documents that are whole by now are encoded as they would be without the failure.
            batcher?.flush()
        }
    }

    /// A batch has come back.
    func take(_ batch: EncodedBatch) throws(Fault) {
        encoding -= 1
        var start = 0
        for (end, document) in batch.pieces {
            try selector.take(batch.stored[start..<end], end: document)
            start = end
        }
    }
}
