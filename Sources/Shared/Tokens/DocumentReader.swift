// Documents out of a byte stream, in pieces, so that a document of any size needs the memory of one piece. A reader
// per format; each says where the next document begins, which is where a later run may go on.

internal import Bytes

/// How inputs are cut into documents.
public enum DocumentFormat: String, Sendable, Hashable, CaseIterable {
    case text
    case jsonLines = "jsonl"
    case ids16 = "ids-u16"
    case ids32 = "ids-u32"
    case idsText = "ids-text"

    /// Whether the input holds ids and not text.
    public var holdsIds: Bool { self != .text && self != .jsonLines }
}

/// A part of a document, in order: text, or ids in stored form.
struct DocumentPiece: Sendable {
    var content: [UInt8]
    var endsDocument: Bool
}

/// Reads one input. A class: a value behind `any` would be copied at each of a corpus's millions of documents.
protocol DocumentReader: AnyObject {
    /// The next piece, or nil at the end of the input; the last piece before that ends a document.
    func next() throws(Fault) -> DocumentPiece?
    /// After a piece that ends a document: bytes and lines of this input before the next document; nil when that is
    /// the next input's first.
    var nextDocument: (offset: Int, line: Int)? { get }
}

/// Bytes asked for at once.
let inputPieceBytes = 1 << 16
