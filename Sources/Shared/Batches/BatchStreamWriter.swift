// The producer's side of a batch stream. The long part of a batch (`BatchBody`) does not depend on the cursor, so
// workers can build and check it ahead; the writer puts index and cursor before it and joins the two checks.

public import Bytes
private import Tokens

/// What follows the cursor in a BTCH payload: B, T, ids, segments, mask, with its CRC-32C.
struct BatchBody: Sendable {
    let bytes: [UInt8]
    let checksum: UInt32

    init(bytes: [UInt8]) { self.init(bytes: bytes, checksum: CRC32C.checksum(bytes)) }

    init(bytes: [UInt8], checksum: UInt32) {
        self.bytes = bytes
        self.checksum = checksum
    }

    /// - Parameters:
    ///   - ids: inputs, then targets, as they lie in the stream.
    ///   - segmentEnds: of each row.
    ///   - lossMask: one entry a position.
    init(rows: Int, length: Int, segmentEnds: [[Int32]], lossMask: [Bool]?, appendIDs: (inout [UInt8]) -> Void) {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt32(rows))
        bytes.append(littleEndian: UInt32(length))
        bytes.append(lossMask == nil ? 0 : 1)
        appendIDs(&bytes)
        for ends in segmentEnds {
            bytes.append(littleEndian: UInt32(ends.count))
            bytes.append(littleEndian: ends)
        }
        if let lossMask {
            let first = bytes.count
            bytes.append(contentsOf: repeatElement(0, count: (lossMask.count + 7) / 8))
            for (position, counts) in lossMask.enumerated() where counts {
                bytes[first + position >> 3] |= 1 << UInt8(position & 7)
            }
        }
        self.init(bytes: bytes)
    }
}

/// Writes a batch stream: HEAD when made, then batches, then DONE by `finish`.
public final class BatchStreamWriter {
    public let head: StreamHead
    private let sink: any ByteSink
    private var frame: [UInt8] = []

    /// Writes HEAD.
    /// - Throws: `DownstreamClosed`, or `Fault` (input/output).
    public init(_ sink: any ByteSink, head: StreamHead) throws {
        self.sink = sink
        self.head = head
        try sink.write(Frame(.head, Array(head.json.compact.utf8)).encoded)
    }

    /// Writes a batch, whose shape must be HEAD's and whose ids must fit its type.
    public func write(_ batch: TokenBatch) throws {
        precondition(
            batch.rows == head.rows && batch.length == head.length && batch.segmentEnds.count == head.rows
                && batch.inputs.count == head.rows * head.length && batch.targets.count == batch.inputs.count
                && batch.lossMask.map { $0.count == batch.inputs.count } ?? true,
            "batch \(batch.index) of \(batch.rows) × \(batch.length) in a stream of \(head.rows) × \(head.length)")
        let body = BatchBody(
            rows: batch.rows, length: batch.length, segmentEnds: batch.segmentEnds, lossMask: batch.lossMask
        ) { bytes in
            for ids in [batch.inputs, batch.targets] {
                switch head.type {
                case .u16: bytes.append(littleEndian: ids.map { UInt16($0) })
                case .u32: bytes.append(littleEndian: ids)
                }
            }
        }
        try write(index: batch.index, cursor: batch.cursor, body: body)
    }

    /// Writes a batch that a producer made; nothing is encoded again.
    public func write(_ batch: EncodedBatch) throws {
        try write(index: batch.index, cursor: batch.cursor.description, body: batch.body)
    }

    private func write(index: Int, cursor: String, body: BatchBody) throws {
        precondition(Cursor.isWellSpelled(cursor), "a cursor that cannot be written: \(cursor)")
        let text = Array(cursor.utf8)
        frame.removeAll(keepingCapacity: true)
        frame.append(littleEndian: UInt32(10 + text.count + body.bytes.count))
        frame.append(contentsOf: FrameType.batch.bytes)
        frame.append(littleEndian: UInt64(index))
        frame.append(littleEndian: UInt16(text.count))
        frame.append(contentsOf: text)
        let checksum = CRC32C.combine(CRC32C.checksum(frame), body.checksum, secondCount: body.bytes.count)
        // A long body is sent from where it lies: two more calls cost less than copying it.
        if body.bytes.count > 1 << 15 {
            try sink.write(frame)
            try sink.write(body.bytes)
            frame.removeAll(keepingCapacity: true)
        } else {
            frame.append(contentsOf: body.bytes)
        }
        frame.append(littleEndian: checksum)
        try sink.write(frame)
    }

    /// Writes DONE. The ledger must balance.
    public func finish(_ end: StreamEnd) throws {
        let imbalance = end.ledger.imbalance(rows: end.rows, length: head.length, before: head.before)
        precondition(imbalance == nil, "a ledger that does not balance: \(imbalance ?? "")")
        try sink.write(Frame(.done, Array(end.json.compact.utf8)).encoded)
    }
}
