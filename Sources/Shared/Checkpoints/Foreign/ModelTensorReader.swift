// A tensor's elements in order, in pieces of equal size, whatever the order they are stored in: two readers walk side by
// side. What the file says of the bytes as a whole is held against them, before the last piece is handed out when they are
// read in order, and before the first when they are not.

public import Bytes

/// The elements of a `ModelTensor`, little-endian, piece by piece.
public struct ModelTensorReader: Sendable {
    public let tensor: ModelTensor
    private let chunk: Int
    /// Elements handed out.
    private var position = 0
    private var checker: TensorChecker
    private var isChecked = false
    /// Rows of a transposed matrix, as far as they are not handed out.
    private var band: [UInt8] = []
    private var bandStart = 0
    private var bandRow = 0
    /// Bytes of a band.
    private static let bandBytes = 16 << 20

    init(_ tensor: ModelTensor, chunk: Int) {
        precondition(chunk > 0 && chunk % 64 == 0, "a chunk is a positive multiple of 64 elements, not \(chunk)")
        self.tensor = tensor
        self.chunk = chunk
        checker = TensorChecker(tensor.storage)
    }

    /// The next piece, or nil at the end.
    /// - Throws: `Fault`: a read error, or bad data when digest or checksum differ.
    public mutating func next() throws(Fault) -> [UInt8]? {
        let rest = tensor.elementCount - position
        let isInOrder = !tensor.isTransposed && tensor.order == nil
        if !isChecked && (rest == 0 || !isInOrder) {
            if !isInOrder { try readThrough() }
            try checker.finish()
            isChecked = true
        }
        if rest == 0 { return nil }
        let count = min(chunk, rest)
        var bytes: [UInt8]
        if isInOrder {
            bytes = try tensor.storage.read(first: position, count: count)
            checker.update(bytes)
            if count == rest {
                try checker.finish()
                isChecked = true
            }
        } else if tensor.isTransposed {
            bytes = try transposed(count)
        } else {
            bytes = try reordered(count)
        }
        position += count
        return bytes
    }

    private mutating func readThrough() throws(Fault) {
        if case .none = tensor.storage.check { return }
        var first = 0
        while first < tensor.elementCount {
            let count = min(1 << 18, tensor.elementCount - first)
            checker.update(try tensor.storage.read(first: first, count: count))
            first += count
        }
    }

    private func reordered(_ count: Int) throws(Fault) -> [UInt8] {
        guard let order = tensor.order else { preconditionFailure("\(tensor.name) has no order") }
        let width = tensor.rowLength
        var bytes: [UInt8] = []
        var next = position
        while next < position + count {
            let (row, column) = next.quotientAndRemainder(dividingBy: width)
            let piece = min(width - column, position + count - next)
            let source = order.source(of: row, rows: tensor.shape[0])
            bytes += try tensor.storage.read(first: source * width + column, count: piece)
            next += piece
        }
        return bytes
    }

    private mutating func transposed(_ count: Int) throws(Fault) -> [UInt8] {
        let size = count * tensor.dtype.bitWidth / 8
        while band.count - bandStart < size {
            band = try Array(band[bandStart...]) + nextBand()
            bandStart = 0
        }
        defer { bandStart += size }
        return Array(band[bandStart..<bandStart + size])
    }

    /// As many of the next rows as go into a band: they are columns of what is stored.
    private mutating func nextBand() throws(Fault) -> [UInt8] {
        let (rows, columns) = (tensor.shape[0], tensor.shape[1])
        let size = tensor.dtype.bitWidth / 8
        let count = min(rows - bandRow, max(1, ModelTensorReader.bandBytes / (columns * size)))
        var result = [UInt8](repeating: 0, count: count * columns * size)
        for column in 0..<columns {
            let stored = try tensor.storage.read(first: column * rows + bandRow, count: count)
            var (source, target) = (0, column * size)
            for _ in 0..<count {
                for byte in 0..<size { result[target + byte] = stored[source + byte] }
                source += size
                target += columns * size
            }
        }
        bandRow += count
        return result
    }
}
