// Batches as JSON Lines, one batch a line: for jq, for a first look, and for any program that reads JSON but not our
// frames. Ids are formatted by hand: a tree of values for every id would cost a hundred times the memory.

public import Bytes

/// Writes `{"index": …, "inputs": [[…]], "targets": [[…]], "segments": [[…]], "mask": [[…]], "cursor": "…"}` a batch;
/// `segments` holds the ends of each row's segments, `mask` (0 or 1 a position) only stands where a batch has one.
public struct JSONLinesWriter {
    private let sink: any ByteSink
    private var line: [UInt8] = []

    public init(_ sink: any ByteSink) { self.sink = sink }

    public mutating func write(_ batch: TokenBatch) throws {
        line.removeAll(keepingCapacity: true)
        line.append(contentsOf: "{\"index\":\(batch.index)".utf8)
        append("inputs", rows(batch.inputs, batch))
        append("targets", rows(batch.targets, batch))
        append("segments", batch.segmentEnds.lazy.map { $0[...] })
        if let mask = batch.lossMask { append("mask", rows(mask.map { $0 ? 1 : 0 }, batch)) }
        line.append(contentsOf: ",\"cursor\":\"\(batch.cursor)\"}\n".utf8)
        try sink.write(line)
    }

    private func rows<Value>(_ values: [Value], _ batch: TokenBatch) -> some Sequence<ArraySlice<Value>> {
        (0..<batch.rows).lazy.map { values[$0 * batch.length..<($0 + 1) * batch.length] }
    }

    private mutating func append<Value: BinaryInteger>(_ key: String, _ rows: some Sequence<ArraySlice<Value>>) {
        line.append(contentsOf: ",\"\(key)\":".utf8)
        var rowSeparator = UInt8(ascii: "[")
        for row in rows {
            line.append(rowSeparator)
            rowSeparator = UInt8(ascii: ",")
            line.append(UInt8(ascii: "["))
            for (position, value) in row.enumerated() {
                if position > 0 { line.append(UInt8(ascii: ",")) }
                appendDecimal(UInt32(value))
            }
            line.append(UInt8(ascii: "]"))
        }
        line.append(UInt8(ascii: "]"))
    }

    private mutating func appendDecimal(_ value: UInt32) {
        var divisor: UInt32 = 1
        while value / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            line.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }
}
