// Rows become the body of a BTCH frame. This is the inner loop of tok-pack: whole stretches of tokens are copied, only
// the first input of each document and the padding are written one by one.

internal import Bytes
internal import Tokens

/// The rows of the batches that one job assembles: stretches of row sources, in order, and how many of their rows go
/// into each batch. Rows that are missing there become padding.
struct BatchPlan: Sendable {
    private(set) var stretches: [(source: any RowSource, rows: Range<Int>)] = []
    private(set) var batchRows: [Int] = []

    mutating func beginBatch() { batchRows.append(0) }

    /// Adds rows to the last batch.
    mutating func append(_ source: any RowSource, _ rows: Range<Int>) {
        batchRows[batchRows.count - 1] += rows.count
        // Rows that go on where the last ones ended are of the same source: another one begins at 0.
        if let last = stretches.last, rows.lowerBound > 0, last.rows.upperBound == rows.lowerBound {
            stretches[stretches.count - 1].rows = last.rows.lowerBound..<rows.upperBound
        } else {
            stretches.append((source, rows))
        }
    }
}

/// A batch without its place in the stream, and what cursor and digest need to know of its rows.
struct AssembledBatch: Sendable {
    var body: BatchBody
    /// CRC-32C of each row that is not padding (docs/formats/batch-stream.md, Order digest).
    var rowChecksums: [UInt32] = []
    var realPositions: Int
}

/// What assembly needs to know of a stream.
struct BatchShape: Sendable {
    var rows: Int
    var length: Int
    var type: TokenType
    var endOfDocument: UInt32?
    var crossDocument: Bool

    func assemble(_ plan: BatchPlan, tools: WorkerTools) throws -> [AssembledBatch] {
        var blocks: [(block: PackedBlock, row: Int)] = []
        blocks.reserveCapacity(plan.batchRows.count * rows)
        for stretch in plan.stretches { blocks += try stretch.source.rows(stretch.rows, tools: tools) }
        var first = 0
        return plan.batchRows.map { count in
            defer { first += count }
            return assemble(blocks[first..<first + count])
        }
    }

    private func assemble(_ blocks: ArraySlice<(block: PackedBlock, row: Int)>) -> AssembledBatch {
        let width = type.byteCount
        var bytes: [UInt8] = []
        bytes.reserveCapacity(9 + rows * (length * 2 * width + 4 + 64))
        bytes.append(littleEndian: UInt32(rows))
        bytes.append(littleEndian: UInt32(length))
        bytes.append(endOfDocument == nil ? 1 : 0)
        let fill = idBytes(endOfDocument ?? 0)
        for (block, row) in blocks {
            let first = bytes.count
            block.appendTokens(ofRow: row, shift: 1, to: &bytes)
            putDocumentStarts(block, row, at: first, in: &bytes)
            pad(&bytes, from: first, fill)
        }
        pad(&bytes, rows: rows - blocks.count, fill)
        var result = AssembledBatch(body: BatchBody(bytes: [], checksum: 0), realPositions: 0)
        for (block, row) in blocks {
            let first = bytes.count
            block.appendTokens(ofRow: row, shift: 0, to: &bytes)
            result.rowChecksums.append(CRC32C.checksum(bytes, in: first..<bytes.count))
            result.realPositions += (bytes.count - first) / width
            pad(&bytes, from: first, fill)
        }
        pad(&bytes, rows: rows - blocks.count, fill)
        for (index, (block, row)) in blocks.enumerated() {
            let count = bytes.count
            appendSegments(block, row, to: &bytes)
            result.rowChecksums[index] = CRC32C.checksum(
                bytes, in: count + 4..<bytes.count, after: result.rowChecksums[index])
        }
        for _ in blocks.count..<rows { bytes.append(littleEndian: UInt32(0)) }
        if endOfDocument == nil { appendLossMask(blocks, to: &bytes) }
        result.body = BatchBody(bytes: bytes)
        return result
    }

    /// The input at a document's first token is `end_of_document`; without one it is the token itself (masked out).
    private func putDocumentStarts(_ block: PackedBlock, _ row: Int, at first: Int, in bytes: inout [UInt8]) {
        let width = type.byteCount
        let start = endOfDocument.map(idBytes)
        var position = first
        for index in block.firstPieces[row]..<block.firstPieces[row + 1] {
            let piece = block.pieces[index]
            if piece.startsDocument {
                let own = (piece.start - block.start + 1) * width
                for byte in 0..<width { bytes[position + byte] = start?[byte] ?? block.tokens[own + byte] }
            }
            position += piece.count * width
        }
    }

    private func appendSegments(_ block: PackedBlock, _ row: Int, to bytes: inout [UInt8]) {
        let range = block.firstPieces[row]..<block.firstPieces[row + 1]
        if crossDocument {
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

    private func appendLossMask(_ blocks: ArraySlice<(block: PackedBlock, row: Int)>, to bytes: inout [UInt8]) {
        let first = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: (rows * length + 7) / 8))
        for (number, (block, row)) in blocks.enumerated() {
            var position = number * length
            for index in block.firstPieces[row]..<block.firstPieces[row + 1] {
                let piece = block.pieces[index]
                for offset in (piece.startsDocument ? 1 : 0)..<piece.count {
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
