// What turns text into ids and back. A tokenizer is a value without state, so that any number of threads may share
// one; what it writes is the stored form (little-endian ids of `type`), so that no caller converts ids twice.

private import Bytes

/// Text to ids and back.
public protocol Tokenizer: Sendable {
    /// What the dataset manifest says of it.
    var record: TokenizerRecord { get }
    var vocabularySize: Int { get }
    /// The stored form of one piece of a document's text. A document comes in pieces of any size, and the ids may not
    /// depend on where it was cut. The end-of-document id is the caller's to append.
    func encode(_ text: [UInt8]) -> [UInt8]
    /// The text of `ids`; special ids have none.
    func decode(_ ids: [UInt32]) -> [UInt8]
}

extension Tokenizer {
    public var type: TokenType { TokenType(vocabularySize: vocabularySize) }
}

/// The built-in tokenizer `bytes`: ids 0 … 255 are the bytes themselves, 256 ends a document.
public struct BytesTokenizer: Tokenizer {
    public static let endOfDocument = 256

    public init() {}

    public var record: TokenizerRecord {
        TokenizerRecord(name: "bytes", endOfDocument: BytesTokenizer.endOfDocument)
    }
    public var vocabularySize: Int { 257 }

    public func encode(_ text: [UInt8]) -> [UInt8] { text.widened }

    public func decode(_ ids: [UInt32]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(ids.count)
        for id in ids where id < 256 { text.append(UInt8(truncatingIfNeeded: id)) }
        return text
    }
}

extension TokenizerRecord {
    /// The tokenizer that a dataset was made with, or nil when its ids came from elsewhere.
    public var builtIn: (any Tokenizer)? { name == "bytes" && file == nil ? BytesTokenizer() : nil }
}
