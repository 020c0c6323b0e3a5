// Rows become the body of a BTCH frame. This is the inner loop of tok-pack: whole stretches of tokens are copied, only
// the first input of each document and the padding are written one by one.

internal import Bytes
internal import Tokens

/// The rows of the batches that one job assembles: stretches of row sources, in order, and how many of their rows go
/// into each batch. Rows that are missing there become padding.
struct BatchPlan: Sendable {
    private(set) var stretches: [any RowStretch] = []
    private(set) var batchRows: [Int] = []
    /// The source of each row, when there are several.
    private(set) var sources: [UInt8] = []
    /// Stretches of the last batch.
    private var batchStretches = 0

    mutating func beginBatch() {
        batchRows.append(0)
        batchStretches = 0
    }

    /// Adds rows to the last batch.
    mutating func append(_ rows: any RowStretch, count: Int, source: Int?) {
        batchRows[batchRows.count - 1] += count
        stretches.append(rows)
        batchStretches += 1
        if let source { sources.append(contentsOf: repeatElement(UInt8(source), count: count)) }
    }

    /// Parts the first `batches` batches from the one that has been begun behind them, if any.
    func split(batches: Int) -> (whole: BatchPlan, begun: BatchPlan) {
        if batches == batchRows.count { return (self, BatchPlan()) }
        precondition(batches == batchRows.count - 1, "\(batches) whole batches of \(batchRows.count)")
        var (whole, begun) = (self, BatchPlan())
        begun.batchRows = [whole.batchRows.removeLast()]
        begun.stretches = Array(stretches.suffix(batchStretches))
        begun.batchStretches = batchStretches
        whole.stretches.removeLast(batchStretches)
        if !sources.isEmpty {
            begun.sources = Array(sources.suffix(begun.batchRows[0]))
            whole.sources.removeLast(begun.batchRows[0])
        }
        return (whole, begun)
    }

    /// Replaces the rows of a batch begun by copies, so that the windows that they come from can go.
    mutating func copyRows() throws {
        if stretches.isEmpty { return }
        precondition(batchRows.count == 1, "\(batchRows.count) batches in a plan that is being copied")
        var copies = CopiedRows()
        for stretch in stretches {
            for (block, row) in try stretch.rows() {
                copies.blocks.append((block.rowCount == 1 ? block : block.copy(ofRow: row), 0))
            }
        }
        stretches = [copies]
        batchStretches = 1
    }
}

/// Rows that have been copied out of their blocks.
private struct CopiedRows: RowStretch {
    var blocks: [(block: PackedBlock, row: Int)] = []

    func rows() -> [(block: PackedBlock, row: Int)] { blocks }
}

/// A batch without its place in the stream, and what cursor and digest need to know of its rows.
struct AssembledBatch: Sendable {
    var body: BatchBody
    /// CRC-32C of each row that is not padding, of all ranks (docs/formats/batch-stream.md, Order digest).
    var rowChecksums: [UInt32] = []
    /// Real positions of all ranks' rows, and by source when there are several.
    var realPositions = 0
    var sourcePositions: [Int] = []
    /// Of this rank's rows.
    var ownChecksums: [UInt32] = []
    var ownPositions = 0
}

/// What assembly needs to know of a stream.
struct BatchShape: Sendable {
    /// B, of all ranks.
    var rows: Int
    var length: Int
    var type: TokenType
    var endOfDocument: UInt32?
    var crossDocument: Bool
    /// Whether a rule of the recipe masks targets.
    var hasMask: Bool
    /// The numbers of this rank's rows in the order in which the batch has them; nil: all, as they come.
    var slots: [Int]?
    /// Sources of the run.
    var sourceCount: Int
    /// Of what stands before a row of ids and that row.
    private let rowJoint: CRC32CJoint

    init(
        rows: Int, length: Int, type: TokenType, endOfDocument: UInt32?, crossDocument: Bool, hasMask: Bool,
        slots: [Int]?, sourceCount: Int
    ) {
        (self.rows, self.length, self.type, self.endOfDocument) = (rows, length, type, endOfDocument)
        (self.crossDocument, self.hasMask, self.slots) = (crossDocument, hasMask, slots)
        self.sourceCount = sourceCount
        rowJoint = CRC32CJoint(secondCount: length * type.byteCount)
    }

