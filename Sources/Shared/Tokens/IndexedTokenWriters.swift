// Writers of the formats that are ids and an index beside them: Megatron's pair and datatrove's three files. The index is
// made of the dataset's own, read again for each column of it, and published last: where it is, all is.

internal import Bytes
internal import SystemPackage

/// `X.bin` and `X.idx`, one sequence a document.
final class MegatronWriter: TokenFileWriter {
    private let tokens: OutputFile
    private let indexPath: String
    private let lengths: DocumentLengthsReader
    private let isWide: Bool
    /// Megatron's own rule for the type of ids.
    private static let smallVocabulary = 65_500

    init(_ path: String, vocabularySize: Int, lengths: DocumentLengthsReader) throws {
        let files = MegatronDocuments.files(path)
        isWide = vocabularySize >= MegatronWriter.smallVocabulary
        if vocabularySize > 1 << 31 {
            throw Fault(.usage, "megatron holds ids below \(1 << 31), the vocabulary has \(vocabularySize)")
        }
        self.lengths = lengths
        indexPath = files.index.string
        var number = 0
        try lengths.read { length in
            if Int32(exactly: length) == nil {
                throw Fault(
                    .usage, "a Megatron sequence holds up to \(Int32.max) ids, document \(number) has \(length)")
            }
            number += 1
        }
        // An index of other ids must not outlive them.
        try FileSystem.remove(files.index)
        tokens = try OutputFile(files.tokens.string)
    }

    func write(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws {
        try tokens.write((isWide ? TokenType.u32 : .u16).stored(ids))
    }

    func finish() throws {
        try tokens.commit()
        let index = try OutputFile(indexPath)
        let count = lengths.documents.count
        var head = MegatronIndex.magic
        head.append(littleEndian: UInt64(1))
        head.append(isWide ? 4 : 8)
        head.append(littleEndian: UInt64(count))
        head.append(littleEndian: UInt64(count + 1))
        try index.write(head)
        func column<Integer: FixedWidthInteger & BitwiseCopyable>(_ value: (_ length: Int) -> Integer) throws {
            var integers: [Integer] = []
            try lengths.read { length in
                integers.append(value(length))
                if integers.count == 8192 {
                    try index.write(integers.littleEndianBytes)
                    integers.removeAll(keepingCapacity: true)
                }
            }
            try index.write(integers.littleEndianBytes)
        }
        try column { Int32($0) }
        var offset = 0
        try column { length -> Int64 in
            defer { offset += length * (isWide ? 4 : 2) }
            return Int64(offset)
        }
        var document: Int64 = -1
        try column { _ -> Int64 in
            document += 1
            return document
        }
        var last: [UInt8] = []
        last.append(littleEndian: Int64(count))
        try index.write(last)
        try index.commit()
    }
}

/// `X.ds`, `X.ds.metadata` and `X.ds.index`.
final class DatatroveWriter: TokenFileWriter {
    private let file: OutputFile
    private let path: String
    private let type: TokenType
    private let metadata: String
    private let lengths: DocumentLengthsReader

    init(_ path: String, type: TokenType, tokenizer: String, tokens: Int, lengths: DocumentLengthsReader) throws {
        self.path = path
        self.type = type
        self.lengths = lengths
        metadata = "\(tokenizer)|\(type.byteCount)\n\(tokens)\n\(DatatroveWriter.readable(tokens))"
        for suffix in [".index", ".metadata"] { try FileSystem.remove(FilePath(path + suffix)) }
        file = try OutputFile(path)
    }

    /// `1.2 MT`, as datatrove's third line has it for people.
    private static func readable(_ tokens: Int) -> String {
        for (scale, unit) in [(1_000_000_000_000, "TT"), (1_000_000_000, "GT"), (1_000_000, "MT"), (1000, "KT")]
        where tokens >= scale { return "\(tokens / scale).\(tokens % scale * 10 / scale) \(unit)" }
        return "\(tokens) T"
    }

    func write(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws { try file.write(type.stored(ids)) }

    func finish() throws {
        try file.commit()
        try AtomicFile.write(Array(metadata.utf8), to: FilePath(path + ".metadata"))
        let index = try OutputFile(path + ".index")
        var end: UInt64 = 0
        try lengths.read { length in
            end += UInt64(length)
            var bytes: [UInt8] = []
            bytes.append(littleEndian: end)
            try index.write(bytes)
        }
        try index.commit()
    }
}
