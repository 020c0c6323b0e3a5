// One batch as the trainer sees it: dense ids, and beside them where documents end. Decoding copies in bulk and checks
// everything, so that no kernel ever indexes an embedding with an id from a damaged stream.

internal import Bytes
private import Tokens

/// BTCH: B rows of T inputs and targets.
public struct TokenBatch: Sendable, Equatable {
    /// Global index, counted from the first batch of the run.
    public var index: Int
    /// The cursor after this batch; a run that applied the batch stores it.
    public var cursor: String
    /// B.
    public var rows: Int
    /// T.
    public var length: Int
    /// Ids, (B, T) row-major.
    public var inputs: [UInt32]
    /// Ids, (B, T) row-major; `targets[i]` is to be predicted from `inputs[i]` and what precedes it in its segment.
    public var targets: [UInt32]
    /// For each row the ends of its segments, rising; the last one is the row's number of real positions, from there to
    /// T is padding. No segments: the whole row is padding. Attention and positions stay inside a segment.
    public var segmentEnds: [[Int32]]
    /// (B, T) row-major: whether a position counts in the loss; nil: every real position counts.
    public var lossMask: [Bool]?

    public init(
        index: Int, cursor: String, rows: Int, length: Int, inputs: [UInt32], targets: [UInt32],
        segmentEnds: [[Int32]], lossMask: [Bool]? = nil
    ) {
        self.index = index
        self.cursor = cursor
        self.rows = rows
        self.length = length
        self.inputs = inputs
        self.targets = targets
        self.segmentEnds = segmentEnds
        self.lossMask = lossMask
    }

    /// Positions that are not padding.
    public var realPositions: Int { segmentEnds.reduce(0) { $0 + Int($1.last ?? 0) } }

    /// Positions that count in the loss.
    public var lossPositions: Int {
        guard let lossMask else { return realPositions }
        var count = 0
        for row in 0..<rows {
            for position in row * length..<row * length + Int(segmentEnds[row].last ?? 0) where lossMask[position] {
                count += 1
            }
        }
        return count
    }
}

extension TokenBatch {
    /// - Parameters:
    ///   - payload: of a BTCH frame, whose check has been verified.
    ///   - head: what the batch must agree with.
    ///   - digest: of all rows before; this batch's are added.
    ///   - base: offset of the payload in the stream, for messages.
    init(
        parsing payload: [UInt8], head: StreamHead, digest: inout OrderDigest, name: String, base: Int
    ) throws(Fault) {
        var fields = PayloadReader(payload: payload, name: name, base: base)
        let rawIndex: UInt64 = try fields.integer("batch index")
        guard let index = Int(exactly: rawIndex) else { throw fields.fault("batch index \(rawIndex) is out of range") }
        let cursorCount: UInt16 = try fields.integer("cursor length")
        let cursorBytes = try fields.bytes(Int(cursorCount), "cursor")
        guard Cursor.isWellSpelled(cursorBytes) else {
            throw fields.fault("the cursor of batch \(index) is not 1 to \(Cursor.maximumCount) printable characters")
        }
        var checksums: [UInt32?] = []
        try self.init(
            index: index, cursor: String(decoding: cursorBytes, as: UTF8.self), &fields, head,
            digest: { checksums.append($0) })
        for row in head.lanes == head.world ? Array(0..<head.rows) : head.rowOrder {
            if let checksum = checksums[row] { digest.append(rowChecksum: checksum) }
        }
    }

    /// - Parameter body: what a producer made for this head.
    init(index: Int, cursor: String, body: BatchBody, head: StreamHead) throws(Fault) {
        var fields = PayloadReader(payload: body.bytes, name: "batch \(index)", base: 0)
        // Whoever takes a batch from its producer keeps no digest of it.
        try self.init(index: index, cursor: cursor, &fields, head, digest: nil)
    }

