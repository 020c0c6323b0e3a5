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
    /// Of other programs (docs/formats/foreign-tokens.md).
    case idsJSONLines = "ids-jsonl"
    case llmc, npy, megatron, datatrove, mds

    /// Whether the input holds ids and not text.
    public var holdsIds: Bool { self != .text && self != .jsonLines }

    /// Whether `ForeignDocuments` reads it.
    var isForeign: Bool {
        switch self {
        case .idsJSONLines, .llmc, .npy, .megatron, .datatrove, .mds: true
        case .text, .jsonLines, .ids16, .ids32, .idsText: false
        }
    }

    /// Whether the files themselves say where documents end.
    public var keepsDocuments: Bool {
        switch self {
        case .ids16, .ids32, .llmc, .npy: false
        default: true
        }
    }
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
    /// the next input's first. Formats with an index count documents instead of bytes.
    var nextDocument: (offset: Int, line: Int)? { get }
}

/// Bytes asked for at once.
let inputPieceBytes = 1 << 16
