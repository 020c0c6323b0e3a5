// An MDS directory (MosaicML streaming), a sample a document: `ndarray:uint16` or `ndarray:uint32` in one column. What is
// in a shard follows from the lengths of documents, so that the table of offsets, which stands before the samples, is
// written without having them in memory; a document longer than a shard's limit is a shard of its own.

internal import Bytes
internal import SystemPackage

final class MDSWriter: TokenFileWriter {
    private let directory: AtomicDirectory
    private let type: TokenType
    private let level: Int?
    private let sizeLimit: Int
    private let column: String
    private let lengths: DocumentLengthsReader
    /// Documents in shards that were planned.
    private var planned = 0
    private var shards: [JSON] = []
    private var shard: OpenShard?
    /// Ids that the current document still wants; 0 between documents.
    private var left = 0

    private struct Plan {
        var samples: [Int] = []
        var bytes = 0
    }

    private struct OpenShard {
        let name: String
        let bytes: Int
        let samples: Int
        let file: PlainFile
        let zip: ZstdSink?
        let sink: BufferedSink
        /// Lengths of the documents that have not begun.
        var lengths: ArraySlice<Int>
    }

    init(
        _ path: String, type: TokenType, column: String, level: Int?, sizeLimit: Int, lengths: DocumentLengthsReader
    ) throws(Fault) {
        self.type = type
        self.column = column
        self.level = level
        self.sizeLimit = sizeLimit
        self.lengths = lengths
        directory = try AtomicDirectory(FilePath(path))
    }

    private var encoding: String { type == .u16 ? "ndarray:uint16" : "ndarray:uint32" }

    private var configuration: JSON {
        [
            "column_encodings": [.string(encoding)], "column_names": [.string(column)], "column_sizes": [.null],
            "compression": level.map { .string("zstd:\($0)") } ?? .null, "format": "mds", "hashes": [],
            "size_limit": .integer(sizeLimit), "version": 2,
        ]
    }

    /// Bytes of a sample: the size of its one variable column, dimensions and width of the shape, the shape, the ids.
    private func sampleBytes(_ length: Int) -> Int { 4 + 1 + shapeBytes(length) + length * type.byteCount }

    private func shapeBytes(_ length: Int) -> Int { length < 1 << 8 ? 1 : length < 1 << 16 ? 2 : 4 }

    /// The documents of the next shard. Memory: 8 bytes a document of a shard, at most 64 MiB / 12 of them by default.
    private func nextPlan() throws -> Plan {
        let head = 8 + configuration.compact.utf8.count
        var plan = Plan(bytes: head)
        struct IsFull: Error {}
        do {
            try lengths.read(planned..<lengths.documents.count) { length in
                let bytes = sampleBytes(length) + 4
                if !plan.samples.isEmpty && plan.bytes + bytes > sizeLimit { throw IsFull() }
                plan.samples.append(length)
                plan.bytes += bytes
            }
        } catch is IsFull {}
        if plan.bytes > Int(UInt32.max) {
            throw Fault(
                .usage, "an MDS shard holds up to \(UInt32.max) bytes, document \(planned) needs \(plan.bytes)")
        }
        return plan
    }

    private func openShard() throws -> OpenShard {
        let plan = try nextPlan()
        planned += plan.samples.count
        let digits = String(shards.count)
        let raw = "shard." + String(repeating: "0", count: max(0, 5 - digits.count)) + digits + ".mds"
        let file = try directory.file(level == nil ? raw : raw + ".zstd")
        let zip = level.map { ZstdSink(file, level: $0, size: plan.bytes) }
        let sink = BufferedSink(zip ?? file, capacity: 1 << 18)
        let text = Array(configuration.compact.utf8)
        var head: [UInt8] = []
        head.append(littleEndian: UInt32(plan.samples.count))
        var offset = 4 + 4 * (plan.samples.count + 1) + text.count
        head.append(littleEndian: UInt32(offset))
        for length in plan.samples {
            offset += sampleBytes(length)
            head.append(littleEndian: UInt32(offset))
        }
        try sink.write(head)
        try sink.write(text)
        return OpenShard(
            name: raw, bytes: plan.bytes, samples: plan.samples.count, file: file, zip: zip, sink: sink,
            lengths: plan.samples[...])
    }

    func write(_ ids: ArraySlice<UInt32>, endsDocument: Bool) throws {
        if shard == nil { shard = try openShard() }
        guard let sink = shard?.sink else { return }
        if left == 0 {
            left = shard?.lengths.removeFirst() ?? 0
            var head: [UInt8] = []
            head.append(littleEndian: UInt32(sampleBytes(left) - 4))
            let width = shapeBytes(left)
            head.append(1 << 2 | (width == 1 ? 0 : width == 2 ? 1 : 2))
            switch width {
            case 1: head.append(UInt8(left))
            case 2: head.append(littleEndian: UInt16(left))
            default: head.append(littleEndian: UInt32(left))
            }
            try sink.write(head)
        }
        try sink.write(type.stored(ids))
        left -= ids.count
        precondition(endsDocument == (left == 0), "\(left) ids of a document are left at its end")
        if endsDocument && shard?.lengths.isEmpty == true { try closeShard() }
    }

    private func closeShard() throws {
        guard let shard else { return }
        self.shard = nil
        try shard.sink.flush()
        try shard.zip?.finish()
        try shard.file.close()
        func file(_ name: String, _ bytes: Int) -> JSON {
            ["basename": .string(name), "bytes": .integer(bytes), "hashes": [:]]
        }
        var entry = configuration.objectValue ?? [:]
        entry["raw_data"] = file(shard.name, shard.bytes)
        entry["samples"] = .integer(shard.samples)
        entry["zip_data"] = shard.zip == nil ? .null : file(shard.name + ".zstd", shard.file.bytesWritten)
        shards.append(.object(entry))
    }

    func finish() throws {
        precondition(shard == nil, "the last document ends its shard")
        let index = try directory.file(MDSIndex.fileName)
        let object: JSON = ["shards": .array(shards), "version": 2]
        try index.write(Array(object.compact.utf8))
        try index.close()
        try directory.commit(flushingFiles: true)
    }
}