    /// - Parameters:
    ///   - lanes: of the whole batch; a multiple of `world` or 1.
    static func slots(rows: Int, rank: Int, world: Int, lanes: Int) -> [Int]? {
        if world == 1 && lanes == 1 { return nil }
        let lanes = max(lanes, world)
        let inLane = rows / lanes
        return (0..<rows / world).map { $0 % inLane * lanes + $0 / inLane * world + rank }
    }

    func assemble(_ plan: BatchPlan) throws -> [AssembledBatch] {
        var blocks: [(block: PackedBlock, row: Int)] = []
        blocks.reserveCapacity(plan.batchRows.count * rows)
        for stretch in plan.stretches { blocks += try stretch.rows() }
        var first = 0
        return plan.batchRows.map { count in
            defer { first += count }
            let rows = blocks[first..<first + count]
            var batch = slots.map { assemble(rows, slots: $0) } ?? assemble(rows)
            if sourceCount > 1 {
                batch.sourcePositions = [Int](repeating: 0, count: sourceCount)
                for (row, source) in zip(rows, plan.sources[first..<first + count]) {
                    batch.sourcePositions[Int(source)] += row.block.realPositions(ofRow: row.row)
                }
            }
            return batch
        }
    }

    /// One rank's rows, in lanes; the others are only counted and digested.
    private func assemble(
        _ blocks: ArraySlice<(block: PackedBlock, row: Int)>, slots: [Int]
    ) -> AssembledBatch {
        var own = self
        own.rows = slots.count
        // Rows of padding may stand anywhere here, so they are rows of a block that has nothing but one of them.
        let padding = (PackedBlock.padding(width: type.byteCount, hasCounts: hasMask), 0)
        var result = own.assemble(
            slots.map { $0 < blocks.count ? blocks[blocks.startIndex + $0] : padding }[...])
        var checksums = [UInt32?](repeating: nil, count: blocks.count)
        for (slot, checksum) in zip(slots, result.rowChecksums) where slot < blocks.count { checksums[slot] = checksum }
        (result.ownPositions, result.realPositions) = (result.realPositions, 0)
        var scratch: [UInt8] = []
        result.rowChecksums = []
        for (number, (block, row)) in blocks.enumerated() {
            result.realPositions += block.realPositions(ofRow: row)
            if let checksum = checksums[number] {
                result.ownChecksums.append(checksum)
                result.rowChecksums.append(checksum)
                continue
            }
            scratch.removeAll(keepingCapacity: true)
            block.appendTokens(ofRow: row, shift: 0, to: &scratch)
            let ends = scratch.count
            appendSegments(block, row, to: &scratch)
            let ids = CRC32C.checksum(scratch, in: 0..<ends)
            result.rowChecksums.append(CRC32C.checksum(scratch, in: ends + 4..<scratch.count, after: ids))
        }
        return result
    }