    /// - Parameter digest: given the check of each row, nil for a row of padding.
    private init(
        index: Int, cursor: String, _ fields: inout PayloadReader, _ head: StreamHead,
        digest: ((UInt32?) -> Void)?
    ) throws(Fault) {
        self.index = index
        self.cursor = cursor
        let (rows, length): (UInt32, UInt32) = (try fields.integer("rows"), try fields.integer("length"))
        guard rows == head.rows, length == head.length else {
            throw fields.fault(
                "batch \(index) is \(rows) × \(length), expected \(head.rows) × \(head.length) as in HEAD")
        }
        (self.rows, self.length) = (head.rows, head.length)
        let hasMask: UInt8 = try fields.integer("mask flag")
        if hasMask > 1 { throw fields.fault("the mask flag of batch \(index) is \(hasMask), expected 0 or 1") }
        let positions = head.rows * head.length
        inputs = try fields.ids(positions, head, "inputs of batch \(index)")
        let firstTarget = fields.offset
        targets = try fields.ids(positions, head, "targets of batch \(index)")
        segmentEnds = []
        segmentEnds.reserveCapacity(head.rows)
        for row in 0..<head.rows {
            let count: UInt32 = try fields.integer("segment count")
            if count > head.length {
                throw fields.fault("row \(row) of batch \(index) has \(count) segments in \(head.length) positions")
            }
            let firstEnd = fields.offset
            let ends: [Int32] = try fields.integers(Int(count), "segment ends of batch \(index)")
            var previous: Int32 = 0
            for end in ends {
                guard end > previous, end <= head.length else {
                    throw fields.fault(
                        "segment end \(UInt32(bitPattern: end)) in row \(row) of batch \(index) after \(previous), expected "
                            + "rising ends up to \(head.length)")
                }
                previous = end
            }
            segmentEnds.append(ends)
            guard let digest else { continue }
            if previous > 0 {
                let width = head.type.byteCount
                let first = firstTarget + row * head.length * width
                let ids = CRC32C.checksum(fields.payload, in: first..<first + Int(previous) * width)
                digest(CRC32C.checksum(fields.payload, in: firstEnd..<fields.offset, after: ids))
            } else {
                digest(nil)
            }
        }
        if hasMask == 1 {
            let bits = try fields.bytes((positions + 7) / 8, "loss mask of batch \(index)")
            var mask = [Bool](repeating: false, count: positions)
            let first = bits.startIndex
            for position in 0..<positions {
                mask[position] = bits[first + position >> 3] >> UInt8(position & 7) & 1 == 1
            }
            if positions % 8 != 0, bits[bits.endIndex - 1] >> UInt8(positions % 8) != 0 {
                throw fields.fault("the loss mask of batch \(index) has bits after its last position")
            }
            lossMask = mask
        } else {
            lossMask = nil
        }
        if fields.offset != fields.payload.count {
            throw fields.fault("\(fields.payload.count - fields.offset) bytes too many in batch \(index)")
        }
    }
}

/// Takes fields off a payload in order.
private struct PayloadReader {
    let payload: [UInt8]
    let name: String
    let base: Int
    var offset = 0

    init(payload: [UInt8], name: String, base: Int) {
        self.payload = payload
        self.name = name
        self.base = base
    }

    func fault(_ reason: String) -> Fault { .badData(name, byte: base + offset, reason) }

    mutating func integer<Integer: FixedWidthInteger & BitwiseCopyable>(_ what: String) throws(Fault) -> Integer {
        guard let value = payload.littleEndian(at: offset, as: Integer.self) else {
            throw fault("a BTCH frame ends before its \(what)")
        }
        offset += Integer.bitWidth / 8
        return value
    }

    mutating func integers<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ count: Int, _ what: String
    ) throws(Fault) -> [Integer] {
        guard let values = payload.littleEndianArray(at: offset, count: count, as: Integer.self) else {
            throw fault("a BTCH frame ends inside the \(what)")
        }
        offset += count * (Integer.bitWidth / 8)
        return values
    }

    mutating func bytes(_ count: Int, _ what: String) throws(Fault) -> ArraySlice<UInt8> {
        guard count <= payload.count - offset else { throw fault("a BTCH frame ends inside the \(what)") }
        defer { offset += count }
        return payload[offset..<offset + count]
    }

    mutating func ids(_ count: Int, _ head: StreamHead, _ what: String) throws(Fault) -> [UInt32] {
        let start = offset
        var ids: [UInt32]
        switch head.type {
        case .u16:
            let narrow: [UInt16] = try integers(count, what)
            ids = [UInt32](repeating: 0, count: count)
            for position in 0..<count { ids[position] = UInt32(narrow[position]) }
        case .u32: ids = try integers(count, what)
        }
        if let largest = ids.max(), largest >= head.vocabularySize {
            let position = ids.firstIndex { $0 >= head.vocabularySize } ?? 0
            throw .badData(
                name, byte: base + start + position * head.type.byteCount,
                "id \(ids[position]) in the \(what), row \(position / head.length), position \(position % head.length): "
                    + "expected ids below the vocabulary size \(head.vocabularySize)")
        }
        return ids
    }
}
