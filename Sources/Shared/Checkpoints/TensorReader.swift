// One tensor, piece by piece, its digest checked on the way: whoever reads a tensor to the end has its true bytes or an
// error that names it.

public import Bytes

/// A tensor's bytes in order, each piece on demand. The last piece is handed out only after the digest was right.
public struct TensorReader: Sendable {
    public let entry: TensorEntry
    private let file: InputFile
    private let expected: Digest?
    private let chunk: Int
    private var position: Int
    private var hasher = DigestHasher()
    private var isFinished = false

    /// - Parameters:
    ///   - expected: SHA-256 of the tensor's bytes; nil reads without checking.
    ///   - chunk: bytes a piece; a multiple of 8 keeps elements whole.
    init(_ file: InputFile, _ entry: TensorEntry, expected: Digest?, chunk: Int) {
        precondition(chunk > 0 && chunk % 8 == 0, "a chunk is a positive multiple of 8 bytes, not \(chunk)")
        self.file = file
        self.entry = entry
        self.expected = expected
        self.chunk = chunk
        position = entry.byteRange.lowerBound
    }

    /// The next piece, or nil at the end.
    /// - Throws: `Fault`: a read error, or bad data when the digest differs.
    public mutating func next() throws(Fault) -> [UInt8]? {
        let rest = entry.byteRange.upperBound - position
        if rest == 0 {
            if !isFinished { try finish() }
            return nil
        }
        let bytes = try file.read(at: position, count: min(chunk, rest))
        position += bytes.count
        if expected != nil { hasher.update(bytes) }
        if bytes.count == rest { try finish() }
        return bytes
    }

    /// All pieces with their offsets in the tensor, in bytes.
    public mutating func forEach(_ body: (_ offset: Int, _ bytes: [UInt8]) throws -> Void) throws {
        while true {
            let offset = position - entry.byteRange.lowerBound
            guard let bytes = try next() else { return }
            try body(offset, bytes)
        }
    }

    private mutating func finish() throws(Fault) {
        isFinished = true
        guard let expected else { return }
        let found = hasher.finish()
        if found != expected {
            throw .differingDigest(subject, expected: expected, found: found)
        }
    }

    /// `'FILE', tensor 'NAME' at byte N`
    private var subject: String {
        "\(quoted(file.name)), tensor \(quoted(entry.name)) at byte \(entry.byteRange.lowerBound)"
    }

    /// `'FILE', tensor 'NAME' at byte N: reason`
    func fault(_ reason: String) -> Fault { Fault(.badData, "\(subject): \(reason)") }
}

extension Fault {
    /// `SUBJECT: sha256 differs: expected 9f3c…, found 01d2…`
    static func differingDigest(_ subject: String, expected: Digest, found: Digest) -> Fault {
        let (expected, found) = (expected.description.prefix(16), found.description.prefix(16))
        return Fault(.badData, "\(subject): sha256 differs: expected \(expected)…, found \(found)…")
    }
}