    private func assemble(_ blocks: ArraySlice<(block: PackedBlock, row: Int)>) -> AssembledBatch {
        let width = type.byteCount
        var bytes: [UInt8] = []
        bytes.reserveCapacity(9 + rows * (length * 2 * width + 4 + 64))
        bytes.append(littleEndian: UInt32(rows))
        bytes.append(littleEndian: UInt32(length))
        bytes.append(carriesMask ? 1 : 0)
        let fill = idBytes(endOfDocument ?? 0)
        var checksum = CRC32C.checksum(bytes)
        if let (block, row) = blocks.first { block.prefetchTokens(ofRow: row) }
        for index in blocks.indices {
            // Rows lie anywhere in a window that no cache of a core holds.
            if index + 1 < blocks.endIndex { blocks[index + 1].block.prefetchTokens(ofRow: blocks[index + 1].row) }
            let (block, row) = blocks[index]
            let first = bytes.count
            block.appendTokens(ofRow: row, shift: 1, to: &bytes)
            putDocumentStarts(block, row, at: first, in: &bytes)
            pad(&bytes, from: first, fill)
            checksum = CRC32C.checksum(bytes, in: first..<bytes.count, after: checksum)
        }
        var first = bytes.count
        pad(&bytes, rows: rows - blocks.count, fill)
        checksum = CRC32C.checksum(bytes, in: first..<bytes.count, after: checksum)
        var result = AssembledBatch(body: BatchBody(bytes: [], checksum: 0))
        result.rowChecksums.reserveCapacity(blocks.count)
        for (block, row) in blocks {
            first = bytes.count
            block.appendTokens(ofRow: row, shift: 0, to: &bytes)
            let end = bytes.count
            let targets = CRC32C.checksum(bytes, in: first..<end)
            result.rowChecksums.append(targets)
            result.realPositions += (end - first) / width
            pad(&bytes, from: first, fill)
            // What is known of the row is known of the body.
            checksum = rowJoint.combine(checksum, CRC32C.checksum(bytes, in: end..<bytes.count, after: targets))
        }
        first = bytes.count
        pad(&bytes, rows: rows - blocks.count, fill)
        for (index, (block, row)) in blocks.enumerated() {
            let count = bytes.count
            appendSegments(block, row, to: &bytes)
            result.rowChecksums[index] = CRC32C.checksum(
                bytes, in: count + 4..<bytes.count, after: result.rowChecksums[index])
        }
        for _ in blocks.count..<rows { bytes.append(littleEndian: UInt32(0)) }
        if carriesMask { appendLossMask(blocks, to: &bytes) }
        checksum = CRC32C.checksum(bytes, in: first..<bytes.count, after: checksum)
        result.body = BatchBody(bytes: bytes, checksum: checksum)
        return result
    }

    /// The input at a document's first token is `end_of_document`; without one it is the token itself (masked out).
    private func putDocumentStarts(_ block: PackedBlock, _ row: Int, at first: Int, in bytes: inout [UInt8]) {
        let width = type.byteCount
        let start = endOfDocument.map(idBytes)
        var position = first
        for index in block.pieces(ofRow: row) {
            let piece = block.pieces[index]
            if piece.startsDocument {
                let own = (piece.start + 1) * width
                for byte in 0..<width { bytes[position + byte] = start?[byte] ?? block.tokens[own + byte] }
            }
            position += piece.count * width
        }
    }

    private func appendSegments(_ block: PackedBlock, _ row: Int, to bytes: inout [UInt8]) {
        let range = block.pieces(ofRow: row)
        if crossDocument, !range.isEmpty {
            bytes.append(littleEndian: UInt32(1))
            bytes.append(littleEndian: UInt32(block.realPositions(ofRow: row)))
            return
        }
        bytes.append(littleEndian: UInt32(range.count))
        var end: UInt32 = 0
        for index in range {
            end += UInt32(block.pieces[index].count)
            bytes.append(littleEndian: end)
        }
    }

    private var carriesMask: Bool { endOfDocument == nil || hasMask }

    private func appendLossMask(_ blocks: ArraySlice<(block: PackedBlock, row: Int)>, to bytes: inout [UInt8]) {
        let first = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: (rows * length + 7) / 8))
        for (number, (block, row)) in blocks.enumerated() {
            var position = number * length
            for index in block.pieces(ofRow: row) {
                let piece = block.pieces[index]
                let unpredictable = piece.startsDocument && endOfDocument == nil ? 1 : 0
                for offset in unpredictable..<piece.count
                where block.counts.map({ $0[piece.start + offset] == 1 }) ?? true {
                    bytes[first + (position + offset) >> 3] |= 1 << UInt8((position + offset) & 7)
                }
                position += piece.count
            }
        }
    }

    private func idBytes(_ id: UInt32) -> [UInt8] {
        (0..<type.byteCount).map { UInt8(truncatingIfNeeded: id >> UInt32($0 * 8)) }
    }

    /// Fills up a row that began at `first`.
    private func pad(_ bytes: inout [UInt8], from first: Int, _ fill: [UInt8]) {
        let end = first + length * fill.count
        while bytes.count < end { bytes.append(contentsOf: fill) }
    }

    private func pad(_ bytes: inout [UInt8], rows: Int, _ fill: [UInt8]) {
        for _ in 0..<rows { pad(&bytes, from: bytes.count, fill) }
    }
}
