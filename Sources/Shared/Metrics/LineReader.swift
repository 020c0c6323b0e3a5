// Lines of a source, with their places, in memory bounded by the longest line allowed: a file without newlines costs
// an error, not its size.

internal import Bytes

/// Cuts a source into lines.
struct LineReader {
    /// Bytes in a line at most, newline included.
    static let maximumLength = 1 << 20

    struct Line {
        /// Without the newline; only the first `maximumLength` bytes of a line that is too long.
        var bytes: [UInt8]
        /// From 1.
        var number: Int
        /// Of the first byte.
        var offset: Int
        /// False for a last line that stops without one.
        var hasNewline: Bool
        var isTooLong: Bool
    }

    private let source: any ByteSource
    private var buffer: [UInt8] = []
    private var position = 0
    private var offset = 0
    private var number = 0

    var name: String { source.name }

    init(_ source: any ByteSource) { self.source = source }

    /// The next line, or nil at the end.
    mutating func next() throws(Fault) -> Line? {
        var line = Line(bytes: [], number: number + 1, offset: offset, hasNewline: false, isTooLong: false)
        while true {
            if position == buffer.count {
                buffer = try source.read(upTo: 1 << 16)
                position = 0
                if buffer.isEmpty { break }
            }
            let end = buffer[position...].firstIndex(of: UInt8(ascii: "\n"))
            let piece = buffer[position..<(end ?? buffer.count)]
            let room = LineReader.maximumLength - line.bytes.count
            line.isTooLong = line.isTooLong || piece.count >= room
            line.bytes.append(contentsOf: piece.prefix(room))
            offset += piece.count
            position += piece.count
            if end != nil {
                offset += 1
                position += 1
                line.hasNewline = true
                break
            }
        }
        if !line.hasNewline && offset == line.offset { return nil }
        number += 1
        return line
    }
}
