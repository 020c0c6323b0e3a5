// One of many streams of bytes that share a spill file: what was written last waits in memory, the rest lies in the file
// as extents.

internal import Bytes

struct SpilledRun {
    /// A stretch of the file, and the bytes of the run before it.
    private struct Extent {
        var before: Int
        var offset: Int
        var count: Int
    }

    private var extents: [Extent] = []
    private var buffer: [UInt8] = []
    /// Bytes in all.
    private(set) var bytes = 0

    /// - Parameters:
    ///   - limit: bytes that may wait in memory.
    ///   - file: opens the spill file when it is needed.
    mutating func append(
        _ more: ArraySlice<UInt8>, limit: Int, _ file: () throws(Fault) -> SpillFile
    ) throws(Fault) {
        if !buffer.isEmpty && buffer.count + more.count > limit { try flush(file) }
        // At once: growing by doubling would take up to twice the limit in each of a thousand runs.
        if buffer.isEmpty { buffer.reserveCapacity(limit) }
        buffer.append(contentsOf: more)
        bytes += more.count
        if buffer.count >= limit { try flush(file) }
    }

    /// Writes out what waits.
    mutating func flush(_ file: () throws(Fault) -> SpillFile) throws(Fault) {
        if buffer.isEmpty { return }
        let offset = try file().append(buffer)
        if let last = extents.last, last.offset + last.count == offset {
            extents[extents.count - 1].count += buffer.count
        } else {
            extents.append(Extent(before: bytes - buffer.count, offset: offset, count: buffer.count))
        }
        buffer = []
    }

    /// Bytes from `start` of the run on.
    func read(at start: Int, count: Int, _ file: () throws(Fault) -> SpillFile) throws(Fault) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count)
        let end = start + count
        // The extent that holds `start`: the last one that begins at or before it.
        var (low, high) = (0, extents.count)
        while low < high {
            let middle = (low + high) / 2
            if extents[middle].before <= start { low = middle + 1 } else { high = middle }
        }
        var index = max(0, low - 1)
        while index < extents.count, extents[index].before < end {
            let extent = extents[index]
            let (from, to) = (max(start, extent.before), min(end, extent.before + extent.count))
            if from < to { result += try file().read(at: extent.offset + from - extent.before, count: to - from) }
            index += 1
        }
        let waiting = bytes - buffer.count
        if end > waiting { result += buffer[(max(start, waiting) - waiting)..<(end - waiting)] }
        return result
    }
}
