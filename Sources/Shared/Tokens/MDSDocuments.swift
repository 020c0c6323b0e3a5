// Samples of an MDS directory as documents: one column of each sample is ids. A shard is read twice side by side, once
// where its table of offsets lies and once where its samples do, so that neither has to be in memory; a compressed one is
// decompressed on the way, never further than its index says.

internal import Bytes
internal import SystemPackage

final class MDSDocuments: DocumentReader {
    private let index: MDSIndex
    private let column: String
    private let vocabularySize: Int
    private let endOfDocument: UInt32?
    /// Number of the current sample, over all shards.
    private var sample: Int
    private var shard: MDSShardReader?
    private(set) var nextDocument: (offset: Int, line: Int)?

    /// - Parameters:
    ///   - path: of the directory.
    ///   - column: its name.
    ///   - sample: the first one to read.
    init(_ path: String, column: String, vocabularySize: Int, endOfDocument: UInt32?, sample: Int) throws(Fault) {
        index = try MDSIndex(path)
        self.column = column
        self.vocabularySize = vocabularySize
        self.endOfDocument = endOfDocument
        self.sample = sample
    }

    func next() throws(Fault) -> DocumentPiece? {
        if sample >= index.firstSamples[index.shards.count] { return nil }
        if shard == nil {
            let number = index.shard(of: sample)
            shard = try MDSShardReader(
                index, number, column: column, vocabularySize: vocabularySize,
                firstSample: sample - index.firstSamples[number])
        }
        guard let shard else { return nil }
        let (ids, ends) = try shard.next()
        if ends {
            if let endOfDocument, let last = shard.last, last != endOfDocument {
                throw .badData(
                    shard.name, byte: shard.offset,
                    "expected sample \(sample) to end with the end-of-document id \(endOfDocument), found \(last)")
            }
            sample += 1
            nextDocument = (sample, 0)
            if shard.isFinished {
                try shard.finish()
                self.shard = nil
            }
        }
        return DocumentPiece(content: storedIds(ids, vocabularySize: vocabularySize), endsDocument: ends)
    }
}

/// How ids lie in a column.
private struct MDSColumnType {
    /// nil: each sample says it.
    let type: IntegerType?
    /// Whether the shape stands before the values.
    let hasShape: Bool

    static let codes: [UInt8: IntegerType] = [
        8: .u8, 9: .i8, 16: .u16, 17: .i16, 32: .u32, 33: .i32, 64: .u64, 65: .i64,
    ]
    private static let names: [String: IntegerType] = [
        "uint8": .u8, "int8": .i8, "uint16": .u16, "int16": .i16, "uint32": .u32, "int32": .i32, "uint64": .u64,
        "int64": .i64,
    ]

    /// - Throws: `Fault` (bad data) for an encoding that holds no list of integers.
    init(_ column: MDSIndex.Column, name: String) throws(Fault) {
        let parts = column.encoding.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        switch (parts[0], parts.count) {
        case ("bytes", 1):
            // llm-foundry's custom: the bytes of an int64 array.
            (type, hasShape) = (.i64, false)
            return
        case ("ndarray", 1):
            (type, hasShape) = (nil, true)
            return
        case ("ndarray", 2), ("ndarray", 3):
            if let type = MDSColumnType.names[parts[1]] {
                (self.type, hasShape) = (type, parts.count == 2)
                return
            }
        default: break
        }
        throw .badData(
            name, "column \(quoted(column.name)) has encoding \(quoted(column.encoding)), which holds no ids",
            hint: "ids are 'ndarray' of integers, or 'bytes' of int64")
    }
}

/// One shard, from any sample on.
private final class MDSShardReader {
    let name: String
    private let shard: MDSIndex.Shard
    private let columnIndex: Int
    private let columnType: MDSColumnType
    private let vocabularySize: Int
    private var table: ExactReader
    private var body: ExactReader
    private var begin: Int
    private var number: Int
    /// Of the current sample: ids that are left, their type, and where it ends; nil between samples.
    private var current: (left: Int, type: IntegerType, end: Int)?
    private(set) var last: UInt32?

    var isFinished: Bool { number == shard.samples }
    /// Byte of the uncompressed shard.
    var offset: Int { body.offset }

    init(
        _ index: MDSIndex, _ number: Int, column: String, vocabularySize: Int, firstSample: Int
    ) throws(Fault) {
        shard = index.shards[number]
        self.vocabularySize = vocabularySize
        let indexName = index.directory.appending(MDSIndex.fileName).string
        guard let columnIndex = shard.columns.firstIndex(where: { $0.name == column }) else {
            throw .badData(
                indexName, "shards[\(number)] has no column \(quoted(column))",
                hint:
                    "--field chooses it; there are \(shard.columns.prefix(8).map { quoted($0.name) }.joined(separator: ", "))"
            )
        }
        self.columnIndex = columnIndex
        columnType = try MDSColumnType(shard.columns[columnIndex], name: indexName)
        // A compressed shard may lie beside what a trainer has made of it; the smaller one is what was published.
        let zip = shard.zip.flatMap { FileSystem.kind(of: index.directory.appending($0.name)) == nil ? nil : $0 }
        let path = index.directory.appending((zip ?? shard.raw).name)
        name = path.string
        if FileSystem.kind(of: path, followingLinks: false) == .symbolicLink {
            throw .badData(name, "expected a regular file, found a symbolic link")
        }
        let file = try InputFile(path)
        if file.size != (zip ?? shard.raw).bytes {
            throw .badData(
                name, byte: min(file.size, (zip ?? shard.raw).bytes),
                "expected \((zip ?? shard.raw).bytes) bytes (from '\(MDSIndex.fileName)'), found \(file.size)")
        }
        let bytes = shard.raw.bytes
        func open() -> ExactReader {
            let source = RangedByteSource(file, offset: 0)
            return ExactReader(zip == nil ? source : ZstdSource(source, limit: bytes))
        }
        table = open()
        body = open()
        let count = Int(try table.integer(UInt32.self))
        if count != shard.samples || 8 + 4 * count > bytes {
            throw .badData(
                name, byte: 0,
                "expected \(shard.samples) samples in \(bytes) bytes (from '\(MDSIndex.fileName)'), "
                    + "found \(count)")
        }
        try table.skip(4 * firstSample)
        begin = Int(try table.integer(UInt32.self))
        if begin < 8 + 4 * count || begin > bytes {
            throw .badData(name, byte: 4 + 4 * firstSample, "sample \(firstSample) cannot begin at byte \(begin)")
        }
        try body.skip(begin)
        self.number = firstSample
    }

