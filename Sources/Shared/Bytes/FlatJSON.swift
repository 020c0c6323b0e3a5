// Flat JSON lines, many at once: where the values of each lie, by key, without a tree, a string or a double. Metrics of
// ten million steps are read so at the speed of a copy. Lines that are not plain are left to `JSON`, which says what is
// wrong with them; the inner loops are C (CKernels/flat.c), because every byte passes through them.

private import CKernels

/// Reading and writing of flat JSON objects, a line each, whose values are numbers, strings and nulls.
public enum FlatJSON {
    /// What a value is (CKernels/include/flat.h).
    public enum Kind: Int32, Sendable {
        case missing = 0, null, integer, number, nan, infinity, minusInfinity
        /// A string of printable ASCII without quotes and backslashes.
        case plain
        /// Any other string, decoded.
        case string
    }

    /// A value and where its text lies in the bytes that were read. Laid out as mr_flat_cell.
    public struct Cell: Sendable, Equatable, BitwiseCopyable {
        public var key: Int32
        private var rawKind: Int32
        public var offset: UInt32
        public var length: UInt32

        public init(key: Int, kind: Kind, offset: Int, length: Int) {
            self.key = Int32(key)
            rawKind = kind.rawValue
            self.offset = UInt32(offset)
            self.length = UInt32(length)
        }

        public static let missing = Cell(key: 0, kind: .missing, offset: 0, length: 0)

        @inline(__always) public var kind: Kind { Kind(rawValue: rawKind) ?? .missing }
        @inline(__always) public var isMissing: Bool { rawKind == 0 }
        @inline(__always) public var range: Range<Int> { Int(offset)..<Int(offset) + Int(length) }
    }

    /// A line and its cells [first, first + count), `step` not among them. Laid out as mr_flat_line.
    public struct Line: Sendable, BitwiseCopyable {
        public var step: Int64
        public var first: UInt32
        public var count: UInt32
        public var offset: UInt32
        /// With its newline.
        public var length: UInt32

        public init(step: Int = 0, first: Int = 0, count: Int = 0, offset: Int = 0, length: Int = 0) {
            self.step = Int64(step)
            (self.first, self.count) = (UInt32(first), UInt32(count))
            (self.offset, self.length) = (UInt32(offset), UInt32(length))
        }

        @inline(__always) public var cells: Range<Int> { Int(first)..<Int(first) + Int(count) }
    }

    /// The keys met so far, in the order of their first appearance; number 0 is `step`.
    public struct Keys: Sendable {
        public private(set) var names: [String] = []
        private var numbers: [String: Int] = [:]
        fileprivate var text: [UInt8] = []
        fileprivate var starts: [UInt32] = [0]
        fileprivate var bases: [Int32] = []
        fileprivate var successors: [Int32] = [-1]
        fileprivate var stamps: [UInt32] = []
        fileprivate var stamp: UInt32 = 0

        public init() { _ = number(of: "step") }

        /// The key's number, a new one when it is new. A key is `[a-z][a-z0-9_]*`.
        /// - Parameter base: the key whose companion this is.
        public mutating func number(of name: String, companionOf base: Int? = nil) -> Int {
            if let known = numbers[name] { return known }
            let number = names.count
            names.append(name)
            numbers[name] = number
            text += [UInt8(ascii: "\"")] + name.utf8 + [UInt8(ascii: "\"")]
            starts.append(UInt32(text.count))
            bases.append(base.map(Int32.init) ?? -1)
            successors.append(-1)
            stamps.append(0)
            return number
        }

        public func isCompanion(_ number: Int) -> Bool { bases[number] >= 0 }
    }

    /// Bytes that a buffer holds after its last text, for copies of whole words.
    public static let padding = 64

