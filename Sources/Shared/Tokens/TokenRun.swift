// Ids that lie one after the other in a file, handed out in pieces.

internal import Bytes

struct TokenRun {
    private let file: InputFile
    private let type: IntegerType
    let vocabularySize: Int
    /// Byte of the next id.
    private(set) var position = 0
    /// Ids that are left.
    private(set) var left = 0
    private(set) var last: UInt32?

    init(_ file: InputFile, type: IntegerType, vocabularySize: Int) {
        self.file = file
        self.type = type
        self.vocabularySize = vocabularySize
    }

    /// Goes on at another place, which the caller has checked against the file.
    mutating func move(to byte: Int, count: Int) {
        position = byte
        left = count
    }

    /// The next ids in stored form; none at the end of the run.
    mutating func next() throws(Fault) -> [UInt8] {
        let count = min(left, inputPieceBytes / type.byteCount)
        let bytes = try file.read(at: position, count: count * type.byteCount)
        let ids = try type.ids(bytes[...], below: vocabularySize, name: file.name, byte: position)
        position += bytes.count
        left -= count
        last = ids.last ?? last
        return storedIds(ids, vocabularySize: vocabularySize)
    }

    /// - Throws: `Fault` (bad data) unless the last id handed out is `id`.
    func requireLast(_ id: UInt32?, document: Int) throws(Fault) {
        guard let id, let last, last != id else { return }
        throw .badData(
            file.name, byte: position - type.byteCount,
            "expected document \(document) to end with the end-of-document id \(id), found \(last)")
    }
}