    func next() throws(Fault) -> (ids: [UInt32], ends: Bool) {
        if current == nil { try open() }
        guard let (before, type, end) = current else { return ([], true) }
        let count = min(before, inputPieceBytes / type.byteCount)
        let place = body.offset
        let bytes = try body.read(count * type.byteCount)
        let ids = try type.ids(bytes[...], below: vocabularySize, name: name, byte: place)
        last = ids.last ?? last
        let left = before - count
        current = (left, type, end)
        if left > 0 { return (ids, false) }
        try body.skip(end - body.offset)
        number += 1
        begin = end
        current = nil
        return (ids, true)
    }

    /// The head of a sample: sizes of its variable columns, columns before ours, then dtype and shape.
    private func open() throws(Fault) {
        last = nil
        let tableByte = table.offset
        let end = Int(try table.integer(UInt32.self))
        if end < begin || end > shard.raw.bytes {
            throw .badData(
                name, byte: tableByte,
                "expected sample \(number) to end from byte \(begin) to \(shard.raw.bytes), found \(end)")
        }
        var sizes: [Int] = []
        for column in shard.columns {
            if let size = column.size { sizes.append(size) } else { sizes.append(Int(try body.integer(UInt32.self))) }
        }
        let total = sizes.reduce(body.offset - begin) { $0 + $1 }
        if total != end - begin {
            throw .badData(
                name, byte: begin, "sample \(number) has \(end - begin) bytes, its columns say \(total)")
        }
        for column in 0..<columnIndex { try body.skip(sizes[column]) }
        let start = body.offset
        var type = columnType.type
        if type == nil {
            let code = try body.integer(UInt8.self)
            type = MDSColumnType.codes[code]
            if type == nil { throw .badData(name, byte: start, "an array of type \(code) holds no ids") }
        }
        guard let type else { preconditionFailure("set above") }
        var stated: Int?
        if columnType.hasShape {
            let place = body.offset
            let code = try body.integer(UInt8.self)
            if code >> 2 != 1 {
                throw .badData(name, byte: place, "expected an array of one dimension, found \(code >> 2)")
            }
            stated =
                switch code & 3 {
                case 0: Int(try body.integer(UInt8.self))
                case 1: Int(try body.integer(UInt16.self))
                case 2: Int(try body.integer(UInt32.self))
                default: Int(clamping: try body.integer(UInt64.self))
                }
        }
        let left = sizes[columnIndex] - (body.offset - start)
        if left < 0 || left % type.byteCount != 0 || stated.map({ $0 != left / type.byteCount }) ?? false {
            throw .badData(
                name, byte: start,
                "sample \(number) has \(max(0, left)) bytes of \(type.rawValue) ids, expected "
                    + (stated.map { "\($0) of them" } ?? "a whole number of them"))
        }
        current = (left / type.byteCount, type, end)
    }

    /// After the last sample nothing may follow.
    func finish() throws(Fault) {
        if begin != shard.raw.bytes {
            throw .badData(name, byte: begin, "expected the last sample to end at byte \(shard.raw.bytes)")
        }
        try body.end()
    }
}

/// Exactly so many bytes of a source, or an error that names the byte.
struct ExactReader {
    private let source: any ByteSource
    private(set) var offset = 0
    private var buffer: [UInt8] = []
    private var position = 0

    init(_ source: any ByteSource) { self.source = source }

    mutating func read(_ count: Int) throws(Fault) -> [UInt8] {
        if buffer.count - position < count {
            var bytes = Array(buffer[position...])
            while bytes.count < count {
                let more = try source.read(upTo: max(inputPieceBytes, count - bytes.count))
                if more.isEmpty {
                    throw .badData(
                        source.name, byte: offset + bytes.count, "expected \(count - bytes.count) more bytes of content"
                    )
                }
                bytes += more
            }
            buffer = bytes
            position = 0
        }
        defer {
            position += count
            offset += count
        }
        return Array(buffer[position..<position + count])
    }

    mutating func integer<Integer: FixedWidthInteger & BitwiseCopyable>(_: Integer.Type) throws(Fault) -> Integer {
        let bytes = try read(Integer.bitWidth / 8)
        return bytes.littleEndian(at: 0) ?? 0
    }

    mutating func skip(_ count: Int) throws(Fault) {
        var left = count
        while left > 0 {
            let piece = min(left, inputPieceBytes)
            _ = try read(piece)
            left -= piece
        }
    }

    /// - Throws: `Fault` (bad data) when there is more.
    mutating func end() throws(Fault) {
        if position < buffer.count { throw .badData(source.name, byte: offset, "expected the end, found more") }
        let more = try source.read(upTo: 1)
        if !more.isEmpty { throw .badData(source.name, byte: offset, "expected the end, found more") }
    }
}