    /// Reads the whole lines of bytes[range], as many as `lines` has room for.
    /// - Parameters:
    ///   - bytes: at least `padding` bytes longer than the range's end.
    ///   - cells: more than there are keys.
    /// - Returns: how many lines, where the next one begins, and whether that is a line that is not plain.
    public static func readLines(
        _ bytes: [UInt8], _ range: Range<Int>, keys: inout Keys, cells: inout [Cell], lines: inout [Line]
    ) -> (count: Int, end: Int, isPlain: Bool) {
        precondition(bytes.count >= range.upperBound + padding && cells.count >= keys.names.count, "buffers too small")
        // Stamps of four thousand million lines ago must not be taken for those of today.
        if keys.stamp > UInt32.max - UInt32(lines.count) - 2 {
            keys.stamp = 0
            for index in keys.stamps.indices { keys.stamps[index] = 0 }
        }
        var end = range.lowerBound
        var isPlain: Int32 = 1
        let number = Int32(keys.names.count)
        // SAFETY: the arrays live for the call, with the counts that are passed; the structs are laid out alike, 16 and 24
        // bytes of the same integers.
        let count = unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe cells.withUnsafeMutableBytes { cells in
                unsafe lines.withUnsafeMutableBytes { lines in
                    unsafe keys.text.withUnsafeBufferPointer { text in
                        unsafe keys.starts.withUnsafeBufferPointer { starts in
                            unsafe keys.bases.withUnsafeBufferPointer { bases in
                                unsafe keys.successors.withUnsafeMutableBufferPointer { successors in
                                    unsafe keys.stamps.withUnsafeMutableBufferPointer { stamps in
                                        unsafe withUnsafeMutablePointer(to: &keys.stamp) { stamp in
                                            var table = unsafe mr_flat_keys(
                                                text: text.baseAddress, starts: starts.baseAddress,
                                                bases: bases.baseAddress, successors: successors.baseAddress,
                                                stamps: stamps.baseAddress, stamp: stamp, count: number)
                                            return unsafe mr_flat_lines(
                                                bytes.baseAddress, range.lowerBound, range.upperBound, &table,
                                                cells.assumingMemoryBound(to: mr_flat_cell.self).baseAddress,
                                                cells.count / 16,
                                                lines.assumingMemoryBound(to: mr_flat_line.self).baseAddress,
                                                lines.count / 24, &end, &isPlain)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return (count, end, isPlain != 0)
    }

    /// The value of a JSON number that was found plain.
    public static func double(_ bytes: [UInt8], _ range: Range<Int>) -> Double {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count)
        var value = 0.0
        // SAFETY: the range was checked against the array.
        let isExact = unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe mr_flat_double(buffer.baseAddress.map { unsafe $0 + range.lowerBound }, range.count, &value)
        }
        if isExact != 0 { return value }
        return Double(String(decoding: bytes[range], as: UTF8.self)) ?? .nan
    }
}

extension FlatJSON {
    /// How rows are spelled.
    public enum RowStyle: Sendable {
        case csv, tsv, json
    }

    /// Rows of text, gathered for a sink.
    public struct RowWriter {
        private let style: RowStyle
        private var labels: [UInt8] = []
        private var labelStarts: [UInt32] = [0]
        /// What stands before the step; may change between rows.
        public var head: [UInt8]
        private let tail: [UInt8]
        private var buffer: [UInt8]
        public private(set) var count = 0

        /// - Parameters:
        ///   - labels: what stands before each value, in order.
        ///   - head: what stands before the step.
        ///   - tail: what stands after the row.
        public init(_ style: RowStyle, labels: [String], head: String, tail: String) {
            self.style = style
            (self.head, self.tail) = (Array(head.utf8), Array(tail.utf8))
            for label in labels {
                self.labels += Array(label.utf8)
                labelStarts.append(UInt32(self.labels.count))
            }
            self.labels += [UInt8](repeating: 0, count: FlatJSON.padding)
            buffer = [UInt8](repeating: 0, count: 1 << 17)
        }

        /// Appends a row, unless a value of it needs more thought than copying.
        /// - Parameter bytes: where the cells' texts lie, with `padding` bytes after the last.
        /// - Returns: false when nothing was written: spell the row otherwise and `append(text:)` it.
        public mutating func append(step: Int, _ cells: [Cell], in bytes: [UInt8]) -> Bool {
            precondition(cells.count + 1 == labelStarts.count, "a row has as many cells as labels")
            for cell in cells where !cell.isMissing {
                precondition(cell.range.upperBound + FlatJSON.padding <= bytes.count, "a cell lies outside the bytes")
            }
            while true {
                let start = count
                // SAFETY: the cells' ranges were checked; the writer stays within the capacity that it is told.
                let written = unsafe buffer.withUnsafeMutableBufferPointer { out in
                    unsafe bytes.withUnsafeBufferPointer { bytes in
                        unsafe cells.withUnsafeBytes { cells in
                            unsafe labels.withUnsafeBufferPointer { labels in
                                unsafe labelStarts.withUnsafeBufferPointer { starts in
                                    unsafe mr_flat_row(
                                        out.baseAddress.map { unsafe $0 + start }, out.count - start, Int64(step),
                                        bytes.baseAddress,
                                        cells.assumingMemoryBound(to: mr_flat_cell.self).baseAddress, cells.count / 16,
                                        labels.baseAddress, starts.baseAddress, head, head.count, tail, tail.count,
                                        style == .json ? 1 : 0)
                                }
                            }
                        }
                    }
                }
                if written < 0 { return false }
                if written > 0 {
                    count += written
                    return true
                }
                buffer.append(contentsOf: repeatElement(0, count: buffer.count))
            }
        }

        public mutating func append(text: String) {
            let bytes = Array(text.utf8)
            while buffer.count - count < bytes.count {
                buffer.append(contentsOf: repeatElement(0, count: buffer.count))
            }
            buffer.replaceSubrange(count..<count + bytes.count, with: bytes)
            count += bytes.count
        }

        /// Hands over what was gathered when it is `atLeast` bytes.
        public mutating func flush(to sink: any ByteSink, atLeast minimum: Int = 1) throws {
            if count < minimum || count == 0 { return }
            let size = count
            count = 0
            try sink.write(Array(buffer[..<size]))
        }
    }
}
