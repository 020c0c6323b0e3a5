// What turns text into ids and back. A tokenizer is a value without state, so that any number of threads may share one;
// an encoder has the state of a text that comes in pieces. What it writes is the stored form (little-endian ids of
// `type`), so that no caller converts ids twice.

public import Bytes

/// Text to ids and back.
public protocol Tokenizer: Sendable {
    /// What the dataset manifest says of it.
    var record: TokenizerRecord { get }
    /// The content of the file that `record` names, for the copy that goes with a dataset; nil when there is none.
    var fileContent: [UInt8]? { get }
    var vocabularySize: Int { get }
    /// - Parameter allowSpecial: whether what reads like a special token becomes its id; otherwise it is text.
    func makeEncoder(allowSpecial: Bool) throws(Fault) -> any TextEncoder
    /// The last place after `start` at which a text may be cut in two texts that have the ids of the whole, one after the
    /// other, whatever follows `text`; nil when none is found.
    func safeCut(in text: [UInt8], from start: Int, allowSpecial: Bool) -> Int?
    /// The bytes of `ids`. Special tokens give their text; the id that only ends a document, and ids that the vocabulary
    /// does not have, give none.
    func decode(_ ids: [UInt32]) -> [UInt8]
}

/// Encodes one document after the other. A class: it keeps what is not certain yet. One per thread.
public protocol TextEncoder: AnyObject {
    /// The stored form of what is certain by now. A document comes in pieces of any size, and its ids do not depend on
    /// where it was cut. The end-of-document id is the caller's to append.
    /// - Throws: `Fault` (bad data) for text that cannot be encoded.
    func encode(_ piece: [UInt8], endsDocument: Bool) throws(Fault) -> [UInt8]
}

extension Tokenizer {
    public var fileContent: [UInt8]? { nil }
    public func safeCut(in text: [UInt8], from start: Int, allowSpecial: Bool) -> Int? { nil }
    public var type: TokenType { TokenType(vocabularySize: vocabularySize) }

    /// The ids of a whole text.
    public func ids(of text: [UInt8], allowSpecial: Bool = false) throws(Fault) -> [UInt32] {
        let stored = try makeEncoder(allowSpecial: allowSpecial).encode(text, endsDocument: true)
        return type.ids(stored: stored[...])
    }

    /// The text of a piece of a document of a dataset. The id that ends the document is not of its text; the same token
    /// inside it is.
    public func text(of piece: ArraySlice<UInt32>, endsDocument: Bool) -> [UInt8] {
        let isMarked = endsDocument && piece.last.map(Int.init) == record.endOfDocument
        return decode(Array(isMarked ? piece.dropLast() : piece))
    }
}

/// The built-in tokenizer `bytes`: ids 0 … 255 are the bytes themselves, 256 ends a document.
public struct BytesTokenizer: Tokenizer {
    public static let endOfDocument = 256

    public init() {}

    public var record: TokenizerRecord {
        TokenizerRecord(name: "bytes", endOfDocument: BytesTokenizer.endOfDocument)
    }
    public var vocabularySize: Int { 257 }

    public func makeEncoder(allowSpecial: Bool) -> any TextEncoder { Encoder() }

    private final class Encoder: TextEncoder {
        func encode(_ piece: [UInt8], endsDocument: Bool) -> [UInt8] { piece.widened }
    }

    public func decode(_ ids: [UInt32]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(ids.count)
        for id in ids where id < 256 { text.append(UInt8(truncatingIfNeeded: id)) }
        return text
    }
}
