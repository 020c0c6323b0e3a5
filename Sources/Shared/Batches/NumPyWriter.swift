// Batches as one NumPy array (.npy 1.0): shape (rows, 2, T), where [:, 0] are inputs and [:, 1] targets. The header
// holds the number of rows, so it must be known before the first one; `BatchProducer.rowsToEmit` tells it, and the file
// can go down a pipe. Segment ends and loss masks have no place in it.

public import Bytes
private import Tokens

/// Writes a .npy file row by row.
public struct NumPyWriter {
    private let sink: any ByteSink
    private let head: StreamHead

    /// Writes the header.
    /// - Parameter rows: how many rows will be written.
    public init(_ sink: any ByteSink, head: StreamHead, rows: Int) throws {
        self.sink = sink
        self.head = head
        let type = head.type == .u16 ? "<u2" : "<u4"
        var header = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(rows), 2, \(head.length)), }"
        // Magic, version and length take 10 bytes; data begins at a multiple of 64.
        header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
        var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
        bytes.append(littleEndian: UInt16(header.utf8.count))
        try sink.write(bytes + Array(header.utf8))
    }

    public mutating func write(_ batch: TokenBatch) throws {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(batch.inputs.count * 2 * head.type.byteCount)
        for row in 0..<batch.rows {
            for ids in [batch.inputs, batch.targets] {
                let range = row * batch.length..<(row + 1) * batch.length
                switch head.type {
                case .u16: bytes.append(littleEndian: ids[range].map { UInt16($0) })
                case .u32: bytes.append(littleEndian: Array(ids[range]))
                }
            }
        }
        try sink.write(bytes)
    }
}
